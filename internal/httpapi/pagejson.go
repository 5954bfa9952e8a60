package httpapi

import (
	"strconv"
	"unicode/utf8"

	"github.com/pombal-api/pombal/internal/domain"
)

// This file writes the one answer that is worth writing by hand: pages of instances. Encoding fifty
// of them by reflection costs more than everything else in the request together. A test holds its
// output equal to encoding/json's of the same api.Instance.

// appendInstance appends one instance as JSON.
func appendInstance(b []byte, v *domain.InstanceView, withAccount bool) []byte {
	b = append(b, `{"id":"`...)
	b = v.ID.AppendPrefixed(b, domain.PrefixInstance)
	b = append(b, '"')
	if withAccount {
		b = append(b, `,"accountId":"`...)
		b = v.AccountID.AppendPrefixed(b, domain.PrefixAccount)
		b = append(b, '"')
	}
	b = appendTextMember(b, `,"name":`, v.Name)
	b = appendTextMember(b, `,"phone":`, v.Phone)
	b = appendTextMember(b, `,"status":`, v.Status)
	b = appendTextMember(b, `,"profileName":`, v.ProfileName)
	b = appendTextMember(b, `,"profilePicUrl":`, v.ProfilePicURL)
	b = appendMillis(b, `,"createdAt":`, v.CreatedAt)
	b = appendMillis(b, `,"lastSeenAt":`, v.LastSeenAt)
	b = appendTextMember(b, `,"webhookUrl":`, v.WebhookURL)
	b = appendEvents(b, v.WebhookEvents)
	b = appendBool(b, `,"settings":{"autoRead":`, v.AutoRead)
	b = appendBool(b, `,"autoTyping":`, v.AutoTyping)
	b = appendMillis(b, `},"updatedAt":`, v.UpdatedAt)
	b = appendMillis(b, `,"connectedAt":`, v.ConnectedAt)
	b = appendTextMember(b, `,"integration":`, v.Integration)
	b = appendReason(b, v.Reason)
	b = appendTextMember(b, `,"externalId":`, v.ExternalID)
	return append(b, '}')
}

func appendReason(b []byte, code []byte) []byte {
	b = append(b, `,"statusReason":`...)
	reason, ok := domain.ReasonCode(code).Explain()
	if !ok {
		return append(b, "null"...)
	}
	b = appendTextMember(b, `{"code":`, []byte(reason.Code))
	b = appendTextMember(b, `,"message":`, []byte(reason.Message))
	b = appendTextMember(b, `,"action":`, []byte(reason.Action))
	return append(b, '}')
}

func appendEvents(b []byte, events domain.EventSet) []byte {
	b = append(b, `,"webhookEvents":`...)
	if events == domain.AllEvents {
		return append(b, allEventsJSON...)
	}
	b = append(b, '[')
	for i, name := range events.Names() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, '"')
	}
	return append(b, ']')
}

// allEventsJSON is the default list, which most instances have.
const allEventsJSON = `["message.received","message.sent","message.delivered","message.read","message.failed",` +
	`"instance.connected","instance.disconnected","instance.qr_updated"]`

func appendBool(b []byte, member string, v bool) []byte {
	return strconv.AppendBool(append(b, member...), v)
}

// appendText appends a member with a string, or null for nil.
func appendTextMember(b []byte, member string, s []byte) []byte {
	b = append(b, member...)
	if s == nil {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string, escaping as encoding/json does without HTML escaping.
func appendString(b, s []byte) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			b = appendEscape(b, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRune(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(append(b, s[start:i]...), `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[start:i]...), `\u202`...)
			b = append(b, hexDigits[r&0xf])
			start = i + size
		}
		i += size
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// appendMillis appends a member with a time as 2006-01-02T15:04:05.000Z, or null for domain.NoTime.
func appendMillis(b []byte, member string, ms int64) []byte {
	b = append(b, member...)
	if ms == domain.NoTime {
		return append(b, "null"...)
	}
	days, ms := floorDiv(ms, 24*60*60*1000)
	year, month, day := civil(days)
	b = append(b, '"')
	b = appendPadded(b, year, 4)
	b = appendPadded(append(b, '-'), month, 2)
	b = appendPadded(append(b, '-'), day, 2)
	b = appendPadded(append(b, 'T'), ms/3_600_000, 2)
	b = appendPadded(append(b, ':'), ms/60_000%60, 2)
	b = appendPadded(append(b, ':'), ms/1000%60, 2)
	b = appendPadded(append(b, '.'), ms%1000, 3)
	return append(b, 'Z', '"')
}

func floorDiv(a, b int64) (quotient, remainder int64) {
	quotient, remainder = a/b, a%b
	if remainder < 0 {
		quotient, remainder = quotient-1, remainder+b
	}
	return quotient, remainder
}

// civil turns days since 1970-01-01 into a date of the Gregorian calendar, by Howard Hinnant's
// algorithm: years begin in March, so that the leap day is the last of its year.
func civil(days int64) (year, month, day int64) {
	days += 719_468 // from 0000-03-01
	era, dayOfEra := floorDiv(days, 146_097)
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36_524 - dayOfEra/146_096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	shifted := (5*dayOfYear + 2) / 153
	day = dayOfYear - (153*shifted+2)/5 + 1
	month = shifted + 3
	if month > 12 {
		month -= 12
	}
	year = yearOfEra + era*400
	if month <= 2 {
		year++
	}
	return year, month, day
}

func appendPadded(b []byte, v int64, width int) []byte {
	var digits [4]byte
	for i := width - 1; i >= 0; i-- {
		digits[i] = byte('0' + v%10)
		v /= 10
	}
	return append(b, digits[:width]...)
}
