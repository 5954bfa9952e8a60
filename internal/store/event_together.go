package store

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pombal-api/pombal/internal/domain"
)

// Most of what a small publication costs is its transaction. So those that come at the same time, from this process and
// of whatever account, are made one. An account that another transaction is about to publish for is left out on
// PostgreSQL, so that nobody waits for somebody else's: its publications, and those that the database refuses, go on by
// themselves, account by account.

const (
	// publishAtMost bounds the events of a transaction that is made of several publications.
	publishAtMost = 500
	// gatherTime is how long a publication waits for those who have published together just before: they are likely to
	// come again, and a transaction for all costs less than two.
	gatherTime = 300 * time.Microsecond
)

// publication is what a caller wants to publish.
type publication struct {
	ctx     context.Context
	account domain.ID
	events  []domain.Event
	done    bool // with err; otherwise it goes on by itself
	err     error
}

// publications lets publications take turns: all of them at first, then those of each account.
type publications struct {
	joined turns[*publication]
	before atomic.Int64 // how many were joined in the turn before

	mu       sync.Mutex
	accounts map[domain.ID]*publishing // those with callers
}

type publishing struct {
	turns   turns[*publication]
	callers int
}

func (p *publications) enter(account domain.ID) *publishing {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.accounts[account]
	if one == nil {
		one = new(publishing)
		if p.accounts == nil {
			p.accounts = map[domain.ID]*publishing{}
		}
		p.accounts[account] = one
	}
	one.callers++
	return one
}

func (p *publications) leave(account domain.ID, one *publishing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one.callers--; one.callers == 0 {
		delete(p.accounts, account)
	}
}

// publishTogether publishes complete events, perhaps with those of other callers.
func (s *Store) publishTogether(ctx context.Context, account domain.ID, events []domain.Event) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	mine := &publication{ctx: ctx, account: account, events: events}
	var published news
	err := s.publications.joined.do(ctx, mine, func(next func() (*publication, bool)) { //nolint:contextcheck // each publication brings its own
		published = s.publishJoined(s.publications.takeJoined(next))
	})
	// The others go on first, so that the next turn begins while what this one has published is being delivered.
	s.tell(&published)
	if err == nil && !mine.done {
		one := s.publications.enter(account)
		defer s.publications.leave(account, one)
		err = one.turns.do(ctx, mine, func(next func() (*publication, bool)) { //nolint:contextcheck // as above
			s.publishOneByOne(takeSome(next))
		})
	}
	if err != nil {
		return translate(ended(ctx, err))
	}
	return mine.err
}

// takeJoined takes what may be published at once, after others have had the time to join.
func (p *publications) takeJoined(next func() (*publication, bool)) []*publication {
	if before := p.before.Load(); before > 1 {
		p.joined.gather(int(before), gatherTime)
	}
	all := takeSome(next)
	p.before.Store(int64(len(all)))
	return all
}

// takeSome takes what may be published at once.
func takeSome(next func() (*publication, bool)) (all []*publication) {
	for n := 0; n < publishAtMost; {
		p, ok := next()
		if !ok {
			break
		}
		n += len(p.events)
		all = append(all, p)
	}
	return all
}

// publishOneByOne publishes for one account: all at once and, if the database refuses that, one by one, so that each
// caller gets an error of its own only. Where nobody knows what became of it, it is not tried again.
func (s *Store) publishOneByOne(all []*publication) {
	var err error
	if len(all) > 1 {
		joined := joinByAccount(all)[0]
		err = s.write(context.WithoutCancel(all[0].ctx), wall{account: joined.account}, func(sc scope) error { return publish(sc, joined.events) })
		if err == nil {
			joined.handBack()
			return
		}
	}
	for _, p := range all {
		if p.err = err; domain.CodeOf(err) != domain.CodeUnavailable {
			p.err = s.write(p.ctx, wall{account: p.account}, func(sc scope) error { return publish(sc, p.events) })
		}
	}
}

// publishJoined publishes as many as it can in one transaction, and returns what to tell of it.
func (s *Store) publishJoined(all []*publication) news {
	join := s.joinOnPostgres
	if s.pool == nil {
		join = s.joinOnSQLite
	}
	// One caller's end is not the others'.
	placed, published, err := join(context.WithoutCancel(all[0].ctx), joinByAccount(all))
	if domain.CodeOf(err) == domain.CodeUnavailable {
		for _, p := range all {
			p.done, p.err = true, err
		}
	}
	if err != nil {
		return news{}
	}
	for _, a := range placed {
		a.handBack()
	}
	return published
}

// joinedPublication is what is published for an account in one transaction.
type joinedPublication struct {
	account domain.ID
	events  []domain.Event
	from    []*publication
}

// joinByAccount returns the publications of each account as one, in the order in which accounts are locked.
func joinByAccount(all []*publication) []*joinedPublication {
	byAccount := make(map[domain.ID]*joinedPublication, len(all))
	list := make([]*joinedPublication, 0, len(all))
	for _, p := range all {
		a := byAccount[p.account]
		if a == nil {
			a = &joinedPublication{account: p.account}
			byAccount[p.account] = a
			list = append(list, a)
		}
		a.events = append(a.events, p.events...)
		a.from = append(a.from, p)
	}
	slices.SortFunc(list, func(a, b *joinedPublication) int { return compareIDs(a.account, b.account) })
	return list
}

// handBack gives the callers their events as they were published.
func (a *joinedPublication) handBack() {
	events := a.events
	for _, p := range a.from {
		events = events[copy(p.events, events):]
		p.done = true
	}
}

func (s *Store) joinOnSQLite(ctx context.Context, all []*joinedPublication) ([]*joinedPublication, news, error) {
	published, err := s.writeUntold(ctx, wall{}, func(sc scope) error {
		sc.news.published = true
		return publishOnSQLite(sc, all)
	})
	return all, published, err
}

// joinOnPostgres returns the accounts that it has published for.
func (s *Store) joinOnPostgres(ctx context.Context, all []*joinedPublication) (placed []*joinedPublication, published news, err error) {
	err = s.writePostgres(ctx, func(tx pgx.Tx) (err error) {
		published = news{}
		if placed, err = moveFreeHeads(ctx, tx, all); err != nil || len(placed) == 0 {
			return err
		}
		published.published = true
		var events []domain.Event
		for _, a := range placed {
			events = append(events, a.events...)
		}
		return addEvents(ctx, tx, events, &published)
	})
	return placed, published, err
}
