package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

// event is an event as the API shows it.
type event struct {
	ID, Event, AccountID, InstanceID string
	Sequence                         *int64
	Data                             struct{ N int }
}

func (e event) String() string { return fmt.Sprintf("%s %d", e.Event, e.Data.N) }

// publish makes n events of an instance, of alternating types, whose data count from first.
func publish(t *testing.T, tenant *apitest.Tenant, instance string, first, n int) {
	t.Helper()
	id, err := domain.ParsePrefixed(domain.PrefixInstance, instance)
	if err != nil {
		t.Fatal(err)
	}
	types := []domain.EventSet{domain.EventInstanceConnected, domain.EventMessageReceived}
	events := make([]domain.Event, n)
	for i := range events {
		events[i] = domain.Event{InstanceID: id, Type: types[(first+i)%2], At: time.Now(), Data: fmt.Appendf(nil, `{"n":%d}`, first+i)}
	}
	if err := tenant.Server.App.Publish(t.Context(), tenant.Account.ID, events); err != nil {
		t.Fatal(err)
	}
}

// eventPage asks for events.
func eventPage(t *testing.T, c *asker, query string) (events []event, hasMore bool, next string) {
	t.Helper()
	var page struct {
		Data       []event
		Pagination struct {
			HasMore    bool
			NextCursor *string
		}
	}
	decodeWhole(t, c.do(t, "GET", "/v1/events"+query, nil), &page)
	if page.Pagination.NextCursor != nil {
		next = *page.Pagination.NextCursor
	}
	return page.Data, page.Pagination.HasMore, next
}

func numbers(events []event) []int {
	list := make([]int, len(events))
	for i, e := range events {
		list[i] = e.Data.N
	}
	return list
}

func TestEvents_List(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		c := bearer(t, s, tenant.Key)
		if events, more, next := eventPage(t, c, ""); len(events) != 0 || more || next != "" {
			t.Errorf("at first: %v %v %q", events, more, next)
		}
		one, two := tenant.NewInstance(t, "one"), tenant.NewInstance(t, "two")
		publish(t, tenant, one.ID, 1, 3)
		publish(t, tenant, two.ID, 4, 2)
		all, more, last := eventPage(t, c, "")
		if diff := cmp.Diff([]int{1, 2, 3, 4, 5}, numbers(all)); diff != "" || more || last != all[4].ID {
			t.Errorf("all: %s more %v, next %q", diff, more, last)
		}
		if e := all[4]; e.AccountID != tenant.ID || e.InstanceID != two.ID || *e.Sequence != 2 || *all[2].Sequence != 3 {
			t.Errorf("the last: %+v", e)
		}
		if events, more, next := eventPage(t, c, "?limit=2&after="+all[0].ID); !more || next != all[2].ID || !slices.Equal(numbers(events), []int{2, 3}) {
			t.Errorf("a page: %v %v %q", events, more, next)
		}
		if events, more, next := eventPage(t, c, "?after="+last); len(events) != 0 || more || next != last {
			t.Errorf("behind the last: %v %v %q", events, more, next)
		}
		if events, _, _ := eventPage(t, c, "?types=message.received&instanceId="+one.ID); !slices.Equal(numbers(events), []int{1, 3}) {
			t.Errorf("filtered: %v", events)
		}
		// Where a filter leaves nothing more, the next call need not look through the same events again.
		for _, query := range []string{"?types=webhook.disabled", "?types=message.received&instanceId=" + one.ID, "?types=webhook.disabled&after=" + all[1].ID} {
			if _, more, next := eventPage(t, c, query); more || next != last {
				t.Errorf("%s: more %v, next %q, want %q", query, more, next, last)
			}
		}
		if events, more, next := eventPage(t, c, "?types=message.received&limit=1"); !more || next != all[0].ID {
			t.Errorf("one of several: %v %v %q", events, more, next)
		}
		c.do(t, "GET", "/v1/events?types=message.recieved", nil).is(t, http.StatusBadRequest, "invalid_parameters", "types")
		c.do(t, "GET", "/v1/events?after=evt_01kghnzcg0e58bm3hfbsmxbqx4", nil).is(t, http.StatusNotFound, "event_not_found", "")
		c.do(t, "GET", "/v1/events?after=x", nil).is(t, http.StatusBadRequest, "invalid_parameters", "after")
		other := bearer(t, s, s.NewTenant(t).Key)
		other.do(t, "GET", "/v1/events?after="+last, nil).is(t, http.StatusNotFound, "event_not_found", "")
		other.do(t, "GET", "/v1/events?instanceId="+one.ID, nil).is(t, http.StatusNotFound, "instance_not_found", "")
		token := mint(t, c, `{"scopes":["events:read"],"instanceIds":["`+two.ID+`"]}`)
		if events, _, _ := eventPage(t, bearer(t, s, token), ""); !slices.Equal(numbers(events), []int{4, 5}) {
			t.Errorf("a restricted token sees %v", events)
		}
	})
}

// follower reads a stream of events.
type follower struct {
	tb     testing.TB
	lines  *bufio.Scanner
	begin  string // the id of the last event before the stream
	cancel context.CancelFunc
	ended  chan struct{}
	events chan event
}

// follow opens a stream and returns when it runs.
func follow(t *testing.T, s *apitest.Server, credential, query string, header ...string) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background()) // until the test's cleanup
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/v1/events/stream"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+credential)
	addHeaders(req.Header, header)
	transport := s.HTTP(t).Transport
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || !strings.HasPrefix(got, "text/event-stream") {
		t.Fatalf("answered %d %s", res.StatusCode, got)
	}
	f := &follower{tb: t, lines: bufio.NewScanner(res.Body), cancel: cancel, ended: make(chan struct{}), events: make(chan event, 1000)}
	if !f.lines.Scan() || f.lines.Text() != ": connected" {
		t.Fatalf("the stream begins with %q", f.lines.Text())
	}
	if !f.lines.Scan() || !strings.HasPrefix(f.lines.Text(), "id: evt_") {
		t.Fatalf("the stream does not say where it begins: %q", f.lines.Text())
	}
	f.begin = strings.TrimPrefix(f.lines.Text(), "id: ")
	go f.read() // ends with the connection
	t.Cleanup(func() {
		cancel()
		_ = res.Body.Close()
		<-f.ended
	})
	return f
}

func (f *follower) read() {
	defer close(f.ended)
	id := ""
	for f.lines.Scan() {
		switch name, value, _ := strings.Cut(f.lines.Text(), ": "); name {
		case "id":
			id = value
		case "data":
			var e event
			if err := json.Unmarshal([]byte(value), &e); err != nil || e.ID != id {
				f.tb.Errorf("id %s, data %s: %v", id, value, err)
			}
			f.events <- e
		}
	}
}

// next returns the following n events.
func (f *follower) next(t *testing.T, n int) []event {
	t.Helper()
	var got []event
	timeout := time.After(20 * time.Second)
	for len(got) < n {
		select {
		case e := <-f.events:
			got = append(got, e)
		case <-timeout:
			t.Fatalf("got %v, want %d events", got, n)
		}
	}
	return got
}

// end waits until the server has ended the stream.
func (f *follower) end(t *testing.T) {
	t.Helper()
	select {
	case <-f.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the stream goes on")
	}
}

func TestEvents_Stream(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		one, two := tenant.NewInstance(t, "one"), tenant.NewInstance(t, "two")
		publish(t, tenant, one.ID, 1, 3)
		live, picky := follow(t, s, tenant.Key, ""), follow(t, s, tenant.Key, "?types=message.received&instanceId="+two.ID)
		publish(t, tenant, one.ID, 4, 2)
		publish(t, tenant, two.ID, 6, 4)
		got := live.next(t, 6)
		if diff := cmp.Diff([]int{4, 5, 6, 7, 8, 9}, numbers(got)); diff != "" {
			t.Errorf("live: %s", diff)
		}
		if diff := cmp.Diff([]int{7, 9}, numbers(picky.next(t, 2))); diff != "" {
			t.Errorf("filtered: %s", diff)
		}
		early := follow(t, s, tenant.Key, "", "Last-Event-ID", live.begin)
		if diff := cmp.Diff([]int{4, 5, 6, 7, 8, 9}, numbers(early.next(t, 6))); diff != "" {
			t.Errorf("resumed where it began: %s", diff)
		}
		resumed := follow(t, s, tenant.Key, "", "Last-Event-ID", got[1].ID)
		if diff := cmp.Diff([]int{6, 7, 8, 9}, numbers(resumed.next(t, 4))); diff != "" {
			t.Errorf("resumed: %s", diff)
		}
		publish(t, tenant, one.ID, 10, 1)
		if diff := cmp.Diff([]int{10}, numbers(resumed.next(t, 1))); diff != "" {
			t.Errorf("resumed and live: %s", diff)
		}
		if first := follow(t, s, s.NewTenant(t).Key, "").begin; first != "evt_"+strings.Repeat("0", 26) {
			t.Errorf("an account without events begins at %s", first)
		} else if again := follow(t, s, tenant.Key, "?after="+first); again.next(t, 1)[0].Data.N != 1 {
			t.Error("the first event of all is not behind the beginning")
		}
		stranger := follow(t, s, s.NewTenant(t).Key, "")
		publish(t, tenant, one.ID, 11, 1)
		live.next(t, 2)
		select {
		case e := <-stranger.events:
			t.Errorf("a stranger sees %v", e)
		default:
		}
		c := bearer(t, s, tenant.Key)
		c.do(t, "GET", "/v1/events/stream", nil, "Last-Event-ID", "evt_01kghnzcg0e58bm3hfbsmxbqx4").is(t, http.StatusNotFound, "event_not_found", "")
		c.do(t, "GET", "/v1/events/stream?types=x", nil).is(t, http.StatusBadRequest, "invalid_parameters", "types")
	})
}

// A stream that is far behind catches up from the database, in order and without gaps, with a filter or without.
func TestEvents_StreamFarBehind(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		in := tenant.NewInstance(t, "one")
		publish(t, tenant, in.ID, 1, 1)
		first, _, _ := eventPage(t, bearer(t, s, tenant.Key), "")
		publish(t, tenant, in.ID, 2, 900)
		f := follow(t, s, tenant.Key, "?after="+first[0].ID)
		publish(t, tenant, in.ID, 902, 50)
		want := make([]int, 950)
		for i := range want {
			want[i] = i + 2
		}
		if diff := cmp.Diff(want, numbers(f.next(t, 950))); diff != "" {
			t.Error(diff)
		}
		// With a filter it is sent what that lets through, and is then where the others are.
		some, none := "?types=message.received&instanceId="+in.ID+"&after=", "?types=webhook.disabled,webhook.failing,message.failed&after="
		picky, rare := follow(t, s, tenant.Key, some+first[0].ID), follow(t, s, tenant.Key, none+first[0].ID)
		want = slices.DeleteFunc(want, func(n int) bool { return n%2 == 0 })
		if diff := cmp.Diff(want, numbers(picky.next(t, len(want)))); diff != "" {
			t.Error(diff)
		}
		publish(t, tenant, in.ID, 952, 2)
		if diff := cmp.Diff([]int{953}, numbers(picky.next(t, 1))); diff != "" || len(rare.events) > 0 {
			t.Errorf("live after that: %s, and %d that were not wanted", diff, len(rare.events))
		}
	})
}

// A stream ends with its credential: at once when a token expires, before the next event when a key is revoked.
func TestEvents_StreamEndsWithItsCredential(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		c, in := bearer(t, s, tenant.Key), tenant.NewInstance(t, "one")
		expires := time.Now().Add(1500 * time.Millisecond).UTC().Format(time.RFC3339Nano)
		var brief, revoked struct{ ID, Key string }
		c.do(t, "POST", "/v1/api-keys", []byte(`{"name":"x","scopes":["events:read"],"expiresAt":"`+expires+`"}`)).decode(t, &brief)
		c.do(t, "POST", "/v1/api-keys", []byte(`{"name":"y","scopes":["events:read"]}`)).decode(t, &revoked)
		first, second := follow(t, s, brief.Key, ""), follow(t, s, revoked.Key, "")
		first.end(t)
		if a := c.do(t, "DELETE", "/v1/api-keys/"+revoked.ID, nil); a.Status != http.StatusOK {
			t.Fatalf("revoked: %d", a.Status)
		}
		publish(t, tenant, in.ID, 1, 1)
		second.end(t)
		if len(second.events) > 0 {
			t.Error("a revoked key was sent an event")
		}
	})
}

// An account may have so many streams. Others have theirs all the same, and one that ends makes room.
func TestEvents_StreamsOfAnAccount(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, testkit.Engines()[0], func(cfg *app.Config) { cfg.AccountStreams = 2 })
	tenant := s.NewTenant(t)
	c := bearer(t, s, tenant.Key)
	first := follow(t, s, tenant.Key, "")
	follow(t, s, tenant.Key, "")
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		a := c.do(t, method, "/v1/events/stream", nil)
		if a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") != "30" {
			t.Errorf("%s: one too many is answered with %d, Retry-After %q", method, a.Status, a.Header.Get("Retry-After"))
		}
	}
	c.do(t, "GET", "/v1/events/stream", nil).is(t, http.StatusTooManyRequests, "rate_limit_exceeded", "")
	follow(t, s, s.NewTenant(t).Key, "")
	first.cancel()
	for began := time.Now(); ; { // the server has yet to notice
		a := c.do(t, "GET", "/v1/events/stream", nil)
		if a.Status == http.StatusOK {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("the place of a stream that has ended is not free: %d %s", a.Status, a.Body)
		}
	}
}

// A server that stops does not wait for its streams.
func TestEvents_StreamEndsWithItsServer(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		f := follow(t, s, s.NewTenant(t).Key, "")
		s.Stop()
		f.end(t)
	})
}
