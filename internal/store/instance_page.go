package store

import (
	"context"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// EachInstance calls each for every instance of a page, in the order of creation, then id; the view is
// valid only until each returns. Page and total are of one moment. Once the query runs, it no longer
// depends on ctx: a client that hangs up would otherwise cost a connection to the database.
func (a *Account) EachInstance(ctx context.Context, f domain.InstanceFilter, p domain.PageRequest, each func(*domain.InstanceView) error) (domain.PageInfo, error) {
	q := pageQuestion{owner: a.id, filter: f, page: p}
	return a.s.eachInstance(ctx, q, each)
}

// EachInstance is that of Account over the instances of all child accounts.
func (p *Partner) EachInstance(ctx context.Context, f domain.InstanceFilter, page domain.PageRequest, each func(*domain.InstanceView) error) (domain.PageInfo, error) {
	q := pageQuestion{owner: p.id, partner: true, filter: f, page: page}
	return p.s.eachInstance(ctx, q, each)
}

// pageQuestion is one call of EachInstance.
type pageQuestion struct {
	owner   domain.ID
	partner bool
	filter  domain.InstanceFilter
	page    domain.PageRequest
}

func (s *Store) eachInstance(ctx context.Context, q pageQuestion, each func(*domain.InstanceView) error) (domain.PageInfo, error) {
	if err := checkFilter(q.filter); err != nil {
		return domain.PageInfo{}, err
	}
	if q.filter.IDs != nil && len(q.filter.IDs) == 0 {
		return domain.PageInfo{}, nil
	}
	q.filter.Search = strings.ToLower(q.filter.Search)
	ctx, cancel := bounded(ctx)
	defer cancel()
	sink := pageSink{question: &q, each: each}
	if err := s.readRows(ctx, q.shape(s.pool != nil), &sink); err != nil {
		return domain.PageInfo{}, sink.own(err)
	}
	return sink.info(), nil
}

// readRows gives the sink a page and its total.
func (s *Store) readRows(ctx context.Context, shape pageShape, sink *pageSink) error {
	count := shape
	count.paging = onlyTotal
	if shape.paging == fromDeepOffset && !shape.filtered() {
		// Skipping rows costs time even if none is left behind them, which the counters tell at once.
		if err := s.runPage(ctx, count, sink); err != nil || sink.total <= sink.question.page.Offset {
			return err
		}
	}
	for range attempts {
		if err := s.runPage(ctx, shape, sink); err != nil || sink.rows > 0 {
			return err
		}
		// The total comes with the rows, which is the cheapest. There are none, so it must be asked for. It
		// fits the empty page, unless an instance has appeared on that just now.
		if err := s.runPage(ctx, count, sink); err != nil || shape.paging == fromCursor || sink.total <= sink.question.page.Offset {
			return err
		}
	}
	return nil
}

// maxFilterIDs bounds a list of ids: SQLite takes 32,766 parameters.
const maxFilterIDs = 10_000

func checkFilter(f domain.InstanceFilter) error {
	var t texts
	t.checkLong("search", f.Search)
	t.checkLong("externalId", f.ExternalID)
	t.checkLong("name", f.Name)
	t.checkLong("phone", f.Phone)
	t.checkLong("status", string(f.Status))
	if len(f.IDs) > maxFilterIDs {
		t = append(t, domain.Detail{Field: "ids", Code: "too_many",
			Message: "it has too many ids. Ask for at most " + strconv.Itoa(maxFilterIDs) + " at once."})
	}
	return t.err()
}

// runPage asks once, and again if the connection turns out to be dead before the first row.
func (s *Store) runPage(ctx context.Context, shape pageShape, sink *pageSink) error {
	query, err := s.pageQuery(ctx, shape)
	if err != nil {
		return err
	}
	run := s.runPageSQLite
	if s.pool != nil {
		run = s.runPagePostgres
	}
	for range attempts {
		if err = run(ctx, query, sink); sink.rows > 0 || !isDeadConnection(err) {
			break
		}
	}
	return err
}

// shape returns the shape of the question's statement.
func (q *pageQuestion) shape(postgres bool) pageShape {
	f := &q.filter
	shape := pageShape{
		partner: q.partner, status: f.Status != "", search: f.Search != "", externalID: f.ExternalID != "",
		name: f.Name != "", phone: f.Phone != "",
	}
	switch {
	case f.IDs == nil:
	case postgres:
		shape.ids = anArray
	default: // rounded up, so that few statements serve all lengths; the last id is repeated
		shape.ids = 1 << bits.Len(uint(len(f.IDs)-1))
	}
	switch {
	case q.page.After != nil:
		shape.paging = fromCursor
	case q.page.Offset > deepOffset:
		shape.paging = fromDeepOffset
	case q.page.Offset > 0:
		shape.paging = fromOffset
	}
	return shape
}

// id returns the id that goes to a parameter from slotIDs on.
func (q *pageQuestion) id(s slot) domain.ID {
	return q.filter.IDs[min(int(s-slotIDs), len(q.filter.IDs)-1)]
}

// limit is how many rows are asked for. With a cursor it is one more than wanted, which shows whether there
// are more; otherwise the total tells.
func (q *pageQuestion) limit() int64 {
	if q.page.After != nil {
		return int64(q.page.Limit) + 1
	}
	return int64(q.page.Limit)
}

// arg returns the value of a parameter, but for ids and times, whose form depends on the engine.
func (q *pageQuestion) arg(s slot) any {
	switch s {
	case slotStatus:
		return string(q.filter.Status)
	case slotSearch:
		return q.filter.Search
	case slotExternalID:
		return q.filter.ExternalID
	case slotName:
		return q.filter.Name
	case slotPhone:
		return q.filter.Phone
	case slotLimit:
		return q.limit()
	case slotOffset:
		return q.page.Offset
	default:
		return nil
	}
}

// pageSink takes the rows of a page as they come.
type pageSink struct {
	question *pageQuestion
	each     func(*domain.InstanceView) error
	view     domain.InstanceView
	total    int64
	rows     int
	failed   error // what each returned
}

// wants counts a row that came, and reports whether it belongs to the page rather than showing that there
// are more.
func (k *pageSink) wants() bool {
	k.rows++
	return k.rows <= k.question.page.Limit
}

// take hands on the row that view holds.
func (k *pageSink) take() error {
	k.failed = k.each(&k.view)
	return k.failed
}

// info describes the page after its last row, whose fixed-width fields view still holds.
func (k *pageSink) info() domain.PageInfo {
	p := &k.question.page
	info := domain.PageInfo{Total: k.total}
	if p.After != nil {
		info.HasMore = k.rows > p.Limit
	} else {
		info.HasMore = k.rows > 0 && k.total-p.Offset > int64(k.rows)
	}
	if k.rows > 0 {
		info.Last = domain.Cursor{CreatedAt: time.UnixMilli(k.view.CreatedAt).UTC(), ID: k.view.ID}
	}
	return info
}

// own returns an error of each as it is, and translates all others.
func (k *pageSink) own(err error) error {
	if k.failed != nil {
		return k.failed
	}
	return translate(err)
}
