package store_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

// owned is a copy of a view that outlives the callback.
type owned struct {
	AccountID, ID                                                                    domain.ID
	Name, ExternalID, Integration, Status, Reason, Phone, ProfileName, ProfilePicURL string
	WebhookURL                                                                       string
	WebhookEvents                                                                    domain.EventSet
	AutoRead, AutoTyping                                                             bool
	Created, Updated, Connected, LastSeen                                            int64
	Nils                                                                             string // which texts are unset
}

func own(v *domain.InstanceView) owned {
	o := owned{
		v.AccountID, v.ID, string(v.Name), string(v.ExternalID), string(v.Integration), string(v.Status), string(v.Reason),
		string(v.Phone), string(v.ProfileName), string(v.ProfilePicURL), string(v.WebhookURL), v.WebhookEvents,
		v.AutoRead, v.AutoTyping, v.CreatedAt, v.UpdatedAt, v.ConnectedAt, v.LastSeenAt, "",
	}
	for _, text := range [][]byte{v.Name, v.ExternalID, v.Integration, v.Status, v.Reason, v.Phone, v.ProfileName, v.ProfilePicURL, v.WebhookURL} {
		o.Nils += fmt.Sprintf("%t ", text == nil)
	}
	return o
}

// viewOf is what a list should show of an instance.
func viewOf(in *domain.Instance) owned {
	text := func(s string) []byte {
		if s == "" {
			return nil
		}
		return []byte(s)
	}
	millis := func(t time.Time) int64 {
		if t.IsZero() {
			return domain.NoTime
		}
		return t.UnixMilli()
	}
	return own(&domain.InstanceView{
		AccountID: in.AccountID, ID: in.ID, Name: []byte(in.Name), ExternalID: text(in.ExternalID), Integration: text(string(in.Integration)),
		Status: text(string(in.Status)), Reason: text(string(in.Reason)), Phone: text(in.Phone), ProfileName: text(in.ProfileName),
		ProfilePicURL: text(in.ProfilePicURL), WebhookURL: text(in.WebhookURL), WebhookEvents: in.WebhookEvents,
		AutoRead: in.AutoRead, AutoTyping: in.AutoTyping, CreatedAt: millis(in.CreatedAt), UpdatedAt: millis(in.UpdatedAt),
		ConnectedAt: millis(in.ConnectedAt), LastSeenAt: millis(in.LastSeenAt),
	})
}

func matches(in *domain.Instance, f domain.InstanceFilter) bool {
	return (f.Status == "" || in.Status == f.Status) && (f.ExternalID == "" || in.ExternalID == f.ExternalID) &&
		(f.Name == "" || in.Name == f.Name) && (f.Phone == "" || in.Phone == f.Phone) &&
		(f.IDs == nil || slices.Contains(f.IDs, in.ID)) &&
		(f.Search == "" || strings.Contains(strings.ToLower(in.Name), strings.ToLower(f.Search)) || strings.Contains(in.Phone, f.Search))
}

// addMany fills accounts with instances of which several share their time of creation.
func addMany(t *testing.T, accounts ...*store.Account) (all []domain.Instance) {
	t.Helper()
	for i := range 40 {
		in := domain.Instance{Name: fmt.Sprintf("Bot %d%%_ Ünï", i%7), CreatedAt: at(i / 5), Status: domain.Statuses()[i%3]}
		if i%2 == 0 {
			in = full(fmt.Sprint("n", i))
			in.CreatedAt, in.Status = at(i/5), domain.Statuses()[i%3]
		}
		for n, a := range accounts {
			in := in
			if in.TokenDigest != nil {
				in.TokenDigest = fmt.Appendf(nil, "%d of %d of %d", i, n, len(accounts))
			}
			all = append(all, addInstance(t, a, in))
		}
	}
	slices.SortFunc(all, func(a, b domain.Instance) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return slices.Compare(a.ID[:], b.ID[:])
	})
	return all
}

func filters(all []domain.Instance) []domain.InstanceFilter {
	return []domain.InstanceFilter{
		{}, {Status: domain.StatusConnected}, {Status: domain.StatusDisconnected}, {Status: "qr_pending"}, {Status: "CONNECTED"},
		{Search: "bot 3"}, {Search: "%"}, {Search: "_"}, {Search: "ÜNÏ"}, {Search: "5511"}, {Search: "nothing"}, {Search: "' OR '1'='1"},
		{Search: "bot", Status: domain.StatusConnecting}, {ExternalID: "ext n4"}, {ExternalID: "EXT N4"}, {ExternalID: "nothing"},
		{Name: "n4"}, {Name: "Bot 3%_ Ünï"}, {Name: "N4"}, {Phone: "55112"}, {Phone: "5511"}, {Phone: "55113", Name: "n10"},
		{IDs: []domain.ID{}}, {IDs: []domain.ID{all[3].ID}}, {IDs: []domain.ID{all[3].ID, all[30].ID, all[7].ID}},
		{IDs: []domain.ID{all[3].ID, all[3].ID, domain.NewID(at(0)), all[9].ID, all[8].ID}, Status: all[8].Status},
	}
}

func pageRequests(found []domain.Instance) []domain.PageRequest {
	requests := []domain.PageRequest{
		{Limit: 1}, {Limit: 3}, {Limit: 100}, {Limit: 5, Offset: 1}, {Limit: 7, Offset: 4}, {Limit: 100, Offset: 39}, {Limit: 5, Offset: 40},
		{Limit: 5, Offset: 1001}, {Limit: 1, Offset: math.MaxInt64}, {Limit: 5, After: &domain.Cursor{}}, {Limit: 100, After: &domain.Cursor{}},
		{Limit: 5, Offset: 3, After: &domain.Cursor{CreatedAt: at(99)}},
	}
	for _, i := range []int{0, 4, len(found) - 6, len(found) - 5, len(found) - 1} {
		if i >= 0 && i < len(found) {
			requests = append(requests, domain.PageRequest{Limit: 5, After: &domain.Cursor{CreatedAt: found[i].CreatedAt, ID: found[i].ID}})
		}
	}
	return requests
}

// wantPage computes a page the simple way.
func wantPage(found []domain.Instance, p domain.PageRequest) (rows []domain.Instance, info domain.PageInfo) {
	info.Total = int64(len(found))
	rest := found
	if p.After != nil {
		rest = rest[:0:0]
		for _, in := range found {
			if c := in.CreatedAt.Compare(p.After.CreatedAt); c > 0 || c == 0 && slices.Compare(in.ID[:], p.After.ID[:]) > 0 {
				rest = append(rest, in)
			}
		}
	} else {
		rest = rest[min(p.Offset, int64(len(rest))):]
	}
	rows = rest[:min(p.Limit, len(rest))]
	info.HasMore = len(rest) > len(rows)
	if len(rows) > 0 {
		last := rows[len(rows)-1]
		info.Last = domain.Cursor{CreatedAt: last.CreatedAt, ID: last.ID}
	}
	return rows, info
}

// Every filter with every kind of page, compared with a model; on an account and over a partner's children.
func TestPages_LikeTheModel(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		partner, children := f.addPartner(t)
		for name, c := range map[string]struct {
			pager pager
			all   []domain.Instance
		}{"account": {f.mine, addMany(t, f.mine)}, "partner": {partner, addMany(t, children...)}} {
			for _, filter := range filters(c.all) {
				var found []domain.Instance
				for _, in := range c.all {
					if matches(&in, filter) {
						found = append(found, in)
					}
				}
				for _, p := range pageRequests(found) {
					rows, want := wantPage(found, p)
					checkPage(t, fmt.Sprintf("%s %+v %+v", name, filter, p), c.pager, filter, p, rows, want)
				}
			}
		}
	})
}

func checkPage(t *testing.T, what string, pager pager, filter domain.InstanceFilter, p domain.PageRequest, rows []domain.Instance, want domain.PageInfo) {
	t.Helper()
	var got, views []owned
	info, err := pager.EachInstance(t.Context(), filter, p, func(v *domain.InstanceView) error {
		got = append(got, own(v))
		return nil
	})
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	for i := range rows {
		views = append(views, viewOf(&rows[i]))
	}
	if len(got) == 0 {
		info.Last = domain.Cursor{}
	}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Errorf("%s: info (-want +got):\n%s", what, diff)
	}
	if diff := cmp.Diff(views, got); diff != "" {
		t.Errorf("%s: rows (-want +got):\n%s", what, diff)
	}
}

// A deep offset is read in another way than a shallow one.
func TestPages_DeepOffset(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		insertMany(t, f, 1300)
		for _, filter := range []domain.InstanceFilter{{}, {Status: domain.StatusDisconnected}, {Search: "many"}} {
			for _, offset := range []int64{999, 1000, 1001, 1250, 1297, 1300, 1301} {
				var names []string
				info, err := f.mine.EachInstance(t.Context(), filter, domain.PageRequest{Limit: 5, Offset: offset}, func(v *domain.InstanceView) error {
					names = append(names, string(v.Name))
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				var want []string
				for i := offset; i < min(offset+5, 1300); i++ {
					want = append(want, fmt.Sprint("many ", i))
				}
				same(t, fmt.Sprintf("%+v offset %d", filter, offset), names, want)
				if info.Total != 1300 || info.HasMore != (offset+5 < 1300) {
					t.Errorf("%+v offset %d: %+v", filter, offset, info)
				}
			}
		}
	})
}

// insertMany adds disconnected instances to the fixture's account, quickly and a second apart.
func insertMany(t testing.TB, f *fixture, n int) {
	t.Helper()
	insert := `INSERT INTO instances (account_id, id, created_at, updated_at, version, webhook_events, auto_read, auto_typing,
			integration, desired, status, name, search_text)
		SELECT a.id, %s, %s, a.created_at, 1, 0, false, false, 'web', 'connected', 'disconnected', 'many ' || s.i, 'many ' || s.i
		FROM accounts a, (WITH RECURSIVE s (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i + 1 < %d) SELECT i FROM s) AS s
		WHERE a.name = 'mine'`
	id, created := "randomblob(16)", "1700000000000 + s.i * 1000"
	if f.Dialect() == store.DialectPostgres {
		id, created = "gen_random_uuid()", "'2024-01-01'::timestamptz + s.i * interval '1 second'"
	}
	execSQL(t, f, []string{
		fmt.Sprintf(insert, id, created, n),
		fmt.Sprintf(`UPDATE instance_counts SET n = n + %d WHERE status = 'disconnected'
			AND account_id = (SELECT id FROM accounts WHERE name = 'mine')`, n),
	})
}

var errStop = errors.New("stop")

// An error of the callback ends the page and comes back as it is; no connection is lost over it.
func TestPages_CallbackErrors(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		addMany(t, f.mine)
		for i := range 50 { // more often than there are connections
			calls := 0
			_, err := f.mine.EachInstance(t.Context(), domain.InstanceFilter{}, domain.PageRequest{Limit: 30}, func(*domain.InstanceView) error {
				if calls++; calls > i%20 {
					return errStop
				}
				return nil
			})
			if err != errStop { //nolint:errorlint // as it is
				t.Fatalf("got %v", err)
			}
			stopped := domain.NewError(domain.CodeNotFound, "x")
			err = f.mine.StreamInstances(t.Context(), domain.InstanceFilter{}, nil, func(*domain.Instance) error { return stopped })
			if err != error(stopped) { //nolint:errorlint // as it is
				t.Fatalf("got %v", err)
			}
		}
	})
}

// Clients that hang up before, in and after their query leave the next one all connections.
func TestPages_HangUps(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		addMany(t, f.mine)
		canceled, hangUp := context.WithCancel(t.Context())
		hangUp()
		for i := range 200 {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := f.mine.EachInstance(ctx, domain.InstanceFilter{}, domain.PageRequest{Limit: 30}, func(*domain.InstanceView) error {
				cancel() // in the middle of the rows: the page goes on
				return nil
			})
			cancel()
			if err != nil {
				t.Fatal(i, err)
			}
			if _, err := f.mine.EachInstance(canceled, domain.InstanceFilter{}, domain.PageRequest{Limit: 30}, ignore); !errors.Is(err, context.Canceled) {
				t.Fatal(i, err)
			}
			go func() { cancel() }() // races with the call; nobody needs to wait for it
			if _, err := f.mine.Instance(ctx, f.otherRow.ID); !errors.Is(err, context.Canceled) && domain.CodeOf(err) != domain.CodeInstanceNotFound {
				t.Fatal(i, err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := f.mine.EachInstance(ctx, domain.InstanceFilter{}, domain.PageRequest{Limit: 30}, ignore); err != nil {
			t.Error(err)
		}
	})
}

func TestStream(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		all := addMany(t, f.mine)
		for _, filter := range filters(all) {
			for _, after := range []*domain.Cursor{nil, {}, {CreatedAt: all[7].CreatedAt, ID: all[7].ID}} {
				var want, got []domain.Instance
				for _, in := range all {
					if matches(&in, filter) && (after == nil || after.ID.IsZero() || slices.ContainsFunc(all[8:], func(o domain.Instance) bool { return o.ID == in.ID })) {
						want = append(want, in)
					}
				}
				err := f.mine.StreamInstances(t.Context(), filter, after, func(in *domain.Instance) error {
					got = append(got, *in)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				same(t, fmt.Sprintf("%+v after %v", filter, after), got, want)
			}
		}
		insertMany(t, f, 601) // several batches
		n := 0
		if err := f.mine.StreamInstances(t.Context(), domain.InstanceFilter{Search: "many"}, nil, func(*domain.Instance) error { n++; return nil }); err != nil || n != 601 {
			t.Errorf("%d of 601, %v", n, err)
		}
	})
}
