package store

import (
	"context"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

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

// orderedEventRow is an event as the events of an account are read in order.
type orderedEventRow eventRow

// TableName tells GORM.
func (orderedEventRow) TableName() string { return "ordered_events" }

func (r *orderedEventRow) domain() domain.Event { return (*eventRow)(r).domain() }

type headRow struct {
	AccountID  uid   `gorm:"column:account_id;primaryKey"`
	InstanceID uid   `gorm:"column:instance_id;primaryKey"`
	Last       int64 `gorm:"column:last"`
}

// TableName tells GORM.
func (headRow) TableName() string { return "event_heads" }

// eventWindow is how many events a statement looks through that has no index for its filter.
const eventWindow = 20_000

// Events returns at most limit events after a position that pass a filter, in the order of their positions, and the
// last event that was looked at: none before it is left out, and who goes on after it misses none, however events are
// added meanwhile. It is the zero place where there are none after the position. With a filter there may be more behind
// it though there are fewer than limit: no call takes long, however few pass.
func (a *Account) Events(ctx context.Context, after int64, limit int, f domain.EventFilter) (found []domain.Event, seen domain.EventPlace, err error) {
	filtered := f.Types != 0 || f.Instances != nil
	err = a.s.read(ctx, a.wall(), func(sc scope) (err error) {
		query := a.s.eventsAfter(sc, after, f)
		if filtered {
			// What is added from now on is behind it.
			nobodys := f.Instances != nil && len(f.Instances) == 0
			if seen, err = a.s.windowEnd(sc, after, f); err != nil || seen.Position == 0 || nobodys {
				return err
			}
			query = query.Where(lte("position", seen.Position))
		}
		var rows []orderedEventRow
		err = query.Limit(limit).Find(&rows).Error
		found = listOf(rows, (*orderedEventRow).domain)
		return err
	})
	if err != nil {
		return nil, domain.EventPlace{}, err
	}
	if n := len(found); n > 0 && (n == limit || !filtered) {
		seen = domain.EventPlace{Position: found[n-1].Position, ID: found[n-1].ID}
	}
	return found, seen, nil
}

// windowEnd returns the last event after a position that one statement looks through.
func (s *Store) windowEnd(sc scope, after int64, f domain.EventFilter) (domain.EventPlace, error) {
	query := latestEvents(sc, after)
	if indexed := s.pool != nil && len(f.Instances) == 1 && f.Types == 0; !indexed {
		var first []orderedEventRow // positions may begin late: the sweep removes the oldest
		err := s.eventsAfter(sc, after, domain.EventFilter{}).Select("position").Limit(1).Find(&first).Error
		if err != nil || len(first) == 0 {
			return domain.EventPlace{}, err
		}
		query = query.Where(lte("position", first[0].Position+s.eventWindow-1))
	}
	var last []orderedEventRow
	if err := query.Limit(1).Find(&last).Error; err != nil || len(last) == 0 {
		return domain.EventPlace{}, err
	}
	return domain.EventPlace{Position: last[0].Position, ID: domain.ID(last[0].ID)}, nil
}

// latestEvents are the places of the events after a position, the latest first.
func latestEvents(sc scope, after int64) *gorm.DB {
	latest := clause.OrderBy{Columns: []clause.OrderByColumn{{Column: clause.Column{Name: "position"}, Desc: true}}}
	return sc.rows(&orderedEventRow{}).Where(condition{"position > ?", []any{after}}).Select("position", "id").Clauses(latest)
}

func (s *Store) eventsAfter(sc scope, after int64, f domain.EventFilter) *gorm.DB {
	query := sc.rows(&orderedEventRow{}).Where(condition{"position > ?", []any{after}}).Clauses(ascending("position"))
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
