package domain

import (
	"strconv"
	"time"
)

// TimeLayout is how the API writes a time: UTC, always three decimals.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// AppendEnvelope appends an event as it goes over the wire, in webhooks, streams and lists: JSON that
// JavaScript would write in the same way.
func AppendEnvelope(dst []byte, e *Event) []byte {
	dst = append(dst, `{"id":"`...)
	dst = e.ID.AppendPrefixed(dst, PrefixEvent)
	dst = append(dst, `","event":"`...)
	dst = append(dst, e.Type.Name()...)
	dst = append(dst, `","timestamp":"`...)
	dst = e.At.UTC().AppendFormat(dst, TimeLayout)
	dst = append(dst, `","accountId":"`...)
	dst = e.AccountID.AppendPrefixed(dst, PrefixAccount)
	dst = append(dst, `","instanceId":`...)
	if e.InstanceID.IsZero() {
		dst = append(dst, `null,"sequence":null`...)
	} else {
		dst = append(dst, '"')
		dst = e.InstanceID.AppendPrefixed(dst, PrefixInstance)
		dst = append(dst, `","sequence":`...)
		dst = strconv.AppendInt(dst, e.Sequence, 10)
	}
	dst = append(dst, `,"data":`...)
	dst = append(dst, e.Data...)
	return append(dst, '}')
}

// FormatTime writes a time as the API does.
func FormatTime(t time.Time) string { return t.UTC().Format(TimeLayout) }
