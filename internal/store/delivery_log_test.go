package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

// logged returns the positions of the events in a page of a log.
func logged(t testing.TB, a *store.Account, webhook domain.ID, p domain.PageRequest, filter domain.DeliveryFilter) (positions []int64, info domain.PageInfo) {
	t.Helper()
	list, info, err := a.Deliveries(t.Context(), webhook, p, filter)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		if d.Event.Type != domain.EventMessageReceived || d.Event.ID.IsZero() {
			t.Errorf("a delivery of the event %+v", d.Event)
		}
		positions = append(positions, d.Event.Position)
	}
	return positions, info
}

// loggedHook has 5 deliveries: delivered, waiting after a failure, exhausted, and two that were never tried.
func loggedHook(t testing.TB, f *fixture) (webhook domain.ID, deliveries []domain.ID) {
	t.Helper()
	webhook = f.addWebhook(t, f.account.ID)
	deliveries = f.publish(t, f.account.ID, webhook, 1, past(5)...)
	lane := claimLanes(t, f, domain.NewID(at(0)), 10)[0].Key()
	list := due(t, f, lane, 3)
	settle(t, f, []domain.Outcome{
		delivered(lane, list[0]), failed(lane, list[1], time.Now().Add(time.Hour)), failed(lane, list[2], time.Time{}),
	}, domain.LaneUpdate{Lane: lane, Release: true})
	return webhook, deliveries
}

func TestDeliveries_PagesAndFilters(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		webhook, ids := loggedHook(t, f)
		second := f.addWebhook(t, f.account.ID)
		f.publish(t, f.account.ID, second, 6, past(1)...)
		var got []int64
		page := domain.PageRequest{Limit: 2}
		for {
			positions, info := logged(t, f.mine, webhook, page, domain.DeliveryFilter{})
			got = append(got, positions...)
			if !info.HasMore {
				break
			}
			page.After = &info.Last
		}
		same(t, "the log", got, []int64{5, 4, 3, 2, 1})
		first, _, err := f.mine.Delivery(t.Context(), webhook, ids[0])
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			filter domain.DeliveryFilter
			want   []int64
		}{
			"failed":       {domain.DeliveryFilter{Failed: true}, []int64{3, 2}},
			"succeeded":    {domain.DeliveryFilter{Succeeded: true}, []int64{1}},
			"waiting":      {domain.DeliveryFilter{State: domain.DeliveryWaiting}, []int64{5, 4, 2}},
			"exhausted":    {domain.DeliveryFilter{State: domain.DeliveryExhausted, Failed: true}, []int64{3}},
			"an event":     {domain.DeliveryFilter{EventID: first.Event.ID}, []int64{1}},
			"nobody's":     {domain.DeliveryFilter{EventID: domain.NewID(at(0))}, nil},
			"contradicted": {domain.DeliveryFilter{Failed: true, Succeeded: true}, nil},
		} {
			if got, info := logged(t, f.mine, webhook, domain.PageRequest{Limit: 100}, c.filter); !slices.Equal(got, c.want) || info.HasMore {
				t.Errorf("%s: got %v, want %v", name, got, c.want)
			}
		}
	})
}

func TestDeliveries_OneWithItsAttempts(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		webhook, ids := loggedHook(t, f)
		d, attempts, err := f.mine.Delivery(t.Context(), webhook, ids[2])
		if err != nil {
			t.Fatal(err)
		}
		want := domain.Attempt{
			Number: 1, At: stored(1), Took: 20 * time.Millisecond, StatusCode: 500, Failure: domain.FailureStatus, Response: []byte("ok"),
		}
		same(t, "the attempts", attempts, []domain.Attempt{want})
		same(t, "the last one", d.Last, want)
		if d.State != domain.DeliveryExhausted || d.Attempts != 1 || !d.NextAt.IsZero() || string(d.Event.Data) != "{}" || d.Event.Position != 3 {
			t.Errorf("the delivery %+v", d)
		}
	})
}

// Nobody sees, or replays, what another account's webhooks were sent.
func TestDeliveries_Tenancy(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		webhook, ids := loggedHook(t, f)
		own := f.addWebhook(t, f.otherAccount.ID)
		for name, c := range map[string]struct {
			account *store.Account
			webhook domain.ID
			code    domain.Code
		}{
			"another's webhook": {f.other, webhook, domain.CodeWebhookNotFound},
			"no webhook":        {f.mine, domain.NewID(at(0)), domain.CodeWebhookNotFound},
			"an own one":        {f.other, own, domain.CodeDeliveryNotFound},
		} {
			_, _, err := c.account.Delivery(ctx, c.webhook, ids[2])
			wantCode(t, "to read one of "+name, err, c.code)
			wantCode(t, "to replay one of "+name, c.account.Replay(ctx, c.webhook, ids[2]), c.code)
			if c.code == domain.CodeDeliveryNotFound {
				continue
			}
			_, _, err = c.account.Deliveries(ctx, c.webhook, domain.PageRequest{Limit: 1}, domain.DeliveryFilter{})
			wantCode(t, "to list those of "+name, err, c.code)
			_, err = c.account.ReplayFailed(ctx, c.webhook, time.Time{})
			wantCode(t, "to replay those of "+name, err, c.code)
		}
		if got, _ := logged(t, f.mine, webhook, domain.PageRequest{Limit: 9}, domain.DeliveryFilter{State: domain.DeliveryExhausted}); len(got) != 1 {
			t.Errorf("exhausted are %v", got)
		}
	})
}

func TestReplay_One(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		webhook, ids := loggedHook(t, f)
		// What was never tried is out of the way.
		lane := claimLanes(t, f, domain.NewID(at(0)), 10)[0].Key()
		var outcomes []domain.Outcome
		for _, d := range due(t, f, lane, 10) {
			outcomes = append(outcomes, delivered(lane, d))
		}
		settle(t, f, outcomes, domain.LaneUpdate{Lane: lane, Release: true})
		if got := claimLanes(t, f, domain.NewID(at(0)), 10); len(got) != 0 {
			t.Fatalf("still due: %+v", got)
		}
		for i := range 3 { // delivered, waiting, exhausted
			if err := f.mine.Replay(ctx, webhook, ids[i]); err != nil {
				t.Fatal(err)
			}
			lane := claimLanes(t, f, domain.NewID(at(0)), 10)[0].Key()
			list := due(t, f, lane, 10)
			if len(list) != 1 || list[0].ID != ids[i] || list[0].Step != 0 || !list[0].Manual || list[0].Attempts != 1 {
				t.Fatalf("due after a replay of %d: %+v", i, list)
			}
			settle(t, f, []domain.Outcome{delivered(lane, list[0])}, domain.LaneUpdate{Lane: lane, Release: true})
			d, attempts, err := f.mine.Delivery(ctx, webhook, ids[i])
			if err != nil || d.State != domain.DeliveryDelivered || d.Manual || len(attempts) != 2 || !attempts[1].Manual {
				t.Errorf("replayed: %+v, %+v, %v", d, attempts, err)
			}
		}
	})
}

// The log knows that a webhook is left alone, and whoever replays something ends that. What waits for its replay already is
// not counted as replayed again.
func TestReplay_EndsThePause(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx, worker := t.Context(), domain.NewID(at(0))
		webhook := f.addWebhook(t, f.account.ID)
		f.publish(t, f.account.ID, webhook, 1, past(2)...)
		pause := time.Now().Add(time.Hour).Truncate(time.Millisecond)
		trip := func() {
			t.Helper()
			lanes := claimLanes(t, f, worker, 10)
			if len(lanes) != 1 {
				t.Fatal("it has to wait")
			}
			lane := lanes[0].Key()
			first := due(t, f, lane, 1)[0]
			settle(t, f, []domain.Outcome{failed(lane, first, time.Now().Add(time.Minute))},
				domain.LaneUpdate{Lane: lane, Failures: 12, PausedUntil: pause, Release: true})
		}
		trip()
		list, _, err := f.mine.Deliveries(ctx, webhook, domain.PageRequest{Limit: 10}, domain.DeliveryFilter{})
		if err != nil || len(list) != 2 {
			t.Fatal(list, err)
		}
		one, _, err := f.mine.Delivery(ctx, webhook, list[0].ID)
		for _, d := range append(list, one) {
			if late := d.NextAt.Sub(pause); err != nil || late < 0 || late > time.Minute { // than by the test's own clock
				t.Errorf("next at %v, %v, want %v", d.NextAt, err, pause)
			}
		}
		if err := f.mine.Replay(ctx, webhook, list[0].ID); err != nil {
			t.Fatal(err)
		}
		trip()
		for _, want := range []int{2, 0} {
			if n, err := f.mine.ReplayFailed(ctx, webhook, time.Time{}); n != want || err != nil {
				t.Errorf("replayed %d, %v, want %d", n, err, want)
			}
		}
		if lanes := claimLanes(t, f, worker, 10); len(lanes) != 1 || lanes[0].Failures != 12 || len(due(t, f, lanes[0].Key(), 10)) != 2 {
			t.Errorf("claimed: %+v", lanes)
		}
	})
}

func TestReplay_Disabled(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		webhook, ids := loggedHook(t, f)
		execSQL(t, f, []string{`UPDATE webhooks SET status = 'disabled', disabled_reason = 'gone'`})
		wantCode(t, "to replay one", f.mine.Replay(t.Context(), webhook, ids[2]), domain.CodeWebhookDisabled)
		_, err := f.mine.ReplayFailed(t.Context(), webhook, time.Time{})
		wantCode(t, "to replay all", err, domain.CodeWebhookDisabled)
	})
}

// A replay of what is being tried is not swallowed by that attempt, unless it succeeds.
func TestReplay_DuringAnAttempt(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		webhook := f.addWebhook(t, f.account.ID)
		f.publish(t, f.account.ID, webhook, 1, past(2)...)
		lane := claimLanes(t, f, domain.NewID(at(0)), 10)[0].Key()
		list := due(t, f, lane, 10)
		for _, d := range list {
			if err := f.mine.Replay(t.Context(), webhook, d.ID); err != nil {
				t.Fatal(err)
			}
		}
		settle(t, f, []domain.Outcome{failed(lane, list[0], time.Time{}), delivered(lane, list[1])})
		again := due(t, f, lane, 10)
		if len(again) != 1 || again[0].ID != list[0].ID || again[0].Attempts != 1 || again[0].Step != 0 || !again[0].Manual {
			t.Errorf("due again: %+v", again)
		}
	})
}

func TestReplay_AllFailed(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		const n = 1203 // several batches
		webhook := f.addWebhook(t, f.account.ID)
		f.publish(t, f.account.ID, webhook, 1, past(n)...)
		lane := claimLanes(t, f, domain.NewID(at(0)), 10)[0].Key()
		for {
			list := due(t, f, lane, 500)
			if len(list) == 0 {
				break
			}
			var outcomes []domain.Outcome
			for i, d := range list {
				outcomes = append(outcomes, failed(lane, d, []time.Time{{}, time.Now().Add(time.Hour)}[i%2]))
				if d.Event.Position%100 == 0 {
					outcomes[i] = delivered(lane, d)
				}
			}
			settle(t, f, outcomes)
		}
		settle(t, f, nil, domain.LaneUpdate{Lane: lane, Release: true})
		// Deliveries were created one each second.
		if got := must[int](t)(f.mine.ReplayFailed(ctx, webhook, at(n-10))); got != 9 {
			t.Errorf("replayed %d", got)
		}
		if got := must[int](t)(f.mine.ReplayFailed(ctx, webhook, time.Time{})); got != n-12-9 {
			t.Errorf("replayed %d", got)
		}
		again := claimLanes(t, f, domain.NewID(at(0)), 10)
		if len(again) != 1 {
			t.Fatal("nothing is due")
		}
		list := due(t, f, again[0].Key(), 2*n)
		if len(list) != n-12 || slices.ContainsFunc(list, func(d domain.Delivery) bool { return !d.Manual || d.Step != 0 }) {
			t.Errorf("%d are due again", len(list))
		}
	})
}
