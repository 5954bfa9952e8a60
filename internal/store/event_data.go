package store

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/pombal-api/pombal/internal/domain"
)

// object is a JSON object while it is written, in the way in which JavaScript would write it.
type object []byte

// member begins a member.
func (o object) member(name string) object {
	if len(o) == 0 {
		o = append(o, '{')
	} else {
		o = append(o, ',')
	}
	return append(o.quote(name), ':')
}

// quote writes text. What is not UTF-8 in it becomes U+FFFD, which is all that the error says.
func (o object) quote(text string) object {
	b, _ := jsontext.AppendQuote(o, text)
	return b
}

func (o object) text(name, value string) object { return o.member(name).quote(value) }

// optional writes null for "".
func (o object) optional(name, value string) object {
	if value == "" {
		return append(o.member(name), "null"...)
	}
	return o.text(name, value)
}

// time writes null for the zero time.
func (o object) time(name string, t time.Time) object {
	if t.IsZero() {
		return o.optional(name, "")
	}
	return o.text(name, domain.FormatTime(t))
}

// object writes null for no object.
func (o object) object(name string, value object) object {
	if value == nil {
		return o.optional(name, "")
	}
	return append(o.member(name), value.end()...)
}

func (o object) end() []byte { return append(o, '}') }

// instanceEvent returns an event of an instance that happened at a time, or now for the zero time.
func instanceEvent(kind domain.EventSet, instance domain.ID, at time.Time, data object) domain.Event {
	return domain.Event{InstanceID: instance, Type: kind, At: at, Data: data.end()}
}

func ofInstance(id domain.ID) object {
	return object(nil).text("instanceId", id.Prefixed(domain.PrefixInstance))
}

func connectedEvent(in *domain.Instance, at time.Time) domain.Event {
	return instanceEvent(domain.EventInstanceConnected, in.ID, at, ofInstance(in.ID).
		text("name", in.Name).optional("phone", in.Phone).optional("profileName", in.ProfileName))
}

// disconnectedEvent tells of an instance as it is now.
func disconnectedEvent(in *domain.Instance, at time.Time) domain.Event {
	var why object
	if reason, ok := in.Reason.Explain(); ok {
		why = why.text("code", string(reason.Code)).text("message", reason.Message).text("action", reason.Action)
	}
	return instanceEvent(domain.EventInstanceDisconnected, in.ID, at, ofInstance(in.ID).
		text("name", in.Name).text("status", string(in.Status)).object("reason", why))
}

// removedEvent tells of an instance that is deleted, unless everybody knows that it is disconnected.
func removedEvent(in domain.Instance) []domain.Event {
	if in.Status == domain.StatusDisconnected {
		return nil
	}
	in.Status, in.Reason = domain.StatusDisconnected, domain.ReasonDisconnectedByUser
	return []domain.Event{disconnectedEvent(&in, time.Time{})}
}

// changeEvent appends what a change of an instance's state is to the world.
func changeEvent(events []domain.Event, before, after *domain.Instance, at time.Time) []domain.Event {
	was, is := before.Status, after.Status
	switch {
	case was == is:
		return events
	case is == domain.StatusConnected:
		return append(events, connectedEvent(after, at))
	case was == domain.StatusConnected, is == domain.StatusDisconnected:
		return append(events, disconnectedEvent(after, at))
	}
	return events
}

// codeEvent tells of a new code. picture is that of a QR code, "" for none.
func codeEvent(instance domain.ID, code *domain.LinkCode, picture string, at time.Time) domain.Event {
	qr, pairing := code.Text, ""
	if code.Method == domain.PairByCode {
		qr, pairing, picture = "", code.Text, ""
	}
	return instanceEvent(domain.EventInstanceQRUpdated, instance, at, ofInstance(instance).
		optional("qrCode", picture).optional("qrText", qr).optional("pairingCode", pairing).time("expiresAt", code.ExpiresAt))
}

// webhookEvent tells the account about one of its webhooks.
func webhookEvent(kind domain.EventSet, w *domain.Webhook, reason domain.DisableReason, at time.Time) domain.Event {
	return domain.Event{Type: kind, At: at, Data: object(nil).
		text("webhookId", w.ID.Prefixed(domain.PrefixWebhook)).text("url", w.URL).
		time("failingSince", w.FailingSince).text("reason", string(reason)).end()}
}
