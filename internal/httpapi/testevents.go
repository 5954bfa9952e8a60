package httpapi

import (
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// testEvent makes an event of the type with data.test set, as the documentation shows it.
func testEvent(w *domain.Webhook, kind domain.EventSet, now time.Time) *domain.Event {
	e := &domain.Event{AccountID: w.AccountID, InstanceID: w.InstanceID, ID: domain.NewID(now), Type: kind, At: now.UTC().Truncate(time.Millisecond)}
	id := `"inst_00000000000000000000000000"`
	if !w.InstanceID.IsZero() {
		id = `"` + w.InstanceID.Prefixed(domain.PrefixInstance) + `"`
	}
	switch kind {
	case domain.EventInstanceConnected:
		e.Data = []byte(`{"instanceId":` + id + `,"name":"Test","phone":"5511999999999","profileName":"Test","test":true}`)
	case domain.EventInstanceDisconnected:
		e.Data = []byte(`{"instanceId":` + id + `,"name":"Test","status":"disconnected","reason":{"code":"connection_lost","message":"The connection to WhatsApp was lost.","action":"Nothing needs to be done: this is a test."},"test":true}`)
	case domain.EventInstanceQRUpdated:
		e.Data = []byte(`{"instanceId":` + id + `,"qrCode":null,"qrText":"test","pairingCode":null,"expiresAt":"` + domain.FormatTime(now) + `","test":true}`)
	case domain.EventWebhookFailing, domain.EventWebhookDisabled:
		e.InstanceID = domain.ID{}
		e.Data = []byte(`{"webhookId":"` + w.ID.Prefixed(domain.PrefixWebhook) + `","failingSince":"` + domain.FormatTime(now) + `","reason":"failing","test":true}`)
	case domain.EventMessageReceived:
		e.Data = []byte(`{"messageId":"msg_test","instanceId":` + id + `,"from":"5511999999999","type":"text","content":"A test message from Pombal","test":true}`)
	default:
		e.Data = []byte(`{"messageId":"msg_test","instanceId":` + id + `,"to":"5511999999999","status":"` + kind.Name()[len("message."):] + `","test":true}`)
	}
	return e
}
