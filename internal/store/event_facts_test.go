package store_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

// holding is an instance that a node holds.
type holding struct {
	node  domain.ID
	lease domain.Lease
}

func hold(t testing.TB, f *fixture) holding {
	t.Helper()
	wanted(t, f, f.account, f.mine)
	node := join(t, f, "holder")
	return holding{node.ID, claimLinks(t, f, node, 1)[0].Lease}
}

// learn records a fact.
func (h holding) learn(t testing.TB, f *fixture, fact domain.LinkFact) {
	t.Helper()
	fact.Lease = h.lease
	if lost := must[[]domain.Lease](t)(f.SaveLinkFacts(t.Context(), h.node, []domain.LinkFact{fact})); len(lost) != 0 {
		t.Fatal("the lease is lost")
	}
}

func status(s domain.Status, reason domain.ReasonCode, seconds int) domain.InstanceState {
	return domain.InstanceState{Status: &s, Reason: &reason, At: at(seconds)}
}

// wantEvents compares the types and the data of the events after a position, and returns the last one's.
func wantEvents(t testing.TB, f *fixture, what string, after int64, want ...string) int64 {
	t.Helper()
	events := eventsOf(t, f.mine, after)
	got := told(events)
	for i := range got { // ids are not for people
		for prefix := range strings.SplitSeq(got[i], `"`) {
			if strings.HasPrefix(prefix, "inst_") || strings.HasPrefix(prefix, "wh_") {
				got[i] = strings.ReplaceAll(got[i], prefix, prefix[:strings.Index(prefix, "_")])
			}
		}
	}
	same(t, what, got, want)
	for _, e := range events {
		var data map[string]any
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Error(what, err)
		}
	}
	return after + int64(len(events))
}

func TestEvents_OfConnections(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		h := hold(t, f)
		n := wantEvents(t, f, "at first", 0)
		h.learn(t, f, domain.LinkFact{State: status(domain.StatusConnecting, "", 1)})
		n = wantEvents(t, f, "connecting", n)
		code := &domain.LinkCode{Method: domain.PairByQR, Text: "2@<a>\u2028", ExpiresAt: at(60)}
		h.learn(t, f, domain.LinkFact{Code: code})
		n = wantEvents(t, f, "a code", n,
			`instance.qr_updated {"instanceId":"inst","qrCode":"data:2@<a>`+"\u2028"+`","qrText":"2@<a>`+"\u2028"+`","pairingCode":null,"expiresAt":"2026-05-04T03:03:01.123Z"}`)
		h.learn(t, f, domain.LinkFact{Code: code})
		h.learn(t, f, domain.LinkFact{Code: &domain.LinkCode{Method: domain.PairByQR, Text: code.Text, ExpiresAt: at(70)}})
		h.learn(t, f, domain.LinkFact{Code: &domain.LinkCode{Method: domain.PairByCode, Text: "ABCD-EFGH"}}) // of another wish
		n = wantEvents(t, f, "no new code", n)
		up := status(domain.StatusConnected, "", 2)
		up.Phone, up.ProfileName = new("5511"), new(`"Ana"`)
		h.learn(t, f, domain.LinkFact{State: up, Code: &domain.LinkCode{}, JID: new("jid")})
		n = wantEvents(t, f, "connected", n, `instance.connected {"instanceId":"inst","name":"wanted","phone":"5511","profileName":"\"Ana\""}`)
		if e := eventsOf(t, f.mine, n-1)[0]; !e.At.Equal(stored(2)) || e.InstanceID != h.lease.Instance || e.Sequence != 2 {
			t.Errorf("it is %+v", e)
		}
		h.learn(t, f, domain.LinkFact{State: up})
		h.learn(t, f, domain.LinkFact{State: domain.InstanceState{LastSeenAt: at(3)}})
		n = wantEvents(t, f, "no change", n)
		h.learn(t, f, domain.LinkFact{State: status(domain.StatusConnecting, domain.ReasonConnectionLost, 4)})
		lost := `{"code":"connection_lost","message":"The connection to WhatsApp was lost.","action":"Nothing needs to be done: the connection is tried again by itself."}`
		n = wantEvents(t, f, "lost", n, `instance.disconnected {"instanceId":"inst","name":"wanted","status":"connecting","reason":`+lost+`}`)
		h.learn(t, f, domain.LinkFact{State: status(domain.StatusDisconnected, "", 5)})
		n = wantEvents(t, f, "given up", n, `instance.disconnected {"instanceId":"inst","name":"wanted","status":"disconnected","reason":null}`)
		if err := f.WishConnected(t.Context(), f.account.ID, h.lease.Instance, domain.PairingWish{Method: domain.PairByCode, Phone: "55"}); err != nil {
			t.Fatal(err)
		}
		h.learn(t, f, domain.LinkFact{Code: &domain.LinkCode{Method: domain.PairByCode, Text: "ABCD-EFGH"}})
		wantEvents(t, f, "a pairing code", n,
			`instance.qr_updated {"instanceId":"inst","qrCode":null,"qrText":null,"pairingCode":"ABCD-EFGH","expiresAt":null}`)
	})
}

// Whoever loses an instance that was not disconnected learns of it, however it is removed.
func TestEvents_OfRemovals(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx, n := t.Context(), int64(0)
		gone := `instance.disconnected {"instanceId":"inst","name":"wanted","status":"disconnected","reason":{"code":"disconnected_by_user",` +
			`"message":"The instance was disconnected through the API.","action":"Connect the instance and scan the QR code with the phone."}}`
		for name, remove := range map[string]func(holding) error{
			"by its node": func(h holding) error { return f.RemoveLink(ctx, h.node, h.lease) },
			"by force":    func(h holding) error { return f.RemoveInstance(ctx, h.lease.Account, h.lease.Instance) },
			"at once": func(h holding) error {
				h.learn(t, f, domain.LinkFact{Seq: 1, Ended: true, Release: true}) // nobody wants it connected any more
				removed, err := f.WishRemoved(ctx, h.lease.Account, h.lease.Instance, 0)
				if !removed {
					t.Error("it is still there")
				}
				return err
			},
		} {
			for _, state := range domain.Statuses() {
				h := hold(t, f)
				h.learn(t, f, domain.LinkFact{State: status(state, "", 1)})
				n += int64(len(eventsOf(t, f.mine, n)))
				w := domain.Webhook{URL: "https://x", InstanceID: h.lease.Instance, Events: domain.AllEvents, Secret: []byte("s")}
				if err := f.mine.CreateWebhook(ctx, &w); err != nil {
					t.Fatal(err)
				}
				if err := remove(h); err != nil {
					t.Fatal(name, err)
				}
				if state == domain.StatusDisconnected {
					n = wantEvents(t, f, name, n)
				} else {
					n = wantEvents(t, f, name, n, gone)
				}
				_, err := f.mine.Webhook(ctx, w.ID)
				wantCode(t, "its webhook", err, domain.CodeWebhookNotFound)
			}
		}
	})
}

// The sweep removes what is old with all that hangs on it, but nothing that waits to be delivered, and not the latest
// event of an account: who has seen that goes on behind it, however long nothing happens.
func TestEvents_Sweep(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		hook, deleted, off := addHook(t, f.mine, "https://a"), addHook(t, f.mine, "https://b"), addHook(t, f.mine, "https://c")
		old := domain.Event{InstanceID: domain.NewID(at(0)), Type: 1, Data: []byte("{}"), At: time.Now().Add(-31 * 24 * time.Hour)}
		list := make([]domain.Event, 250)
		for i := range list {
			list[i] = old
		}
		published := publishAll(t, f.mine, list...)
		quiet := publishAll(t, f.other, old, old)[1:]
		fresh := publishAll(t, f.mine, domain.Event{InstanceID: old.InstanceID, Type: 1, Data: []byte("{}")}, domain.Event{Type: domain.EventWebhookFailing, Data: []byte("{}")})
		if err := f.mine.DeleteWebhook(ctx, deleted.ID); err != nil {
			t.Fatal(err)
		}
		// Half of it is delivered.
		for _, lane := range claimLanes(t, f, domain.NewID(at(0)), 10) {
			if lane.Webhook.ID != hook.ID {
				continue
			}
			for _, d := range due(t, f, lane.Key(), 1000) {
				if d.Event.Position%2 == 0 {
					settle(t, f, []domain.Outcome{delivered(lane.Key(), d)})
				}
			}
		}
		if _, err := f.mine.UpdateWebhook(ctx, off.ID, domain.WebhookPatch{Status: new(domain.WebhookDisabled)}, 0, at(1)); err != nil {
			t.Fatal(err)
		}
		if n := must[int](t)(f.Sweep(ctx)); n != 125+1 {
			t.Errorf("%d events are swept", n)
		}
		same(t, "what stays", len(eventsOf(t, f.mine, 0)), 127)
		same(t, "the other's", eventsOf(t, f.other, 0), quiet)
		same(t, "where that is", must[int64](t)(f.other.EventPosition(ctx, quiet[0].ID)), quiet[0].Position)
		same(t, "the latest", eventsOf(t, f.mine, 250), fresh)
		_, err := f.mine.EventPosition(ctx, published[1].ID) // which was delivered
		wantCode(t, "what is gone", err, domain.CodeEventNotFound)
		if err := f.mine.DeleteWebhook(ctx, hook.ID); err != nil {
			t.Fatal(err)
		}
		if n := must[int](t)(f.Sweep(ctx)); n != 125 {
			t.Errorf("%d more events are swept", n)
		}
		// Those of the two latest events stay, three each.
		same(t, "what is left of deliveries", countRows(t, f, "deliveries"), 2*3)
		same(t, "and of attempts", countRows(t, f, "delivery_attempts"), 0)
		publishAll(t, f.other, domain.Event{Type: 1, Data: []byte("{}")})
		same(t, "the other's former latest", must[int](t)(f.Sweep(ctx)), 1)
		news := found(t, f.mine, 0, 10, domain.EventFilter{Types: domain.EventWebhookFailing})
		same(t, "found behind what is gone", news, fresh[1:])
	})
}

// countRows returns how many rows a table has.
func countRows(t testing.TB, f *fixture, table string) (n int) {
	t.Helper()
	if err := openSQL(t, f.Dialect(), f.place).QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func addHook(t testing.TB, a *store.Account, url string) domain.Webhook {
	t.Helper()
	w := domain.Webhook{Name: "hook", URL: url, Events: domain.EveryEvent, Secret: []byte("sealed")}
	if err := a.CreateWebhook(t.Context(), &w); err != nil {
		t.Fatal(err)
	}
	return w
}
