package httpapi

import (
	"cmp"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/pombal-api/pombal/internal/domain"
)

// sampleInstance is whose a test event is when its webhook is for all instances. No instance has this id.
var sampleInstance = domain.ID{len(domain.ID{}) - 1: 1}

// testEvent makes an event of the type with data.test set, which has all that a real one has.
func testEvent(w *domain.Webhook, kind domain.EventSet, now time.Time) *domain.Event {
	e := &domain.Event{
		AccountID: w.AccountID, InstanceID: cmp.Or(w.InstanceID, sampleInstance), ID: domain.NewID(now), Type: kind,
		At: now.UTC().Truncate(time.Millisecond),
	}
	if kind&domain.AccountEvents != 0 {
		e.InstanceID = domain.ID{}
	}
	e.Data = []byte("{" + testData(w, e) + `,"test":true}`)
	return e
}

// testData writes the members of a test event's data, as JavaScript would.
func testData(w *domain.Webhook, e *domain.Event) string {
	instance := `"instanceId":"` + e.InstanceID.Prefixed(domain.PrefixInstance) + `"`
	at := `"` + domain.FormatTime(e.At) + `"`
	switch e.Type {
	case domain.EventInstanceConnected:
		return instance + `,"name":"Test","phone":"5511999999999","profileName":"Test"`
	case domain.EventInstanceDisconnected:
		return instance + `,"name":"Test","status":"disconnected","reason":{"code":"connection_lost",` +
			`"message":"The connection to WhatsApp was lost.","action":"Nothing needs to be done: this is a test."}`
	case domain.EventInstanceQRUpdated:
		return instance + `,"qrCode":"` + DrawQR("test") + `","qrText":"test","pairingCode":null,"expiresAt":"` +
			domain.FormatTime(e.At.Add(time.Minute)) + `"`
	case domain.EventWebhookFailing, domain.EventWebhookDisabled:
		url, _ := jsontext.AppendQuote(nil, w.URL) // the only text here that a stranger chose; it fails for no text
		return `"webhookId":"` + w.ID.Prefixed(domain.PrefixWebhook) + `","url":` + string(url) + `,"failingSince":` + at + `,"reason":"failing"`
	case domain.EventMessageReceived:
		return `"messageId":"msg_test",` + instance + `,"chatId":"chat_test","from":"5511999999999","fromLid":null,"type":"text",` +
			`"content":"A test message from Pombal","contactName":"Test","isGroup":false,"mediaUrl":null,"mimeType":null,` +
			`"filename":null,"caption":null,"quotedMessageId":null,"timestamp":` + at
	default:
		data := `"messageId":"msg_test",` + instance + `,"chatId":"chat_test","to":"5511999999999","status":"` +
			e.Type.Name()[len("message."):] + `","timestamp":` + at + `,"metadata":{"order":"4711"}`
		if e.Type == domain.EventMessageFailed {
			data += `,"error":{"code":"test","message":"Nothing has failed: this is a test."}`
		}
		return data
	}
}
