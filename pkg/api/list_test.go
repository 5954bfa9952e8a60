package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/pkg/api"
)

// pagedServer has the instances inst_0 … inst_(n-1) and answers with pages of
// two. At the cursor failAt it fails. It keeps the queries.
func pagedServer(t *testing.T, n int, failAt string) (*api.Client, *[]string) {
	t.Helper()
	queries := &[]string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*queries = append(*queries, r.URL.RawQuery)
		cursor := r.URL.Query().Get("cursor")
		if failAt != "" && cursor == failAt {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		from, _ := strconv.Atoi(strings.TrimPrefix(cursor, "c"))
		if offset := r.URL.Query().Get("offset"); offset != "" {
			from, _ = strconv.Atoi(offset)
		}
		var ids []string
		for i := from; i < min(from+2, n); i++ {
			ids = append(ids, fmt.Sprintf(`{"id":"inst_%d"}`, i))
		}
		next := "null"
		if from+2 < n {
			next = fmt.Sprintf(`"c%d"`, from+2)
		}
		_, _ = fmt.Fprintf(w, `{"success":true,"data":[%s],"pagination":{"total":%d,"limit":2,"offset":0,"hasMore":%t,"nextCursor":%s}}`,
			strings.Join(ids, ","), n, next != "null", next)
	}))
	t.Cleanup(s.Close)
	c, err := api.NewClient(s.URL, "pmb_test")
	if err != nil {
		t.Fatal(err)
	}
	return c, queries
}

func TestAll_WalksEveryPage(t *testing.T) {
	t.Parallel()
	for n, pages := range map[int]int{0: 1, 1: 1, 2: 1, 3: 2, 5: 3} {
		c, queries := pagedServer(t, n, "")
		var ids []string
		for instance, err := range c.Instances.All(t.Context(), api.ListInstancesParams{}) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, instance.ID)
		}
		var want []string
		for i := range n {
			want = append(want, fmt.Sprintf("inst_%d", i))
		}
		if diff := cmp.Diff(want, ids); diff != "" {
			t.Errorf("%d instances (-want +got):\n%s", n, diff)
		}
		if len(*queries) != pages {
			t.Errorf("%d instances took %d pages, want %d", n, len(*queries), pages)
		}
	}
}

func TestAll_KeepsFiltersAndDropsTheOffset(t *testing.T) {
	t.Parallel()
	c, queries := pagedServer(t, 6, "")
	params := api.ListInstancesParams{Status: "connected", Limit: 2, Offset: 1, Search: new("a&b"), ExternalID: new("crm-1")}
	for range 2 { // a sequence can be walked again
		*queries = nil
		for _, err := range c.Instances.All(t.Context(), params) {
			if err != nil {
				t.Fatal(err)
			}
		}
		want := []string{
			"externalId=crm-1&limit=2&offset=1&search=a%26b&status=connected",
			"cursor=c3&externalId=crm-1&limit=2&search=a%26b&status=connected",
			"cursor=c5&externalId=crm-1&limit=2&search=a%26b&status=connected",
		}
		if diff := cmp.Diff(want, *queries); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestAll_StopsWhenTheLoopDoes(t *testing.T) {
	t.Parallel()
	c, queries := pagedServer(t, 100, "")
	for instance, err := range c.Instances.All(t.Context(), api.ListInstancesParams{}) {
		if err != nil {
			t.Fatal(err)
		}
		if instance.ID == "inst_2" {
			break
		}
	}
	if want := []string{"", "cursor=c2"}; !slices.Equal(*queries, want) {
		t.Errorf("queries %q, want %q", *queries, want)
	}
}

func TestAll_EndsWithAnError(t *testing.T) {
	t.Parallel()
	c, _ := pagedServer(t, 10, "c4")
	var seen []string
	for instance, err := range c.Instances.All(t.Context(), api.ListInstancesParams{}) {
		if err != nil {
			seen = append(seen, "error")
			continue
		}
		seen = append(seen, instance.ID)
	}
	want := []string{"inst_0", "inst_1", "inst_2", "inst_3", "error"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAll_OtherLists(t *testing.T) {
	t.Parallel()
	c, queries := pagedServer(t, 3, "")
	n := 0
	for _, err := range c.APIKeys.All(t.Context(), api.ListAPIKeysParams{Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	for _, err := range c.Accounts.All(t.Context(), api.ListAccountsParams{Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	for _, err := range c.Webhooks.All(t.Context(), api.ListWebhooksParams{Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	for _, err := range c.Webhooks.Inbound.All(t.Context(), api.ListInboundWebhooksParams{Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 12 || len(*queries) != 8 {
		t.Errorf("%d objects on %d pages, want 12 on 8", n, len(*queries))
	}
}

// Lists without a known end stop where there is nothing more, though they say how
// to go on from there.
func TestAll_ListsWithoutAnEnd(t *testing.T) {
	t.Parallel()
	s := newServer(t,
		reply{status: 200, body: `{"success":true,"data":[{"id":"1"},{"id":"2"}],"pagination":{"hasMore":true,"nextCursor":"2"}}`},
		reply{status: 200, body: `{"success":true,"data":[],"pagination":{"hasMore":true,"nextCursor":"7"}}`},
		reply{status: 200, body: `{"success":true,"data":[{"id":"8"}],"pagination":{"hasMore":false,"nextCursor":"8"}}`},
		reply{status: 200, body: `{"success":true,"data":[{"id":"9"}],"pagination":{"hasMore":false,"nextCursor":null}}`},
		failing(404, "webhook_not_found"))
	c := s.client(t)
	var ids []string
	params := api.ListEventsParams{After: new("0"), Types: api.EventTypes(api.EventTypeMessageSent), InstanceID: new("inst_1"), Limit: 2}
	for event, err := range c.Events.All(t.Context(), params) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, event.ID)
	}
	logs := api.ListWebhookLogsParams{Limit: 1, Status: api.ListWebhookLogsParamsStatusFailed, EventID: new("evt_1"), Cursor: new("c")}
	for range 2 {
		for entry, err := range c.Webhooks.AllLogs(t.Context(), "wh_1", logs) {
			if err != nil {
				ids = append(ids, string(api.CodeOf(err)))
				continue
			}
			ids = append(ids, entry.ID)
		}
	}
	if want := []string{"1", "2", "8", "9", "webhook_not_found"}; !slices.Equal(ids, want) {
		t.Errorf("got %q, want %q", ids, want)
	}
	wantURLs := []string{
		"/v1/events?after=0&instanceId=inst_1&limit=2&types=message.sent",
		"/v1/events?after=2&instanceId=inst_1&limit=2&types=message.sent",
		"/v1/events?after=7&instanceId=inst_1&limit=2&types=message.sent",
		"/v1/webhooks/wh_1/logs?cursor=c&eventId=evt_1&limit=1&status=failed",
		"/v1/webhooks/wh_1/logs?cursor=c&eventId=evt_1&limit=1&status=failed",
	}
	var urls []string
	for _, r := range s.requests {
		urls = append(urls, r.URL.String())
	}
	if diff := cmp.Diff(wantURLs, urls); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Nothing that is no id gets into a path, where it would name something else.
func TestWebhooks_RefuseWhatIsNoID(t *testing.T) {
	t.Parallel()
	s := newServer(t, reply{status: 200, body: oneObject})
	c := s.client(t)
	for _, id := range []string{"", ".", "..", "inbound"} {
		_, gotten := c.Webhooks.Get(t.Context(), id)
		_, listed := c.Webhooks.Logs(t.Context(), id, api.ListWebhookLogsParams{})
		for i, err := range []error{gotten, listed, c.Webhooks.Delete(t.Context(), id)} {
			if err == nil {
				t.Errorf("call %d took %q for an id", i, id)
			}
		}
	}
	_, read := c.Webhooks.Log(t.Context(), "wh_1", "..")
	_, replayed := c.Webhooks.ReplayLog(t.Context(), "wh_1", "")
	if read == nil || replayed == nil || c.Webhooks.Inbound.Delete(t.Context(), "") == nil || len(s.requests) != 0 {
		t.Errorf("bad ids were taken, %d requests sent", len(s.requests))
	}
}
