package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/pombal-api/pombal/internal/domain"
)

// GORM composes the statement of a page, under the wall, once for each shape of question. What it makes is
// kept: the text, and which value goes to which parameter. A page then costs GORM nothing.

// pageColumns are the columns of a page in the order in which the decoders read them; the total comes
// before them.
const pageColumns = "account_id,id,created_at,updated_at,connected_at,last_seen_at,webhook_events," +
	"auto_read,auto_typing,integration,status,name,external_id,reason,phone,profile_name,profile_pic_url,webhook_url"

// deepOffset is from where on a page first finds its ids in an index and then fetches only their rows:
// skipping rows means reading them otherwise.
const deepOffset = 1000

// pageShape is everything about a question that changes the text of its statement.
type pageShape struct {
	partner    bool // all children of a partner
	status     bool
	search     bool
	externalID bool
	name       bool
	phone      bool
	ids        int // how many parameters the ids take, or anArray; 0 for no such filter
	paging     paging
}

// anArray stands for ids that are one parameter.
const anArray = 1 << 30

// filtered reports whether the total must be counted: the counters know statuses only.
func (p pageShape) filtered() bool {
	return p.search || p.externalID || p.name || p.phone || p.ids > 0
}

// paging says how a page finds its beginning.
type paging int

const (
	fromStart paging = iota
	fromOffset
	fromDeepOffset
	fromCursor
	onlyTotal // no page at all
)

// slot stands for a parameter while a statement is composed. Values from slotIDs on are single ids.
type slot int

const (
	slotOwner slot = iota
	slotStatus
	slotSearch
	slotExternalID
	slotName
	slotPhone
	slotLimit
	slotOffset
	slotCursorTime
	slotCursorID
	slotIDs
)

// pageQuery is a composed statement.
type pageQuery struct {
	sql      string
	slots    []slot
	total    bool      // no rows but the one of the total
	prepared *sql.Stmt // SQLite only; pgx prepares by itself
}

// placeholder is the account or partner that statements are composed for; slotOwner takes its place.
func placeholder() domain.ID { return domain.ID{15: 1} }

// slotItself leaves parameters open.
func slotItself(s slot) any { return s }

// pageQuery returns the statement of a shape.
func (s *Store) pageQuery(ctx context.Context, shape pageShape) (*pageQuery, error) {
	if q, ok := s.shapes.Load(shape); ok {
		return q.(*pageQuery), nil
	}
	q, err := s.composePage(ctx, shape)
	if err != nil {
		return nil, err
	}
	if s.pages != nil {
		if q.prepared, err = s.pages.PrepareContext(ctx, q.sql); err != nil {
			return nil, err
		}
	}
	winner, loaded := s.shapes.LoadOrStore(shape, q)
	if loaded && q.prepared != nil {
		_ = q.prepared.Close()
	}
	return winner.(*pageQuery), nil
}

// composePage joins the statement of the total and that of the rows. Both have been through the wall; what
// is added here names no table but by the full key of rows that were found within it.
func (s *Store) composePage(ctx context.Context, shape pageShape) (*pageQuery, error) {
	w := wall{account: placeholder()}
	if shape.partner {
		w = wall{partner: placeholder()}
	}
	c := composer{scope: scope{db: s.reader.WithContext(ctx).Session(&gorm.Session{DryRun: true}), wall: w}, postgres: s.pool != nil}
	text := c.total(shape)
	switch shape.paging {
	case onlyTotal:
	case fromDeepOffset:
		text = "SELECT (" + text + ") AS total," + qualified("p", pageColumns) +
			" FROM (" + c.rows(shape, "account_id,id") + ") AS k" +
			" JOIN instances AS p ON p.account_id = k.account_id AND p.id = k.id ORDER BY p.created_at, p.id"
	default:
		text = "SELECT (" + text + ") AS total," + strings.TrimPrefix(c.rows(shape, pageColumns), "SELECT ")
	}
	return c.finish(text, shape)
}

func qualified(table, columns string) string {
	return table + "." + strings.ReplaceAll(columns, ",", ","+table+".")
}

// composer collects the parameters of the parts of a statement in the order of their appearance.
type composer struct {
	scope    scope
	postgres bool
	vars     []any
	err      error
}

// build lets GORM write a statement whose parameters follow those written before.
func (c *composer) build(query *gorm.DB, dest any) string {
	query.Statement.Vars = c.vars
	result := query.Find(dest)
	if result.Error != nil && c.err == nil {
		c.err = result.Error
	}
	c.vars = result.Statement.Vars
	return result.Statement.SQL.String()
}

// total composes how many rows the filter finds: the sum of counters, or a count.
func (c *composer) total(shape pageShape) string {
	var n int64
	if shape.filtered() {
		return c.build(filtered(c.scope.rows(&instanceRow{}), shape, c.postgres, slotItself).Select(countOfRows), &n)
	}
	var query *gorm.DB
	if shape.partner {
		query = c.scope.rows(&partnerCountRow{})
	} else {
		query = c.scope.rows(&countRow{})
	}
	if shape.status {
		query = query.Where(eq("status", slotStatus))
	}
	return c.build(query.Select(sumOfCounts), &n)
}

// rows composes some columns of the rows of the page.
func (c *composer) rows(shape pageShape, columns string) string {
	query := filtered(c.scope.rows(&instanceRow{}), shape, c.postgres, slotItself).Select(strings.Split(columns, ","))
	if shape.paging == fromCursor {
		query = query.Where(after(slotCursorTime, slotCursorID))
	}
	order := pageOrder{offset: shape.paging == fromOffset || shape.paging == fromDeepOffset, postgres: c.postgres}
	return c.build(query.Clauses(clause.OrderBy{Expression: order}), &[]instanceRow{})
}

// finish reads the parameters back as slots.
func (c *composer) finish(text string, shape pageShape) (*pageQuery, error) {
	if c.err != nil {
		return nil, c.err
	}
	q := &pageQuery{sql: text, total: shape.paging == onlyTotal}
	for _, v := range c.vars {
		switch v := v.(type) {
		case slot:
			q.slots = append(q.slots, v)
		case uid:
			q.slots = append(q.slots, slotOwner)
		default:
			return nil, fmt.Errorf("a page cannot take a parameter of type %T", v)
		}
	}
	if !c.postgres {
		q.sql = withCasts(text, q.slots)
	}
	return q, nil
}

// withCasts gives each parameter its type. SQLite plans for the value of a bare one where it thinks that
// this may help, which means preparing the statement anew for every page: an eighth of its cost.
func withCasts(text string, slots []slot) string {
	pieces := strings.Split(text, "?")
	var b strings.Builder
	b.WriteString(pieces[0])
	for i, s := range slots {
		kind := "text"
		switch {
		case s == slotOwner, s == slotCursorID, s >= slotIDs:
			kind = "blob"
		case s == slotLimit, s == slotOffset, s == slotCursorTime:
			kind = "integer"
		}
		b.WriteString("CAST(? AS " + kind + ")" + pieces[i+1])
	}
	return b.String()
}
