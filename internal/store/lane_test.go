package store_test

import (
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
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
		if wait := must[time.Duration](t)(f.NextDue(ctx, time.Minute)); wait < 8*time.Second || wait > 10*time.Second {
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
