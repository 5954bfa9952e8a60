package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"strconv"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

type listInstancesRequest struct {
	Query api.ListInstancesParams `in:"query"`
}

// pageBuffers holds the bytes of pages between requests. A page of 100 is about 60 KB.
var pageBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

// maxPooledBuffer keeps one page of giants from staying in memory for ever.
const maxPooledBuffer = 1 << 20

// listPlan is how list requests are bound.
var listPlan = planOf(reflect.TypeFor[listInstancesRequest]())

// listInstances is the hot path: rows are decoded and encoded without a struct or a copy in between.
func (s *Server) listInstances() endpoint {
	return func(c echo.Context, _ *route) error {
		var req listInstancesRequest
		if _, err := s.bind(c, &listPlan, &req); err != nil {
			return err
		}
		list, err := s.instanceList(infoOf(c).principal, &req.Query)
		if err != nil {
			return err
		}
		buf, _ := pageBuffers.Get().(*[]byte)
		body, err := s.encodePage(c, list, (*buf)[:0])
		defer func() {
			if cap(body) <= maxPooledBuffer {
				*buf = body
				pageBuffers.Put(buf)
			}
		}()
		if err != nil {
			return err
		}
		return s.sendPage(c, body)
	}
}

// instanceList is a list request, understood.
type instanceList struct {
	pager        InstancePager
	filter       domain.InstanceFilter
	page         domain.PageRequest
	scope        []byte // of its cursors
	withAccounts bool
}

func (s *Server) instanceList(p *domain.Principal, q *api.ListInstancesParams) (*instanceList, error) {
	l := &instanceList{withAccounts: p.Children, page: domain.PageRequest{Limit: q.Limit, Offset: q.Offset}}
	l.filter = domain.InstanceFilter{Search: deref(q.Search), ExternalID: deref(q.ExternalID), IDs: p.Instances}
	if q.Status != api.InstanceStatusFilterAll {
		l.filter.Status = domain.Status(q.Status)
	}
	l.scope = listScope("instances", p, string(q.Status), l.filter.Search, l.filter.ExternalID)
	if err := s.applyCursor(&l.page, l.scope, deref(q.Cursor)); err != nil {
		return nil, err
	}
	var err error
	if p.Children {
		l.pager, err = s.deps.Partners(p.Account.ID)
	} else {
		l.pager, err = s.deps.Accounts(p.Account.ID)
	}
	return l, err
}

// applyCursor turns the cursor parameter into a position.
func (s *Server) applyCursor(page *domain.PageRequest, scope []byte, cursor string) error {
	if cursor == "" {
		return nil
	}
	at, err := s.decodeCursor(scope, cursor)
	page.After = at
	return err
}

// encodePage reads and encodes the page.
func (s *Server) encodePage(c echo.Context, l *instanceList, b []byte) ([]byte, error) {
	// A client that hangs up while its page waits for the database gives up its place; a query that runs is not ended.
	ctx, cancel := context.WithTimeout(c.Request().Context(), s.cfg.RequestTimeout)
	defer cancel()
	b = append(b, `{"success":true,"data":[`...)
	first := true
	info, err := l.pager.EachInstance(ctx, l.filter, l.page, func(v *domain.InstanceView) error {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendInstance(b, v, l.withAccounts)
		return nil
	})
	if err != nil {
		return b, err
	}
	return append(s.appendPagination(append(b, ']'), l, info), '}'), nil
}

func (s *Server) appendPagination(b []byte, l *instanceList, info domain.PageInfo) []byte {
	offset := l.page.Offset
	if l.page.After != nil {
		offset = 0
	}
	b = append(b, `,"pagination":{"total":`...)
	b = strconv.AppendInt(b, info.Total, 10)
	b = append(b, `,"limit":`...)
	b = strconv.AppendInt(b, int64(l.page.Limit), 10)
	b = append(b, `,"offset":`...)
	b = strconv.AppendInt(b, offset, 10)
	b = append(b, `,"hasMore":`...)
	b = strconv.AppendBool(b, info.HasMore)
	b = append(b, `,"nextCursor":`...)
	if !info.HasMore {
		return append(b, "null}"...)
	}
	b = append(b, '"')
	b = s.appendCursor(b, l.scope, info.Last)
	return append(b, `"}`...)
}

// sendPage writes the page, or 304 when the caller already has it.
func (s *Server) sendPage(c echo.Context, body []byte) error {
	h := c.Response().Header()
	values := [...]string{contentTag(body), echo.MIMEApplicationJSON, strconv.Itoa(len(body))}
	h[headerETag] = values[0:1:1]
	cacheHeaders(c)
	if s.unchanged(c, values[0]) {
		return c.NoContent(http.StatusNotModified)
	}
	h[echo.HeaderContentType] = values[1:2:2]
	h[echo.HeaderContentLength] = values[2:3:3]
	c.Response().WriteHeader(http.StatusOK)
	_, err := c.Response().Write(body)
	return err
}
