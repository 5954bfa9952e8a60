package httpapi

import (
	"encoding/binary"
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
	for {
		n := plainLen(s)
		b = append(b, s[:n]...)
		if s = s[n:]; len(s) == 0 {
			return append(b, '"')
		}
		b, n = appendSpecial(b, s)
		s = s[n:]
	}
}

// plainLen returns how many bytes at the beginning of s are ASCII that needs no escaping. It looks at
// eight bytes at a time: nearly all text in a page is plain, and most of a page is text.
func plainLen(s []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(s)-n >= 8; n += 8 {
		x := binary.LittleEndian.Uint64(s[n:])
		quote, backslash := x^(ones*'"'), x^(ones*'\\')
		// A byte's high bit is set here if the byte is below a space, a quote, a backslash or not ASCII.
		special := (x - ones*' ') | (quote - ones) | (backslash - ones) | x
		if special&highs != 0 {
			break
		}
	}
	for n < len(s) && s[n] >= ' ' && s[n] < utf8.RuneSelf && s[n] != '"' && s[n] != '\\' {
		n++
	}
	return n
}

// appendSpecial appends what s begins with, escaped where needed, and returns how much of s that was.
func appendSpecial(b, s []byte) ([]byte, int) {
	if s[0] < utf8.RuneSelf {
		return appendEscape(b, s[0]), 1
	}
	r, size := utf8.DecodeRune(s)
	switch {
	case r == utf8.RuneError && size == 1:
		return append(b, `\ufffd`...), size
	case r == '\u2028' || r == '\u2029':
		return append(b, '\\', 'u', '2', '0', '2', hexDigits[r&0xf]), size
	}
	return append(b, s[:size]...), size
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
	text := [...]byte{'"', 0, 0, 0, 0, '-', 0, 0, '-', 0, 0, 'T', 0, 0, ':', 0, 0, ':', 0, 0, '.', 0, 0, 0, 'Z', '"'}
	put2(text[1:], year/100)
	put2(text[3:], year%100)
	put2(text[6:], month)
	put2(text[9:], day)
	put2(text[12:], ms/3_600_000)
	put2(text[15:], ms/60_000%60)
	put2(text[18:], ms/1000%60)
	text[21] = byte('0' + ms%1000/100)
	put2(text[22:], ms%100)
	return append(b, text[:]...)
}

// put2 writes a number below 100 as two digits.
func put2(b []byte, v int64) {
	b[0], b[1] = byte('0'+v/10), byte('0'+v%10)
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
