package store_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

func TestLane_ClaimRenewAndGiveBack(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		a, b := domain.NewID(at(0)), domain.NewID(at(0))
		if wait := must[time.Duration](t)(f.NextDue(ctx, time.Minute)); wait != time.Minute {
			t.Errorf("nothing is due in %v", wait)
		}
		idle, busy := f.addWebhook(t, f.account.ID), f.addWebhook(t, f.account.ID)
		f.publish(t, f.account.ID, busy, 1, past(3)...)
		if wait := must[time.Duration](t)(f.NextDue(ctx, time.Minute)); wait != 0 {
			t.Errorf("due in %v", wait)
		}
		lanes := claimLanes(t, f, a, 10)
		if len(lanes) != 1 || lanes[0].Webhook.ID != busy || lanes[0].Epoch != 1 || lanes[0].Webhook.ID == idle {
			t.Fatalf("a claims %+v", lanes)
		}
		lane := lanes[0].Key()
		same(t, "the webhook", lanes[0].Webhook, domain.Webhook{
			AccountID: f.account.ID, ID: busy, Name: "hook", URL: "https://example.com/", Events: 255, Timeout: 5 * time.Second,
			Status: domain.WebhookActive, Secret: []byte("sealed"), CreatedAt: stored(0), UpdatedAt: stored(0), Version: 1,
		})
		if got := claimLanes(t, f, b, 10); len(got) != 0 {
			t.Errorf("b claims what is held: %+v", got)
		}
		same(t, "a's lanes", must[[]domain.Lane](t)(f.RenewLanes(ctx, a, 10*time.Second)), lanes)
		if wait := must[time.Duration](t)(f.NextDue(ctx, time.Minute)); wait < 8*time.Second || wait > 10*time.Second+5*time.Millisecond { // the database rounds
			t.Errorf("the lease ends in %v", wait)
		}
		deliveries := due(t, f, lane, 2)
		rest := due(t, f, lane, 10, deliveries[0].ID, deliveries[1].ID)
		if len(deliveries) != 2 || len(rest) != 1 || rest[0].Event.Position != 3 || deliveries[1].Event.Position != 2 {
			t.Fatalf("due are %+v, then %+v", deliveries, rest)
		}
		retry := time.Now().Add(20 * time.Second)
		lost := settle(t, f, []domain.Outcome{delivered(lane, deliveries[0]), failed(lane, deliveries[1], retry), delivered(lane, rest[0])},
			domain.LaneUpdate{Lane: lane, Release: true})
		if len(lost) != 0 {
			t.Errorf("lost %v", lost)
		}
		if got := claimLanes(t, f, b, 10); len(got) != 0 {
			t.Errorf("b claims what is not due: %+v", got)
		}
		if wait := must[time.Duration](t)(f.NextDue(ctx, time.Minute)); wait < 18*time.Second || wait > 20*time.Second {
			t.Errorf("the retry is due in %v", wait)
		}
	})
}

// Workers that claim, settle and give back at once never share a lane, and leave none behind.
func TestLane_ClaimsAtOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		const lanes, events = 40, 3
		for i := range lanes {
			account := []domain.ID{f.account.ID, f.otherAccount.ID}[i%2]
			f.publish(t, account, f.addWebhook(t, account), int64(1+i*events), past(events)...)
		}
		var mu sync.Mutex
		holders, delivered := map[domain.ID]domain.ID{}, 0
		var workers sync.WaitGroup
		for range 5 {
			worker := domain.NewID(at(0))
			workers.Go(func() {
				for done := false; !done; {
					claimed, err := f.ClaimLanes(t.Context(), worker, 4, time.Minute)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, l := range claimed {
						if holder, taken := holders[l.Webhook.ID]; taken {
							t.Errorf("%v is held by %v and %v", l.Webhook.ID, holder, worker)
						}
						holders[l.Webhook.ID] = worker
					}
					mu.Unlock()
					for _, l := range claimed {
						n := f.deliverOne(t, l.Key(), func() {
							mu.Lock()
							defer mu.Unlock()
							delete(holders, l.Webhook.ID)
						})
						mu.Lock()
						delivered += n
						mu.Unlock()
					}
					mu.Lock()
					done = delivered == lanes*events || t.Failed()
					mu.Unlock()
				}
			})
		}
		workers.Wait()
		if got := claimLanes(t, f, domain.NewID(at(0)), lanes); len(got) != 0 {
			t.Errorf("still due: %+v", got)
		}
	})
}

// deliverOne delivers one delivery of a lane, if one is due, and gives the lane back after leave was called.
func (f *fixture) deliverOne(t testing.TB, lane domain.LaneKey, leave func()) int {
	due, err := f.DueDeliveries(t.Context(), []domain.LaneDemand{{Lane: lane, Limit: 1}})
	if err != nil {
		t.Error(err)
	}
	var outcomes []domain.Outcome
	for _, d := range due {
		outcomes = append(outcomes, delivered(lane, d))
	}
	leave()
	lost, err := f.Settle(t.Context(), outcomes, []domain.LaneUpdate{{Lane: lane, Release: true}})
	if err != nil || len(lost) > 0 {
		t.Errorf("lost %v, %v", lost, err)
	}
	return len(due)
}

// What a worker held comes back when its lease is over, and what it settles from then on comes too late.
func TestLane_KilledWorker(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		webhook := f.addWebhook(t, f.account.ID)
		ids := f.publish(t, f.account.ID, webhook, 1, past(2)...)
		killed, heir := domain.NewID(at(0)), domain.NewID(at(0))
		old := must[[]domain.Lane](t)(f.ClaimLanes(ctx, killed, 1, -time.Second))[0].Key()
		list := due(t, f, old, 2)
		// It is over, but nobody has noticed yet.
		if lost := settle(t, f, []domain.Outcome{delivered(old, list[0])}); len(lost) != 0 {
			t.Errorf("lost %v", lost)
		}
		lanes := claimLanes(t, f, heir, 1)
		if len(lanes) != 1 || lanes[0].Epoch != old.Epoch+1 {
			t.Fatalf("the heir claims %+v", lanes)
		}
		again := due(t, f, lanes[0].Key(), 2)
		if len(again) != 1 || again[0].ID != ids[1] {
			t.Errorf("due again: %+v", again)
		}
		lost := settle(t, f, []domain.Outcome{delivered(old, list[1]), failed(old, list[1], at(0))}, domain.LaneUpdate{Lane: old, Release: true, Failures: 3})
		same(t, "lost", lost, []domain.LaneKey{old})
		if got := must[[]domain.Lane](t)(f.RenewLanes(ctx, killed, time.Minute)); len(got) != 0 {
			t.Errorf("the dead hold %+v", got)
		}
		d, attempts, err := f.mine.Delivery(ctx, webhook, ids[1])
		if err != nil || d.State != domain.DeliveryWaiting || len(attempts) != 0 {
			t.Errorf("written too late: %+v, %+v, %v", d, attempts, err)
		}
		if got := must[[]domain.Lane](t)(f.RenewLanes(ctx, heir, time.Minute)); len(got) != 1 || got[0].Failures != 0 {
			t.Errorf("the heir holds %+v", got)
		}
	})
}

// To settle twice, or what is gone, changes nothing.
func TestSettle_Twice(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		webhook := f.addWebhook(t, f.account.ID)
		ids := f.publish(t, f.account.ID, webhook, 1, past(2)...)
		lane := claimLanes(t, f, domain.NewID(at(0)), 1)[0].Key()
		list := due(t, f, lane, 2)
		long := failed(lane, list[1], time.Now().Add(time.Hour))
		long.Attempt.Response = make([]byte, domain.MaxAttemptResponse+1)
		batch := []domain.Outcome{delivered(lane, list[0]), long, delivered(lane, domain.Delivery{ID: domain.NewID(at(0))}), long}
		settle(t, f, batch)
		elsewhere := delivered(lane, list[1])
		elsewhere.Attempt.Number = 3
		settle(t, f, append(batch, elsewhere))
		for i, want := range []domain.Delivery{
			{State: domain.DeliveryDelivered, Attempts: 1}, {State: domain.DeliveryWaiting, Attempts: 1, Step: 1},
		} {
			d, attempts, err := f.mine.Delivery(t.Context(), webhook, ids[i])
			if err != nil || d.State != want.State || d.Attempts != 1 || d.Step != want.Step || len(attempts) != 1 ||
				len(attempts[0].Response) > domain.MaxAttemptResponse {
				t.Errorf("%d: %+v, %d attempts, %v", i, d, len(attempts), err)
			}
		}
		if got := must[[]domain.FailingWebhook](t)(f.FailingWebhooks(t.Context(), at(10), 1, 10)); len(got) != 1 {
			t.Errorf("failing are %+v: to settle a success once more has no effect", got)
		}
	})
}

// A lane with a huge backlog goes behind the others whenever it is given back.
func TestLane_Fairness(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		const backlog = 10_000
		worker := domain.NewID(at(0))
		huge := f.addWebhook(t, f.account.ID)
		f.publish(t, f.account.ID, huge, 1, past(backlog)...)
		for i := range 3 {
			account := []domain.ID{f.account.ID, f.otherAccount.ID}[i%2]
			f.publish(t, account, f.addWebhook(t, account), int64(1+backlog+i), time.Now().Add(-time.Second))
		}
		seen := map[domain.ID]bool{}
		for range 4 {
			lanes := claimLanes(t, f, worker, 1)
			if len(lanes) != 1 || seen[lanes[0].Webhook.ID] {
				t.Fatalf("claimed %+v after %v", lanes, seen)
			}
			seen[lanes[0].Webhook.ID] = true
			f.deliverOne(t, lanes[0].Key(), func() {})
		}
		if lanes := claimLanes(t, f, worker, 10); len(lanes) != 1 || lanes[0].Webhook.ID != huge {
			t.Errorf("in the end: %+v", lanes)
		}
	})
}

func TestLane_PausedOrDisabled(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		worker := domain.NewID(at(0))
		webhook := f.addWebhook(t, f.account.ID)
		f.publish(t, f.account.ID, webhook, 1, past(2)...)
		lane := claimLanes(t, f, worker, 1)[0].Key()
		settle(t, f, nil, domain.LaneUpdate{Lane: lane, Failures: 10, PausedUntil: time.Now().Add(10 * time.Second), Release: true})
		if got := claimLanes(t, f, worker, 1); len(got) != 0 {
			t.Errorf("claimed in a pause: %+v", got)
		}
		// Something new comes in the pause.
		execSQL(t, f, []string{`UPDATE webhook_lanes SET due_at = ` + f.sqlTime(time.Now().Add(-time.Second))})
		if got := claimLanes(t, f, worker, 1); len(got) != 0 {
			t.Errorf("claimed in a pause: %+v", got)
		}
		if wait := must[time.Duration](t)(f.NextDue(ctx, time.Minute)); wait < 8*time.Second || wait > 10*time.Second+5*time.Millisecond { // the database rounds
			t.Errorf("the pause ends in %v", wait)
		}
		execSQL(t, f, []string{`UPDATE webhook_lanes SET paused_until = ` + f.sqlTime(time.Now().Add(-time.Second))})
		lanes := claimLanes(t, f, worker, 1)
		if len(lanes) != 1 || lanes[0].Failures != 10 {
			t.Fatalf("claimed after the pause: %+v", lanes)
		}
		execSQL(t, f, []string{`UPDATE webhooks SET status = 'disabled', disabled_reason = 'gone'`})
		held := must[[]domain.Lane](t)(f.RenewLanes(ctx, worker, time.Minute))
		if len(held) != 1 || held[0].Webhook.Status != domain.WebhookDisabled || held[0].Webhook.DisabledReason != domain.DisabledByGone {
			t.Errorf("held: %+v", held)
		}
		settle(t, f, nil, domain.LaneUpdate{Lane: lanes[0].Key(), Release: true})
		if wait := must[time.Duration](t)(f.NextDue(ctx, time.Minute)); wait != time.Minute {
			t.Errorf("a disabled webhook is due in %v", wait)
		}
		execSQL(t, f, []string{`UPDATE webhook_lanes SET due_at = ` + f.sqlTime(at(0))})
		if got := claimLanes(t, f, worker, 1); len(got) != 0 {
			t.Errorf("claimed although disabled: %+v", got)
		}
		if wait := must[time.Duration](t)(f.NextDue(ctx, time.Minute)); wait != time.Minute {
			t.Errorf("a disabled webhook is due in %v", wait)
		}
	})
}

// A webhook fails since the first failure after its last success.
func TestSettle_FailingSince(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		webhook := f.addWebhook(t, f.account.ID)
		f.publish(t, f.account.ID, webhook, 1, past(9)...)
		lane := claimLanes(t, f, domain.NewID(at(0)), 1)[0].Key()
		list := due(t, f, lane, 9)
		outcome := func(i int, ok bool) domain.Outcome {
			o := delivered(lane, list[i])
			if !ok {
				o = failed(lane, list[i], time.Time{})
			}
			o.Attempt.At = at(i)
			return o
		}
		next := 0
		for _, step := range []struct {
			batch string // + for a success
			since int    // of which outcome; -1 for none
		}{{"+", -1}, {"--", 1}, {"-", 1}, {"-+-", 6}, {"+", -1}, {"-", 8}} {
			var batch []domain.Outcome
			for _, c := range step.batch {
				batch = append(batch, outcome(next, c == '+'))
				next++
			}
			settle(t, f, batch)
			want := []domain.FailingWebhook{{AccountID: f.account.ID, ID: webhook, Since: stored(step.since)}}
			if step.since < 0 {
				want = nil
			}
			got := must[[]domain.FailingWebhook](t)(f.FailingWebhooks(ctx, at(100), 1, 10))
			same(t, "failing after "+step.batch, got, want)
		}
		for name, got := range map[string][]domain.FailingWebhook{
			"since later": must[[]domain.FailingWebhook](t)(f.FailingWebhooks(ctx, at(7), 1, 10)),
			"warned":      must[[]domain.FailingWebhook](t)(f.FailingWebhooks(ctx, at(100), 0, 10)),
		} {
			if len(got) != 0 {
				t.Errorf("%s: %+v", name, got)
			}
		}
	})
}

// Keys lead nowhere under another account, or in another lane.
func TestLane_Tenancy(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		mine, theirs := f.addWebhook(t, f.account.ID), f.addWebhook(t, f.otherAccount.ID)
		ids := f.publish(t, f.account.ID, mine, 1, past(1)...)
		f.publish(t, f.otherAccount.ID, theirs, 1, past(1)...)
		keys := map[domain.ID]domain.LaneKey{}
		for _, l := range claimLanes(t, f, domain.NewID(at(0)), 2) {
			keys[l.Webhook.ID] = l.Key()
		}
		crossed := domain.LaneKey{Account: f.otherAccount.ID, Webhook: mine, Epoch: 1}
		if got := due(t, f, crossed, 10); len(got) != 0 {
			t.Errorf("due under another account: %+v", got)
		}
		mineDue := due(t, f, keys[mine], 10)
		lost := settle(t, f, []domain.Outcome{delivered(crossed, mineDue[0]), delivered(keys[theirs], mineDue[0])},
			domain.LaneUpdate{Lane: crossed, Release: true})
		same(t, "lost", lost, []domain.LaneKey{crossed})
		d, attempts, err := f.mine.Delivery(t.Context(), mine, ids[0])
		if err != nil || d.State != domain.DeliveryWaiting || len(attempts) != 0 {
			t.Errorf("settled by another: %+v, %+v, %v", d, attempts, err)
		}
	})
}

// Deliveries of new events, of which each webhook has some that wait, some that are planned, and some that were settled.
func TestLane_NewDeliveries(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		one, two := addHook(t, f.mine, "https://a").ID, addHook(t, f.mine, "https://b").ID
		for range 6 {
			publishAll(t, f.mine, happened(domain.ID{}, domain.EventMessageReceived))
		}
		lanes := map[domain.ID]domain.LaneKey{}
		for _, l := range claimLanes(t, f, domain.NewID(at(0)), 10) {
			lanes[l.Webhook.ID] = l.Key()
		}
		for _, hook := range []domain.ID{one, two} {
			lane := lanes[hook]
			all := due(t, f, lane, 10)
			rest := due(t, f, lane, 2, all[0].ID, all[3].ID)
			if len(all) != 6 || len(rest) != 2 || rest[0].ID != all[1].ID || rest[1].ID != all[2].ID || all[5].NextAt.IsZero() {
				t.Fatalf("due are %+v, then %+v", all, rest)
			}
			settle(t, f, []domain.Outcome{
				delivered(lane, all[0]), failed(lane, all[1], time.Now().Add(time.Hour)), failed(lane, all[2], time.Time{}), failed(lane, all[3], at(5)),
			}, domain.LaneUpdate{Lane: lane, Release: true})
			same(t, "the log", pagedLog(t, f, hook, domain.DeliveryFilter{}), []int64{6, 5, 4, 3, 2, 1})
			same(t, "what waits", pagedLog(t, f, hook, domain.DeliveryFilter{State: domain.DeliveryWaiting}), []int64{6, 5, 4, 2})
			same(t, "what failed", pagedLog(t, f, hook, domain.DeliveryFilter{Failed: true}), []int64{4, 3, 2})
			same(t, "what was delivered", pagedLog(t, f, hook, domain.DeliveryFilter{State: domain.DeliveryDelivered}), []int64{1})
			same(t, "of an event", pagedLog(t, f, hook, domain.DeliveryFilter{EventID: all[4].Event.ID}), []int64{5})
			if wait := must[time.Duration](t)(f.NextDue(ctx, time.Minute)); wait != 0 {
				t.Errorf("the next is due in %v", wait)
			}
		}
		again := claimLanes(t, f, domain.NewID(at(0)), 10)
		if len(again) != 2 {
			t.Fatalf("claimed again: %+v", again)
		}
		for i := range again {
			var positions []int64
			for _, d := range due(t, f, again[i].Key(), 10) { // the one that was planned waits longest
				positions = append(positions, d.Event.Position)
			}
			same(t, "due again", positions, []int64{4, 5, 6})
		}
		if _, err := f.mine.UpdateWebhook(ctx, one, domain.WebhookPatch{Status: new(domain.WebhookDisabled)}, 0, at(9)); err != nil {
			t.Fatal(err)
		}
		same(t, "exhausted", pagedLog(t, f, one, domain.DeliveryFilter{State: domain.DeliveryExhausted}), []int64{6, 5, 4, 3, 2})
		same(t, "of the other", pagedLog(t, f, two, domain.DeliveryFilter{State: domain.DeliveryExhausted}), []int64{3})
	})
}

// pagedLog reads a log by pages of two.
func pagedLog(t testing.TB, f *fixture, webhook domain.ID, filter domain.DeliveryFilter) (positions []int64) {
	t.Helper()
	page := domain.PageRequest{Limit: 2}
	for {
		some, info := logged(t, f.mine, webhook, page, filter)
		positions = append(positions, some...)
		if !info.HasMore {
			return positions
		}
		page.After = &info.Last
	}
}

// The clock of the database decides when something is due: a node's own, which is wrong here, only says how long to wait.
func TestSettle_ByTheClockOfTheDatabase(t *testing.T) {
	t.Parallel()
	f := newFixture(t, store.DialectPostgres)
	const ahead = 20 * time.Second
	execSQL(t, f, []string{
		`CREATE SCHEMA clock`,
		`CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$ SELECT pg_catalog.clock_timestamp() + interval '20 s' $$`,
	})
	separator := "?"
	if strings.Contains(f.place, "?") {
		separator = "&"
	}
	wrong := must[*store.Store](t)(store.Open(t.Context(), store.Config{URL: f.place + separator + "search_path=clock,public,pg_catalog"}))
	defer func() { _ = wrong.Close() }()
	webhook := f.addWebhook(t, f.account.ID)
	f.publish(t, f.account.ID, webhook, 1, past(1)...)
	lane := claimLanes(t, f, domain.NewID(at(0)), 10)[0].Key()
	first := due(t, f, lane, 1)[0]
	begun := time.Now()
	must[[]domain.LaneKey](t)(wrong.Settle(t.Context(), []domain.Outcome{failed(lane, first, begun.Add(30*time.Second))},
		[]domain.LaneUpdate{{Lane: lane, Failures: 12, PausedUntil: begun.Add(time.Minute), Release: true}}))
	for column, wait := range map[string]time.Duration{
		`SELECT next_at FROM deliveries`:         30 * time.Second,
		`SELECT paused_until FROM webhook_lanes`: time.Minute,
		`SELECT due_at FROM webhook_lanes`:       time.Minute,
	} {
		var at time.Time
		if err := openSQL(t, f.Dialect(), f.place).QueryRowContext(t.Context(), column).Scan(&at); err != nil {
			t.Fatal(err)
		}
		if early := begun.Add(ahead + wait).Sub(at); early > time.Millisecond || early < -10*time.Second {
			t.Errorf("%s is %v, %v early", column, at, early)
		}
	}
}
