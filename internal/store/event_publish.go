package store

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/pombal-api/pombal/internal/domain"
)

// PublishEvents adds events to the account, in one transaction and in their order. It fills in the account, and
// the id and the time where they are zero, the position and the sequence. CodeAccountNotFound.
func (a *Account) PublishEvents(ctx context.Context, events []domain.Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := completeEvents(a.id, events); err != nil {
		return err
	}
	return a.s.publishTogether(ctx, a.id, events)
}

// publish adds events to the account that sc is bound to, with their deliveries. Its locks come after those on
// totals, instances and links, and before those on the totals of partners.
func publish(sc scope, events []domain.Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := completeEvents(sc.wall.account, events); err != nil {
		return err
	}
	sc.news.published = true
	if isPostgres(sc) {
		return publishOnPostgres(sc, events)
	}
	return publishOnSQLite(sc, []*joinedPublication{{account: sc.wall.account, events: events}})
}

// isPostgres reports on which engine a scope works.
func isPostgres(sc scope) bool { return sc.db.Name() == "postgres" }

// numbered spells the parameters of a statement, $1 and so on, for the engine.
func numbered(sc scope, text string) string {
	if isPostgres(sc) {
		return text
	}
	return strings.ReplaceAll(text, "$", "?")
}

func completeEvents(account domain.ID, events []domain.Event) error {
	for i := range events {
		e := &events[i]
		if e.Type == 0 || e.Type&(e.Type-1) != 0 || e.Type&domain.EveryEvent == 0 || len(e.Data) == 0 {
			return errors.New("store: an event needs one type and data")
		}
		if e.At.IsZero() {
			e.At = now()
		}
		e.At = truncated(e.At)
		if e.ID.IsZero() {
			e.ID = domain.NewID(e.At)
		}
		e.AccountID = account
	}
	return nil
}

// eventHeads says by how much the heads of an account and its instances move.
type eventHeads struct {
	account domain.ID
	list    []eventHead // the account's, then those of the instances in their order
}

type eventHead struct {
	id   domain.ID
	by   int64
	last int64 // after the move
}

func headsOf(account domain.ID, events []domain.Event) *eventHeads {
	list := make([]eventHead, 1, 1+len(events))
	list[0] = eventHead{id: account, by: int64(len(events))}
	for i := range events {
		if id := events[i].InstanceID; !id.IsZero() {
			list = append(list, eventHead{id: id, by: 1})
		}
	}
	instances := list[1:]
	slices.SortFunc(instances, func(a, b eventHead) int { return compareIDs(a.id, b.id) })
	n := 0
	for _, h := range instances {
		if n > 0 && instances[n-1].id == h.id {
			instances[n-1].by++
			continue
		}
		instances[n] = h
		n++
	}
	return &eventHeads{account, list[:1+n]}
}

// of returns the head of the account or of an instance that has one of the events.
func (h *eventHeads) of(id domain.ID) *eventHead {
	if id == h.account {
		return &h.list[0]
	}
	i, _ := slices.BinarySearchFunc(h.list[1:], id, func(e eventHead, id domain.ID) int { return compareIDs(e.id, id) })
	return &h.list[1+i]
}

// compareIDs is the order in which rows are locked.
func compareIDs(a, b domain.ID) int { return bytes.Compare(a[:], b[:]) }

// readHead takes a row that moving the heads returned.
func readHead(row scanned, heads map[domain.ID]*eventHeads) error {
	var account, instance uid
	var last int64
	err := row.Scan(&account, &instance, &last)
	if h := heads[domain.ID(account)]; h != nil {
		h.of(domain.ID(instance)).last = last
	}
	return err
}

// moved reports whether readHead has taken anything.
func (h *eventHeads) moved() bool { return h.list[0].last > 0 }

// place gives the events their positions and sequences.
func (h *eventHeads) place(events []domain.Event) {
	next := func(id domain.ID) int64 {
		head := h.of(id)
		head.by--
		return head.last - head.by
	}
	for i := range events {
		e := &events[i]
		e.Position, e.Sequence = next(h.account), 0
		if !e.InstanceID.IsZero() {
			e.Sequence = next(e.InstanceID)
		}
	}
}

// lockEvents keeps others from publishing events of the account that sc is bound to until the transaction ends,
// as who changes its webhooks must. CodeAccountNotFound.
func lockEvents(sc scope) error {
	if !isPostgres(sc) {
		return nil // the whole database is locked
	}
	return noAccount(execByHand(sc, `
INSERT INTO event_heads AS h (account_id, instance_id, last) VALUES ($1, $1, 0)
ON CONFLICT (account_id, instance_id) DO UPDATE SET last = h.last`))
}

// listOf collects something of each element.
func listOf[E, T any](list []E, of func(*E) T) []T {
	result := make([]T, len(list))
	for i := range list {
		result[i] = of(&list[i])
	}
	return result
}
