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
	if n != 6 || len(*queries) != 4 {
		t.Errorf("%d objects on %d pages, want 6 on 4", n, len(*queries))
	}
}
