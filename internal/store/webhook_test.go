package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

func TestWebhooks_CreateReadDelete(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		in := addInstance(t, f.mine, domain.Instance{Name: "in"})
		w := domain.Webhook{
			Name: "Main", URL: "https://a.example/x", InstanceID: in.ID, Events: domain.EventMessageSent, Timeout: 7 * time.Second,
			Secret: []byte("sealed"), CreatedAt: at(0), OfInstance: true, // which nobody can ask for
		}
		if err := f.mine.CreateWebhook(ctx, &w); err != nil {
			t.Fatal(err)
		}
		if w.AccountID != f.account.ID || w.OfInstance || w.Version != 1 || w.Status != domain.WebhookActive || !w.UpdatedAt.Equal(stored(0)) {
			t.Errorf("created %+v", w)
		}
		same(t, "read back", must[domain.Webhook](t)(f.mine.Webhook(ctx, w.ID)), w)
		again := domain.Webhook{ID: w.ID, URL: "https://b", Secret: []byte("other")}
		if err := f.mine.CreateWebhook(ctx, &again); err != nil {
			t.Fatal(err)
		}
		w.Secret = []byte("other") // nobody has seen the first one
		same(t, "created again", again, w)
		same(t, "read back", must[domain.Webhook](t)(f.mine.Webhook(ctx, w.ID)), w)
		theirs := addHook(t, f.other, "https://theirs")
		second := addHook(t, f.mine, "https://b")
		list, info, err := f.mine.Webhooks(ctx, domain.PageRequest{Limit: 1})
		if err != nil || info.Total != 2 || !info.HasMore {
			t.Errorf("%+v, %v", info, err)
		}
		same(t, "a page", list, []domain.Webhook{w})
		for name, id := range map[string]domain.ID{"unknown": domain.NewID(at(0)), "another's": theirs.ID} {
			_, err := f.mine.Webhook(ctx, id)
			wantCode(t, name, err, domain.CodeWebhookNotFound)
			wantCode(t, name, f.mine.DeleteWebhook(ctx, id), domain.CodeWebhookNotFound)
			_, err = f.mine.UpdateWebhook(ctx, id, domain.WebhookPatch{Name: new("x")}, 0, at(1))
			wantCode(t, name, err, domain.CodeWebhookNotFound)
			_, err = f.mine.RotateWebhookSecret(ctx, id, domain.SecretRotation{Secret: []byte("x")})
			wantCode(t, name, err, domain.CodeWebhookNotFound)
			wantCode(t, name, f.DisableWebhook(ctx, domain.DisableWebhook{Lane: domain.LaneKey{Account: f.account.ID, Webhook: id}}), domain.CodeWebhookNotFound)
		}
		for name, id := range map[string]domain.ID{"unknown": domain.NewID(at(0)), "another's": f.otherRow.ID} {
			bad := domain.Webhook{URL: "https://x", InstanceID: id, Secret: []byte("s")}
			wantCode(t, name, f.mine.CreateWebhook(ctx, &bad), domain.CodeInstanceNotFound)
			_, err := f.mine.UpdateWebhook(ctx, w.ID, domain.WebhookPatch{InstanceID: &id}, 0, at(1))
			wantCode(t, name, err, domain.CodeInstanceNotFound)
		}
		nobody := must[*store.Account](t)(f.Account(domain.NewID(at(0))))
		wantCode(t, "no account", nobody.CreateWebhook(ctx, &domain.Webhook{Secret: []byte("s")}), domain.CodeAccountNotFound)
		wantCode(t, "no account", nobody.DeleteWebhook(ctx, w.ID), domain.CodeWebhookNotFound)
		wantCode(t, "a bad name", f.mine.CreateWebhook(ctx, &domain.Webhook{Name: "\x00"}), domain.CodeInvalidParameters)
		if err := f.mine.DeleteWebhook(ctx, second.ID); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "twice", f.mine.DeleteWebhook(ctx, second.ID), domain.CodeWebhookNotFound)
		same(t, "the other's", must[domain.Webhook](t)(f.other.Webhook(ctx, theirs.ID)), theirs)
	})
}

func TestWebhooks_Limit(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		addInstance(t, f.mine, domain.Instance{Name: "x", WebhookURL: "https://own", OwnWebhook: &domain.Webhook{Secret: []byte("s")}})
		var creators sync.WaitGroup
		var mu sync.Mutex
		refused := 0
		for i := range domain.MaxWebhooks + 5 {
			creators.Go(func() {
				w := domain.Webhook{URL: fmt.Sprint("https://", i), Secret: []byte("s")}
				if err := f.mine.CreateWebhook(t.Context(), &w); err != nil {
					wantCode(t, "one more", err, domain.CodeWebhookLimitReached)
					mu.Lock()
					refused++
					mu.Unlock()
				}
			})
		}
		creators.Wait()
		list, _, err := f.mine.Webhooks(t.Context(), domain.PageRequest{Limit: 100})
		if err != nil || refused != 5 || len(list) != domain.MaxWebhooks+1 {
			t.Errorf("%d refused, there are %d, %v", refused, len(list), err)
		}
		again := domain.Webhook{ID: list[1].ID, URL: "https://again", Secret: []byte("s")}
		if err := f.mine.CreateWebhook(t.Context(), &again); err != nil || again.URL == "https://again" {
			t.Errorf("created again: %+v, %v", again, err)
		}
	})
}

func TestWebhooks_Update(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		in := addInstance(t, f.mine, domain.Instance{Name: "in"})
		w := addHook(t, f.mine, "https://a")
		update := func(what string, patch domain.WebhookPatch, ifVersion int64) {
			t.Helper()
			got := must[domain.Webhook](t)(f.mine.UpdateWebhook(ctx, w.ID, patch, ifVersion, at(9)))
			same(t, what, got, w)
			same(t, what+", read back", must[domain.Webhook](t)(f.mine.Webhook(ctx, w.ID)), w)
		}
		update("nothing", domain.WebhookPatch{}, 0)
		update("what is so", domain.WebhookPatch{URL: &w.URL, Name: &w.Name, Status: &w.Status, Events: &w.Events}, 1)
		w.Name, w.URL, w.InstanceID, w.Events, w.Timeout = "", "https://b", in.ID, domain.EventMessageRead, 30*time.Second
		w.Version, w.UpdatedAt = 2, stored(9)
		update("all", domain.WebhookPatch{Name: new(""), URL: &w.URL, InstanceID: &w.InstanceID, Events: &w.Events, Timeout: &w.Timeout}, 1)
		_, err := f.mine.UpdateWebhook(ctx, w.ID, domain.WebhookPatch{Name: new("x")}, 1, at(9))
		wantCode(t, "an old version", err, domain.CodePreconditionFailed)
		_, err = f.mine.UpdateWebhook(ctx, w.ID, domain.WebhookPatch{URL: new("\xff")}, 0, at(9))
		wantCode(t, "not text", err, domain.CodeInvalidParameters)
		w.InstanceID, w.Version = domain.ID{}, 3
		update("of all instances", domain.WebhookPatch{InstanceID: new(domain.ID)}, 2)

		w.PreviousSecret, w.PreviousSecretExpiresAt, w.Secret, w.Version = w.Secret, stored(100), []byte("new"), 4
		rotate := domain.SecretRotation{Secret: w.Secret, Until: at(100), At: at(9)}
		same(t, "rotated", must[domain.Webhook](t)(f.mine.RotateWebhookSecret(ctx, w.ID, rotate)), w)
		same(t, "read back", must[domain.Webhook](t)(f.mine.Webhook(ctx, w.ID)), w)
		w.PreviousSecret, w.PreviousSecretExpiresAt, w.Secret, w.Version = nil, time.Time{}, []byte("newer"), 5
		rotate = domain.SecretRotation{Secret: w.Secret, Until: at(9), At: at(9)}
		same(t, "without overlap", must[domain.Webhook](t)(f.mine.RotateWebhookSecret(ctx, w.ID, rotate)), w)
		same(t, "read back", must[domain.Webhook](t)(f.mine.Webhook(ctx, w.ID)), w)
	})
}

// A rotation that is repeated, as nobody saw its secret, replaces that one. Another one goes on from there.
func TestWebhooks_RotateAgain(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		w := addHook(t, f.mine, "https://a")
		one, two := domain.NewID(at(0)), domain.NewID(at(0))
		for i, r := range []struct {
			request          domain.ID
			until            int
			secret, previous string
			end              time.Time
		}{
			{one, 100, "b", "sealed", stored(100)},
			{one, 200, "c", "sealed", stored(100)},
			{two, 300, "d", "c", stored(300)},
			{two, 9, "e", "", time.Time{}},
			{domain.ID{}, 400, "f", "e", stored(400)},
			{domain.ID{}, 500, "g", "f", stored(500)},
		} {
			rotate := domain.SecretRotation{Request: r.request, Secret: []byte(r.secret), Until: at(r.until), At: at(9)}
			got := must[domain.Webhook](t)(f.mine.RotateWebhookSecret(t.Context(), w.ID, rotate))
			if string(got.Secret) != r.secret || string(got.PreviousSecret) != r.previous || !got.PreviousSecretExpiresAt.Equal(r.end) {
				t.Errorf("rotation %d: %+v", i, got)
			}
			same(t, "read back", must[domain.Webhook](t)(f.mine.Webhook(t.Context(), w.ID)), got)
		}
	})
}

// Another receiver has not failed, and is not made to wait.
func TestWebhooks_AnotherReceiver(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx, worker := t.Context(), domain.NewID(at(0))
		w := addHook(t, f.mine, "https://a")
		fail := func() domain.FailingWebhook {
			t.Helper()
			lanes := claimLanes(t, f, worker, 1)
			if len(lanes) != 1 {
				t.Fatal("it has to wait")
			}
			lane := lanes[0].Key()
			list := due(t, f, lane, 1)
			pause := domain.LaneUpdate{Lane: lane, Failures: 7, PausedUntil: time.Now().Add(time.Hour), Release: true}
			settle(t, f, []domain.Outcome{failed(lane, list[0], time.Now().Add(-time.Second))}, pause)
			failing := must[[]domain.FailingWebhook](t)(f.FailingWebhooks(ctx, time.Now(), 2, 10))
			if len(failing) != 1 {
				t.Fatalf("failing are %+v", failing)
			}
			return failing[0]
		}
		update := func(patch domain.WebhookPatch) domain.Webhook {
			t.Helper()
			got := must[domain.Webhook](t)(f.mine.UpdateWebhook(ctx, w.ID, patch, 0, at(9)))
			same(t, "read back", must[domain.Webhook](t)(f.mine.Webhook(ctx, w.ID)), got)
			return got
		}
		publishAll(t, f.mine, happened(domain.ID{15: 1}, 1))
		if err := f.WarnWebhook(ctx, fail(), at(5)); err != nil {
			t.Fatal(err)
		}
		if got := update(domain.WebhookPatch{Name: new("another name"), URL: &w.URL}); got.FailingSince.IsZero() {
			t.Error("another name makes it well")
		}
		if lanes := claimLanes(t, f, worker, 1); len(lanes) != 0 {
			t.Errorf("another name ends the pause: %+v", lanes)
		}
		if got := update(domain.WebhookPatch{URL: new("https://b")}); !got.FailingSince.IsZero() {
			t.Errorf("it is failing since %v", got.FailingSince)
		}
		if again := fail(); again.Warnings != 0 {
			t.Errorf("%d warnings of the new receiver", again.Warnings)
		}
		update(domain.WebhookPatch{URL: new("https://c")})
		if lanes := claimLanes(t, f, worker, 1); len(lanes) != 1 || lanes[0].Failures != 0 || !lanes[0].Webhook.FailingSince.IsZero() {
			t.Errorf("claimed: %+v", lanes)
		}
		if got := update(domain.WebhookPatch{URL: new("https://d"), Status: new(domain.WebhookDisabled)}); got.Status != domain.WebhookDisabled {
			t.Errorf("disabled: %+v", got)
		}
		update(domain.WebhookPatch{URL: new("https://e")})
		if lanes := claimLanes(t, f, worker, 1); len(lanes) != 0 {
			t.Errorf("a disabled one is to be tried: %+v", lanes)
		}
	})
}

// What changes where or how events go takes the webhook from its worker: what that one has been trying counts for nothing.
func TestWebhooks_ChangesTakeTheLane(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx, worker := t.Context(), domain.NewID(at(0))
		w := addHook(t, f.mine, "https://a")
		publishAll(t, f.mine, happened(domain.ID{15: 1}, 1))
		update := func(patch domain.WebhookPatch) error {
			_, err := f.mine.UpdateWebhook(ctx, w.ID, patch, 0, at(9))
			return err
		}
		for name, change := range map[string]func() error{
			"another URL":  func() error { return update(domain.WebhookPatch{URL: new("https://b")}) },
			"active again": func() error { return update(domain.WebhookPatch{Status: new(domain.WebhookActive)}) },
			"another secret": func() error {
				_, err := f.mine.RotateWebhookSecret(ctx, w.ID, domain.SecretRotation{Secret: []byte("new"), At: at(9), Until: at(9)})
				return err
			},
		} {
			lane := claimLanes(t, f, worker, 1)[0].Key()
			list := due(t, f, lane, 1)
			long := failed(lane, list[0], time.Now().Add(-time.Second))
			long.Attempt.At = time.Now().Add(-6 * 24 * time.Hour)
			settle(t, f, []domain.Outcome{long})
			if err := change(); err != nil {
				t.Fatal(err)
			}
			before := must[domain.Webhook](t)(f.mine.Webhook(ctx, w.ID))
			pause := domain.LaneUpdate{Lane: lane, Failures: 14, PausedUntil: time.Now().Add(time.Hour), Release: true}
			if lost := settle(t, f, []domain.Outcome{long}, pause); len(lost) != 1 {
				t.Errorf("%s: the worker still has the lane", name)
			}
			err := f.DisableWebhook(ctx, domain.DisableWebhook{Lane: lane, Reason: domain.DisabledByFailing, At: time.Now()})
			if !errors.Is(err, domain.ErrLeaseLost) {
				t.Errorf("%s: the worker disables it: %v", name, err)
			}
			same(t, name, must[domain.Webhook](t)(f.mine.Webhook(ctx, w.ID)), before)
			lanes := claimLanes(t, f, worker, 1)
			if len(lanes) != 1 || len(due(t, f, lanes[0].Key(), 10)) != 1 {
				t.Fatalf("%s: nobody can go on: %+v", name, lanes)
			}
			settle(t, f, nil, domain.LaneUpdate{Lane: lanes[0].Key(), Release: true})
		}
	})
}

// A disabled webhook gets nothing, not even what waited; an active one again what comes from then on.
func TestWebhooks_DisableAndEnable(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx, worker := t.Context(), domain.NewID(at(0))
		w, loud := addHook(t, f.mine, "https://a"), addHook(t, f.mine, "https://loud")
		publishAll(t, f.mine, happened(domain.ID{15: 1}, 1), happened(domain.ID{15: 1}, 1))
		lanes := claimLanes(t, f, worker, 10)
		lane := lanes[0].Key()
		if lanes[0].Webhook.ID != w.ID {
			lane = lanes[1].Key()
		}
		list := due(t, f, lane, 10)
		settle(t, f, []domain.Outcome{failed(lane, list[0], time.Now().Add(time.Hour))})
		failing := must[[]domain.FailingWebhook](t)(f.FailingWebhooks(ctx, time.Now(), 2, 10))
		if len(failing) != 1 || failing[0].ID != w.ID {
			t.Fatalf("failing are %+v", failing)
		}
		for range 2 { // the second time it is known
			if err := f.WarnWebhook(ctx, failing[0], at(5)); err != nil {
				t.Fatal(err)
			}
		}
		n := wantEvents(t, f, "warned", 2, `webhook.failing {"webhookId":"wh","url":"https://a","failingSince":"2026-05-04T03:02:02.123Z","reason":"failing"}`)
		disable := domain.DisableWebhook{Lane: lane, Reason: domain.DisabledByGone, At: at(6)}
		disable.Lane.Epoch++
		if err := f.DisableWebhook(ctx, disable); !errors.Is(err, domain.ErrLeaseLost) {
			t.Errorf("disabled by a stranger: %v", err)
		}
		disable.Lane.Epoch--
		if err := f.DisableWebhook(ctx, disable); err != nil {
			t.Fatal(err)
		}
		if err := f.DisableWebhook(ctx, disable); !errors.Is(err, domain.ErrLeaseLost) {
			t.Errorf("disabled twice: %v", err)
		}
		n = wantEvents(t, f, "disabled", n, `webhook.disabled {"webhookId":"wh","url":"https://a","failingSince":"2026-05-04T03:02:02.123Z","reason":"gone"}`)
		got := must[domain.Webhook](t)(f.mine.Webhook(ctx, w.ID))
		if got.Status != domain.WebhookDisabled || got.DisabledReason != domain.DisabledByGone || got.Version != 2 || got.FailingSince.IsZero() {
			t.Errorf("disabled: %+v", got)
		}
		if lost := settle(t, f, []domain.Outcome{delivered(lane, list[1])}); len(lost) != 1 {
			t.Error("its worker still has it")
		}
		if len(due(t, f, lane, 10)) != 0 {
			t.Error("something waits in it")
		}
		publishAll(t, f.mine, happened(domain.ID{15: 1}, 1))
		got = must[domain.Webhook](t)(f.mine.UpdateWebhook(ctx, w.ID, domain.WebhookPatch{Status: new(domain.WebhookActive)}, 0, at(7)))
		if got.Status != domain.WebhookActive || got.DisabledReason != "" || got.Version != 3 || !got.FailingSince.IsZero() {
			t.Errorf("enabled: %+v", got)
		}
		if lanes = claimLanes(t, f, worker, 10); len(lanes) != 0 {
			t.Errorf("something waits for an enabled webhook: %+v", lanes)
		}
		publishAll(t, f.mine, happened(domain.ID{15: 1}, 1))
		lanes = claimLanes(t, f, worker, 10)
		if len(lanes) != 1 || lanes[0].Webhook.ID != w.ID {
			t.Fatalf("claimed: %+v", lanes)
		}
		if list = due(t, f, lanes[0].Key(), 10); len(list) != 1 || list[0].Event.Position != n+2 {
			t.Errorf("due: %+v", list)
		}
		got = must[domain.Webhook](t)(f.mine.UpdateWebhook(ctx, w.ID, domain.WebhookPatch{Status: new(domain.WebhookDisabled)}, 0, at(8)))
		if got.DisabledReason != domain.DisabledByOwner || len(due(t, f, lanes[0].Key(), 10)) != 0 {
			t.Errorf("disabled by its owner: %+v", got)
		}
		wantEvents(t, f, "its owner knows", n+2)
		if loud = must[domain.Webhook](t)(f.mine.Webhook(ctx, loud.ID)); loud.Version != 1 {
			t.Errorf("the other one is %+v", loud)
		}
	})
}

// What happens while a webhook is disabled is in its log, and is replayed when its owner asks for it. With the same URL as an
// active one it gets nothing, as before.
func TestWebhooks_WhatIsMissed(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx, worker, begun := t.Context(), domain.NewID(at(0)), time.Now().Add(-time.Minute)
		w, twin := addHook(t, f.mine, "https://a"), addHook(t, f.mine, "https://twin")
		addHook(t, f.mine, "https://twin")
		status := func(id domain.ID, status domain.WebhookStatus) {
			t.Helper()
			must[domain.Webhook](t)(f.mine.UpdateWebhook(ctx, id, domain.WebhookPatch{Status: &status}, 0, at(9)))
		}
		log := func(id domain.ID) []domain.Delivery {
			t.Helper()
			list, _, err := f.mine.Deliveries(ctx, id, domain.PageRequest{Limit: 10}, domain.DeliveryFilter{})
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		status(w.ID, domain.WebhookDisabled)
		status(twin.ID, domain.WebhookDisabled)
		publishAll(t, f.mine, happened(domain.ID{15: 1}, 1), happened(domain.ID{15: 1}, 2))
		missed := log(w.ID)
		if len(missed) != 2 {
			t.Fatalf("its log has %+v", missed)
		}
		for _, d := range missed {
			if d.State != domain.DeliveryExhausted || d.Last.Failure != domain.FailureDisabled || d.Attempts != 0 || !d.NextAt.IsZero() {
				t.Errorf("missed is %+v", d)
			}
		}
		if list := log(twin.ID); len(list) != 0 {
			t.Errorf("one with the URL of an active one has %+v", list)
		}
		if lanes := claimLanes(t, f, worker, 10); len(lanes) != 1 || lanes[0].Webhook.URL != twin.URL {
			t.Errorf("claimed: %+v", lanes)
		}
		status(w.ID, domain.WebhookActive)
		if n, err := f.mine.ReplayFailed(ctx, w.ID, begun); n != 2 || err != nil {
			t.Errorf("replayed %d, %v", n, err)
		}
		lanes := claimLanes(t, f, worker, 10)
		if len(lanes) != 1 || lanes[0].Webhook.ID != w.ID {
			t.Fatalf("claimed: %+v", lanes)
		}
		if list := due(t, f, lanes[0].Key(), 10); len(list) != 2 || !list[0].Manual || list[0].ID != missed[1].ID {
			t.Errorf("due: %+v", list)
		}
	})
}

// The webhook of an instance follows it.
func TestWebhooks_OfInstances(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		own := func(id domain.ID) *domain.Webhook { return &domain.Webhook{ID: id, Secret: []byte("s")} }
		list := func() []domain.Webhook {
			t.Helper()
			list, _, err := f.mine.Webhooks(ctx, domain.PageRequest{Limit: 10})
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		first, second := domain.NewID(at(0)), domain.NewID(at(0))
		in := domain.Instance{Name: "a", WebhookURL: "https://a", WebhookEvents: domain.EventMessageSent, OwnWebhook: own(first)}
		in = addInstance(t, f.mine, in)
		same(t, "the instance", must[domain.Instance](t)(f.mine.Instance(ctx, in.ID)), in)
		w := must[domain.Webhook](t)(f.mine.Webhook(ctx, first))
		if !w.OfInstance || w.InstanceID != in.ID || w.URL != "https://a" || w.Events != domain.EventMessageSent || w.Version != 1 || w.Timeout != domain.MinWebhookTimeout {
			t.Errorf("made: %+v", w)
		}
		again := domain.Instance{ID: in.ID, Name: "again", WebhookURL: "https://b", OwnWebhook: own(second)}
		if err := f.mine.CreateInstance(ctx, &again, 0); err != nil {
			t.Fatal(err)
		}
		same(t, "created again", list(), []domain.Webhook{w})
		patch := func(p domain.InstancePatch) {
			t.Helper()
			got := must[domain.Instance](t)(f.mine.UpdateInstance(ctx, in.ID, p, 0, at(5)))
			same(t, "as returned", must[domain.Instance](t)(f.mine.Instance(ctx, in.ID)), got)
		}
		patch(domain.InstancePatch{Name: new("b"), OwnWebhook: own(second)})
		patch(domain.InstancePatch{WebhookURL: new("https://a"), OwnWebhook: own(second)})
		same(t, "no change of it", list(), []domain.Webhook{w})
		publishAll(t, f.mine, happened(in.ID, domain.EventMessageSent))
		lane := claimLanes(t, f, domain.NewID(at(0)), 1)[0].Key()
		if err := f.DisableWebhook(ctx, domain.DisableWebhook{Lane: lane, Reason: domain.DisabledByFailing, At: at(4)}); err != nil {
			t.Fatal(err)
		}
		patch(domain.InstancePatch{WebhookURL: new("https://b"), WebhookEvents: new(domain.EventSet(0)), OwnWebhook: own(second)})
		w.URL, w.Events, w.Version, w.UpdatedAt = "https://b", 0, 3, stored(5)
		same(t, "another receiver", list(), []domain.Webhook{w})
		for name, p := range map[string]domain.WebhookPatch{"url": {URL: new("https://x")}, "events": {Events: new(domain.AllEvents)}, "instance": {InstanceID: new(domain.ID)}} {
			_, err := f.mine.UpdateWebhook(ctx, w.ID, p, 0, at(6))
			wantCode(t, name, err, domain.CodeWebhookOfInstance)
		}
		wantCode(t, "delete", f.mine.DeleteWebhook(ctx, w.ID), domain.CodeWebhookOfInstance)
		if _, err := f.mine.UpdateWebhook(ctx, w.ID, domain.WebhookPatch{Status: new(domain.WebhookDisabled)}, 0, at(6)); err != nil {
			t.Error(err)
		}
		patch(domain.InstancePatch{WebhookURL: new("https://c")})
		if w = list()[0]; w.URL != "https://c" || w.Status != domain.WebhookDisabled {
			t.Errorf("its owner disabled it: %+v", w)
		}
		patch(domain.InstancePatch{WebhookURL: new("")})
		same(t, "cleared", list(), []domain.Webhook{})
		patch(domain.InstancePatch{WebhookURL: new("https://d")})
		same(t, "nothing prepared", list(), []domain.Webhook{})
		patch(domain.InstancePatch{WebhookEvents: new(domain.AllEvents), OwnWebhook: own(second)})
		if w = list()[0]; w.ID != second || w.URL != "https://d" || w.Events != domain.AllEvents || !w.OfInstance {
			t.Errorf("made later: %+v", w)
		}
		if _, err := f.mine.DeleteInstance(ctx, in.ID, 0); err != nil {
			t.Fatal(err)
		}
		same(t, "deleted with the instance", list(), []domain.Webhook{})
	})
}

func TestInboundWebhooks(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		in := addInstance(t, f.mine, domain.Instance{Name: "in"})
		w := domain.InboundWebhook{InstanceID: in.ID, Name: "Zapier", TokenDigest: []byte("digest"), LastFour: "1234", CreatedAt: at(0)}
		if err := f.mine.CreateInboundWebhook(ctx, &w); err != nil {
			t.Fatal(err)
		}
		again := domain.InboundWebhook{ID: w.ID, InstanceID: in.ID, Name: "x", TokenDigest: []byte("digest 2"), LastFour: "5678"}
		if err := f.mine.CreateInboundWebhook(ctx, &again); err != nil {
			t.Fatal(err)
		}
		w.TokenDigest, w.LastFour, w.CreatedAt = []byte("digest 2"), "5678", stored(0)
		same(t, "created again", again, w)
		theirs := domain.InboundWebhook{InstanceID: f.otherRow.ID, Name: "theirs", TokenDigest: []byte("digest 3")}
		if err := f.other.CreateInboundWebhook(ctx, &theirs); err != nil {
			t.Fatal(err)
		}
		list, info, err := f.mine.InboundWebhooks(ctx, domain.PageRequest{Limit: 10})
		if err != nil || info.Total != 1 {
			t.Errorf("%+v, %v", info, err)
		}
		same(t, "the list", list, []domain.InboundWebhook{w})
		for _, id := range []domain.ID{domain.NewID(at(0)), f.otherRow.ID} {
			bad := domain.InboundWebhook{InstanceID: id, TokenDigest: []byte("x")}
			wantCode(t, "another's instance", f.mine.CreateInboundWebhook(ctx, &bad), domain.CodeInstanceNotFound)
		}
		for _, id := range []domain.ID{domain.NewID(at(0)), theirs.ID} {
			wantCode(t, "delete", f.mine.DeleteInboundWebhook(ctx, id), domain.CodeWebhookNotFound)
		}
		if err := f.mine.DeleteInboundWebhook(ctx, w.ID); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "twice", f.mine.DeleteInboundWebhook(ctx, w.ID), domain.CodeWebhookNotFound)
		if list, _, _ = f.other.InboundWebhooks(ctx, domain.PageRequest{Limit: 10}); len(list) != 1 {
			t.Error("the other's is gone")
		}
	})
}
