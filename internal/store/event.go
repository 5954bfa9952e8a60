package store

import (
	"context"
	"errors"
	"slices"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

type eventRow struct {
	AccountID  uid    `gorm:"column:account_id;primaryKey"`
	Position   int64  `gorm:"column:position;primaryKey;autoIncrement:false"`
	ID         uid    `gorm:"column:id"`
	InstanceID uid    `gorm:"column:instance_id"`
	Sequence   int64  `gorm:"column:sequence"`
	At         millis `gorm:"column:at"`
	Type       int64  `gorm:"column:type"`
	Data       []byte `gorm:"column:data"`
}

// TableName tells GORM.
func (eventRow) TableName() string { return "events" }

func (r *eventRow) domain() domain.Event {
	return domain.Event{
		AccountID: domain.ID(r.AccountID), InstanceID: domain.ID(r.InstanceID), ID: domain.ID(r.ID), Position: r.Position,
		Sequence: r.Sequence, Type: domain.EventSet(r.Type), At: r.At.time(), Data: r.Data,
	}
}

type headRow struct {
	AccountID  uid   `gorm:"column:account_id;primaryKey"`
	InstanceID uid   `gorm:"column:instance_id;primaryKey"`
	Last       int64 `gorm:"column:last"`
}

// TableName tells GORM.
func (headRow) TableName() string { return "event_heads" }

// eventWindow is how many events a statement looks through that has no index for its filter.
const eventWindow = 20_000

// Events returns at most limit events after a position that pass a filter, in the order of their positions.
// Who goes on after the last of them misses none, however events are added meanwhile.
func (a *Account) Events(ctx context.Context, after int64, limit int, f domain.EventFilter) ([]domain.Event, error) {
	return load(ctx, a.s, a.wall(), func(sc scope) ([]domain.Event, error) {
		if f.Instances != nil && len(f.Instances) == 0 {
			return nil, nil
		}
		ofOne := len(f.Instances) == 1 && a.s.pool != nil // which PostgreSQL has an index for
		if ofOne || f.Types == 0 && f.Instances == nil {
			return readEvents(a.s.eventsAfter(sc, after, f), limit)
		}
		return a.s.searchEvents(sc, after, limit, f)
	})
}

// searchEvents looks for events window by window, so that no statement takes long however few there are.
func (s *Store) searchEvents(sc scope, after int64, limit int, f domain.EventFilter) (found []domain.Event, err error) {
	var head headRow
	err = sc.rows(&head).Where(eq("instance_id", uid(sc.wall.account))).Take(&head).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, nil
	}
	for err == nil && len(found) < limit && after < head.Last {
		var next []eventRow // positions may begin late: the sweep removes the oldest
		err = s.eventsAfter(sc, after, domain.EventFilter{}).Select("position").Limit(1).Find(&next).Error
		if err != nil || len(next) == 0 {
			break
		}
		end := next[0].Position + eventWindow
		var some []domain.Event
		some, err = readEvents(s.eventsAfter(sc, after, f).Where(lte("position", end)), limit-len(found))
		found, after = append(found, some...), end
	}
	return found, err
}

func (s *Store) eventsAfter(sc scope, after int64, f domain.EventFilter) *gorm.DB {
	query := sc.rows(&eventRow{}).Where(condition{"position > ?", []any{after}}).Clauses(ascending("position"))
	if f.Types != 0 {
		query = query.Where(condition{"(type & ?) <> 0", []any{int64(f.Types)}})
	}
	switch {
	case len(f.Instances) == 1:
		query = query.Where(eq("instance_id", uid(f.Instances[0])))
	case f.Instances != nil:
		query = query.Where(s.oneOf("instance_id", listOf(f.Instances, func(id *domain.ID) uid { return uid(*id) })))
	}
	return query
}

func readEvents(query *gorm.DB, limit int) ([]domain.Event, error) {
	var rows []eventRow
	err := query.Limit(limit).Find(&rows).Error
	return listOf(rows, (*eventRow).domain), err
}

// EventPosition returns the place of an event in its account. CodeEventNotFound for an id that names none, or none
// any more: whoever comes back after the retention is told so, rather than that nothing has happened.
func (a *Account) EventPosition(ctx context.Context, id domain.ID) (int64, error) {
	return load(ctx, a.s, a.wall(), func(sc scope) (int64, error) {
		var row eventRow
		err := sc.rows(&row).Select("position").Where(eq("id", exactID(id))).Take(&row).Error
		return row.Position, orNotFound(err, domain.EventNotFound)
	})
}

// EventHeads returns the position of the latest event of each account that has had any.
func (s *Store) EventHeads(ctx context.Context, accounts []domain.ID) (map[domain.ID]int64, error) {
	heads := make(map[domain.ID]int64, len(accounts))
	err := s.read(ctx, wall{pass: passHeads}, func(sc scope) error {
		for some := range slices.Chunk(accounts, lockChunk) {
			var rows []headRow
			if err := sc.all(&headRow{}).Where(s.headsAmong(some)).Find(&rows).Error; err != nil {
				return err
			}
			for _, r := range rows {
				heads[domain.ID(r.AccountID)] = r.Last
			}
		}
		return nil
	})
	return heads, err
}

// headsAmong is the condition that a head is that of one of the accounts.
func (s *Store) headsAmong(accounts []domain.ID) condition {
	if s.pool != nil {
		ids := listOf(accounts, func(id *domain.ID) uid { return uid(*id) })
		return condition{"(account_id, instance_id) IN (SELECT a, a FROM unnest(?::uuid[]) AS a)", []any{uidArray(ids)}}
	}
	c := condition{sql: "(account_id, instance_id) IN (VALUES (?, ?)"}
	for i, id := range accounts {
		if i > 0 {
			c.sql += ", (?, ?)"
		}
		c.vars = append(c.vars, uid(id), uid(id))
	}
	c.sql += ")"
	return c
}
