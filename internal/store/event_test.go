package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

// happened is an event of an instance, or of its account for the zero id.
func happened(instance domain.ID, kind domain.EventSet) domain.Event {
	return domain.Event{InstanceID: instance, Type: kind, At: at(1), Data: []byte(`{"a":1}`)}
}

func publishAll(t testing.TB, a *store.Account, events ...domain.Event) []domain.Event {
	t.Helper()
	if err := a.PublishEvents(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	return events
}

func eventsOf(t testing.TB, a *store.Account, after int64) []domain.Event {
	t.Helper()
	return found(t, a, after, 1000, domain.EventFilter{})
}

// found returns the events that one look finds.
func found(t testing.TB, a *store.Account, after int64, limit int, filter domain.EventFilter) []domain.Event {
	t.Helper()
	events, _, err := a.Events(t.Context(), after, limit, filter)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// told returns the types and the data of events.
func told(events []domain.Event) (list []string) {
	for _, e := range events {
		list = append(list, e.Type.Name()+" "+string(e.Data))
	}
	return list
}

func TestEvents_PublishAndRead(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		one, two := domain.NewID(at(0)), domain.NewID(at(0))
		same(t, "at first", eventsOf(t, f.mine, 0), []domain.Event{})
		first := publishAll(t, f.mine, happened(one, domain.EventMessageSent), happened(two, domain.EventMessageRead),
			happened(domain.ID{}, domain.EventWebhookFailing), happened(one, domain.EventMessageRead))
		more := publishAll(t, f.mine, happened(two, domain.EventMessageSent), domain.Event{InstanceID: one, Type: domain.EventMessageSent, Data: []byte("{}")})
		publishAll(t, f.other, happened(f.otherRow.ID, domain.EventMessageSent))
		all := append(slices.Clone(first), more...)
		for i, e := range all {
			if e.Position != int64(i+1) || e.AccountID != f.account.ID || e.ID.IsZero() || e.At.IsZero() {
				t.Errorf("event %d is %+v", i, e)
			}
		}
		for i, want := range []int64{1, 1, 0, 2, 2, 3} {
			if all[i].Sequence != want {
				t.Errorf("event %d has the sequence %d, want %d", i, all[i].Sequence, want)
			}
		}
		same(t, "read back", eventsOf(t, f.mine, 0), all)
		same(t, "after the second", eventsOf(t, f.mine, 2), all[2:])
		same(t, "two of them", found(t, f.mine, 1, 2, domain.EventFilter{}), all[1:3])
		for name, filter := range map[string]domain.EventFilter{
			"types":              {Types: domain.EventMessageRead | domain.EventWebhookFailing},
			"an instance":        {Instances: []domain.ID{one}},
			"both":               {Types: domain.EventMessageSent, Instances: []domain.ID{one}},
			"instances":          {Instances: []domain.ID{two, one}},
			"another's instance": {Instances: []domain.ID{f.otherRow.ID}},
			"no instance":        {Instances: []domain.ID{}},
		} {
			want := []domain.Event{}
			for i := range all {
				if filter.Matches(&all[i]) {
					want = append(want, all[i])
				}
			}
			same(t, name, append([]domain.Event{}, found(t, f.mine, 0, 100, filter)...), want)
		}
		heads := must[map[domain.ID]int64](t)(f.EventHeads(ctx, []domain.ID{f.account.ID, f.otherAccount.ID, one}))
		same(t, "heads", heads, map[domain.ID]int64{f.account.ID: 6, f.otherAccount.ID: 1})
		nobody := must[*store.Account](t)(f.Account(domain.NewID(at(0))))
		wantCode(t, "no account", nobody.PublishEvents(ctx, []domain.Event{happened(one, domain.EventMessageSent)}), domain.CodeAccountNotFound)
		for _, bad := range []domain.Event{{Data: []byte("{}")}, {Type: 3, Data: []byte("{}")}, {Type: 1}, {Type: domain.EveryEvent + 1, Data: []byte("{}")}} {
			if err := f.mine.PublishEvents(ctx, []domain.Event{bad}); err == nil {
				t.Errorf("published %+v", bad)
			}
		}
	})
}

func TestEvents_Position(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		position := func(id domain.ID) int64 { t.Helper(); return must[int64](t)(f.mine.EventPosition(ctx, id)) }
		recent := domain.Event{InstanceID: domain.NewID(at(0)), Type: 1, Data: []byte("{}"), At: time.Now().Add(-24 * time.Hour)}
		list := publishAll(t, f.mine, recent, recent)
		theirs := publishAll(t, f.other, recent)
		if a, b := position(list[0].ID), position(list[1].ID); a != 1 || b != 2 {
			t.Errorf("events are at %d and %d", a, b)
		}
		for name, id := range map[string]domain.ID{
			"unknown": domain.NewID(time.Now()), "another's": theirs[0].ID, "from the future": {0xff, 0xff}, "an instance": f.otherRow.ID,
			"old": domain.NewID(time.Now().Add(-32 * 24 * time.Hour)),
		} {
			_, err := f.mine.EventPosition(ctx, id)
			wantCode(t, name, err, domain.CodeEventNotFound)
		}
	})
}

// Positions are dense, sequences have no gaps, and pages of any size find with any filter what it matches, in windows.
func TestEvents_Pages(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		f.LookThrough(4)
		rapid.Check(t, func(rt *rapid.T) {
			_, account := f.addAccount(t, "events")
			all := publishAny(t, rt, account)
			filter := anyFilter(rt, all)
			var want, got []domain.Event
			for i := range all {
				if filter.Matches(&all[i]) {
					want = append(want, all[i])
				}
			}
			limit, after := rapid.IntRange(1, 5).Draw(rt, "limit"), int64(0)
			for {
				page, seen, err := account.Events(t.Context(), after, limit, filter)
				if err != nil {
					rt.Fatal(err)
				}
				got = append(got, page...)
				if seen == (domain.EventPlace{}) {
					break
				}
				if seen.Position <= after || seen.ID != all[seen.Position-1].ID || len(page) > limit {
					rt.Fatalf("%d events behind %d, seen up to %+v", len(page), after, seen)
				}
				after = seen.Position
			}
			if same(t, "pages", got, want); after != int64(len(all)) {
				rt.Errorf("the last one seen is %d of %d", after, len(all))
			}
		})
	})
}

// A look goes through one window, which begins where the sweep has left something, and ends at an event that is there.
func TestEvents_Windows(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		f.LookThrough(4)
		one, two := domain.NewID(at(0)), domain.NewID(at(0))
		var all []domain.Event
		for range 10 {
			all = append(all, publishAll(t, f.mine, happened(one, domain.EventMessageSent), happened(two, domain.EventMessageRead))...)
		}
		gone := "DELETE FROM events WHERE position IN (1, 2, 3, 4, 5, 9)"
		if _, err := openSQL(t, f.Dialect(), f.place).ExecContext(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		none, some := domain.EventFilter{Types: domain.EventWebhookDisabled}, domain.EventFilter{Types: domain.EventMessageRead, Instances: []domain.ID{two}}
		ofOne := map[string]int64{"sqlite": 8, "postgres": 20}[f.Dialect()] // which PostgreSQL has an index for
		for _, look := range []struct {
			after, seen int64
			filter      domain.EventFilter
			limit       int
			found       []domain.Event
		}{
			{0, 8, none, 9, nil}, // of 6 to 9
			{5, 8, none, 9, nil},
			{8, 13, none, 9, nil},
			{17, 20, none, 9, nil},
			{20, 0, none, 9, nil},
			{0, 8, some, 9, []domain.Event{all[5], all[7]}},
			{0, 6, some, 1, all[5:6]},
			{0, ofOne, domain.EventFilter{Instances: []domain.ID{domain.NewID(at(0))}}, 9, nil},
			{0, 8, domain.EventFilter{Types: domain.EventMessageSent, Instances: []domain.ID{two}}, 9, nil},
			{0, 8, domain.EventFilter{Instances: []domain.ID{}}, 9, nil},
			{18, 20, domain.EventFilter{}, 9, all[18:]},
			{20, 0, domain.EventFilter{}, 9, nil},
		} {
			events, seen, err := f.mine.Events(t.Context(), look.after, look.limit, look.filter)
			if err != nil || seen.Position != look.seen || seen.Position > 0 && seen.ID != all[seen.Position-1].ID {
				t.Errorf("behind %d with %+v it has seen %+v, want %d: %v", look.after, look.filter, seen, look.seen, err)
			}
			same(t, "found", append([]domain.Event{}, events...), append([]domain.Event{}, look.found...))
		}
	})
}

// publishAny publishes events in batches and checks their numbers.
func publishAny(t *testing.T, rt *rapid.T, account *store.Account) (all []domain.Event) {
	instances := []domain.ID{{}, {15: 1}, {15: 2}, {15: 3}}
	last := map[domain.ID]int64{}
	for range rapid.IntRange(0, 6).Draw(rt, "batches") {
		batch := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) domain.Event {
			return domain.Event{
				InstanceID: rapid.SampledFrom(instances).Draw(rt, "instance"),
				Type:       1 << rapid.IntRange(0, 9).Draw(rt, "type"),
				At:         at(rapid.IntRange(0, 9).Draw(rt, "at")),
				Data:       rapid.SampledFrom([][]byte{[]byte("{}"), []byte("\x00\xff\u2028"), []byte(strings.Repeat("x", 3000))}).Draw(rt, "data"),
			}
		}), 1, 6).Draw(rt, "events")
		for _, e := range publishAll(t, account, batch...) {
			all = append(all, e)
			if !e.InstanceID.IsZero() {
				last[e.InstanceID]++
			}
			if e.Position != int64(len(all)) || e.Sequence != last[e.InstanceID] {
				rt.Errorf("event %d: %+v", len(all), e)
			}
		}
	}
	return all
}

func anyFilter(rt *rapid.T, all []domain.Event) domain.EventFilter {
	f := domain.EventFilter{Types: domain.EventSet(rapid.Uint32Range(0, uint32(domain.EveryEvent)).Draw(rt, "types"))}
	if rapid.Bool().Draw(rt, "all types") {
		f.Types = 0
	}
	if rapid.Bool().Draw(rt, "by instance") {
		f.Instances = []domain.ID{{15: 9}}
		for _, e := range all {
			if !e.InstanceID.IsZero() && rapid.Bool().Draw(rt, "this one") {
				f.Instances = append(f.Instances, e.InstanceID)
			}
		}
		f.Instances = f.Instances[rapid.IntRange(0, 1).Draw(rt, "from"):]
	}
	return f
}

// An event goes to every active webhook that wants it, once for each URL.
func TestEvents_FanOut(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		in := addInstance(t, f.mine, domain.Instance{
			Name: "in", WebhookURL: "https://own", WebhookEvents: domain.AllEvents, OwnWebhook: &domain.Webhook{ID: domain.ID{15: 1}, Secret: []byte("s")},
		})
		out := addInstance(t, f.mine, domain.Instance{
			Name: "out", WebhookURL: "https://all", WebhookEvents: domain.AllEvents, OwnWebhook: &domain.Webhook{ID: domain.ID{15: 2}, Secret: []byte("s")},
		})
		quiet := addInstance(t, f.mine, domain.Instance{Name: "quiet", WebhookURL: "https://quiet", OwnWebhook: &domain.Webhook{Secret: []byte("s")}})
		for _, w := range []domain.Webhook{
			{Name: "all", URL: "https://all", Events: domain.EveryEvent},
			{Name: "same", URL: "https://all", Events: domain.EventMessageRead},
			{Name: "sent", URL: "https://sent", Events: domain.EventMessageSent},
			{Name: "in", URL: "https://in", InstanceID: in.ID, Events: domain.EveryEvent},
			{Name: "off", URL: "https://off", Events: domain.EveryEvent, Status: domain.WebhookDisabled},
		} {
			w.Secret = []byte("sealed")
			if err := f.mine.CreateWebhook(t.Context(), &w); err != nil {
				t.Fatal(err)
			}
		}
		theirs := domain.Webhook{Name: "theirs", URL: "https://theirs", Events: domain.EveryEvent, Secret: []byte("s")}
		if err := f.other.CreateWebhook(t.Context(), &theirs); err != nil {
			t.Fatal(err)
		}
		got := map[string][]int64{}
		publishAll(t, f.mine, happened(in.ID, domain.EventMessageSent), happened(out.ID, domain.EventMessageRead))
		publishAll(t, f.mine, happened(domain.ID{}, domain.EventWebhookFailing), happened(quiet.ID, domain.EventMessageReceived))
		for _, lane := range claimLanes(t, f, domain.NewID(at(0)), 100) {
			for _, d := range due(t, f, lane.Key(), 100) {
				name := fmt.Sprint(lane.Webhook.Name, " ", lane.Webhook.URL)
				got[name] = append(got[name], d.Event.Position)
			}
		}
		all := "all https://all"
		if _, ok := got[all]; !ok { // either of two with that URL gets the second one
			t.Error("nothing for the first webhook")
		}
		second := slices.Contains(got["same https://all"], 2)
		want := map[string][]int64{" https://own": {1}, all: {1, 2, 3, 4}, "sent https://sent": {1}, "in https://in": {1}}
		if second {
			want[all], want["same https://all"] = []int64{1, 3, 4}, []int64{2}
		}
		same(t, "deliveries", got, want)
	})
}
