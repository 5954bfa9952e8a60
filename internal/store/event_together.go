package store

import (
	"context"
	"sync"

	"github.com/pombal-api/pombal/internal/domain"
)

// On PostgreSQL, publications of an account wait for each other's commits. So those that come at the same time, from
// this process, are made one.

// publishAtMost bounds the events of one that is made of several.
const publishAtMost = 500

// publication is what a caller wants to publish.
type publication struct {
	ctx    context.Context
	events []domain.Event
	err    error
}

// publications lets the publications of each account take turns.
type publications struct {
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
func (a *Account) publishTogether(ctx context.Context, events []domain.Event) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	one := a.s.publications.enter(a.id)
	defer a.s.publications.leave(a.id, one)
	mine := &publication{ctx: ctx, events: events}
	err := one.turns.do(ctx, mine, func(next func() (*publication, bool)) { //nolint:contextcheck // each publication brings its own
		var all []*publication
		for n := 0; n < publishAtMost; {
			p, ok := next()
			if !ok {
				break
			}
			n += len(p.events)
			all = append(all, p)
		}
		a.publishAll(all)
	})
	if err != nil {
		return translate(ended(ctx, err))
	}
	return mine.err
}

// publishAll tries to publish all at once and, if the database refuses that, one by one: so each caller gets an
// error of its own only. Where nobody knows what became of it, it is not tried again.
func (a *Account) publishAll(all []*publication) {
	var err error
	if len(all) > 1 {
		if err = a.publishJoined(all); err == nil {
			return
		}
	}
	for _, p := range all {
		if p.err = err; domain.CodeOf(err) != domain.CodeUnavailable {
			p.err = a.s.write(p.ctx, a.wall(), func(sc scope) error { return publish(sc, p.events) })
		}
	}
}

func (a *Account) publishJoined(all []*publication) error {
	var events []domain.Event
	for _, p := range all {
		events = append(events, p.events...)
	}
	// One caller's end is not the others'.
	err := a.s.write(context.WithoutCancel(all[0].ctx), a.wall(), func(sc scope) error { return publish(sc, events) })
	if err != nil {
		return err
	}
	for _, p := range all {
		events = events[copy(p.events, events):]
	}
	return nil
}
