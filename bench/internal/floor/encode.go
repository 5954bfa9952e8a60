package floor

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strconv"

	"github.com/pombal-api/pombal/internal/domain"
)

// encoder holds the parts of the answer that can be made before the first request.
type encoder struct {
	cursorKey []byte
	events    [1 << 8][]byte    // by set
	reasons   map[string][]byte // by code
}

func newEncoder(cursorKey []byte) *encoder {
	e := &encoder{cursorKey: cursorKey, reasons: map[string][]byte{}}
	for set := range e.events {
		e.events[set] = quoted(domain.EventSet(set).Names())
	}
	for _, code := range []domain.ReasonCode{domain.ReasonNeverConnected, domain.ReasonDisconnectedByUser, domain.ReasonLoggedOut} {
		reason, _ := code.Explain()
		e.reasons[string(code)] = quoted(struct {
			Code    domain.ReasonCode `json:"code"`
			Message string            `json:"message"`
			Action  string            `json:"action"`
		}(reason))
	}
	return e
}

// quoted is JSON by the standard library.
func quoted(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // text and structs of text always can be
	return bytes.TrimSpace(b.Bytes())
}

// instance appends an instance; raw are the columns of page from id on.
func (e *encoder) instance(b []byte, raw [][]byte) []byte {
	var id domain.ID
	copy(id[:], raw[0])
	b = id.AppendPrefixed(append(b, `{"id":"`...), domain.PrefixInstance)
	b = text(append(b, `","name":`...), raw[10])
	b = text(append(b, `,"phone":`...), raw[13])
	b = plain(append(b, `,"status":`...), raw[9])
	b = text(append(b, `,"profileName":`...), raw[14])
	b = text(append(b, `,"profilePicUrl":`...), raw[15])
	b = moment(append(b, `,"createdAt":`...), raw[1])
	b = moment(append(b, `,"lastSeenAt":`...), raw[4])
	b = text(append(b, `,"webhookUrl":`...), raw[16])
	b = append(append(b, `,"webhookEvents":`...), e.events[raw[5][3]]...)
	b = strconv.AppendBool(append(b, `,"settings":{"autoRead":`...), raw[6][0] != 0)
	b = strconv.AppendBool(append(b, `,"autoTyping":`...), raw[7][0] != 0)
	b = moment(append(b, `},"updatedAt":`...), raw[2])
	b = moment(append(b, `,"connectedAt":`...), raw[3])
	b = plain(append(b, `,"integration":`...), raw[8])
	b = append(b, `,"statusReason":`...)
	if raw[12] == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, e.reasons[string(raw[12])]...)
	}
	return append(text(append(b, `,"externalId":`...), raw[11]), '}')
}

// pagination appends the end of the answer: n instances, the last of which was created at created.
func (e *encoder) pagination(b []byte, account domain.ID, total int64, n int, created int64, id domain.ID) []byte {
	b = strconv.AppendInt(append(b, `],"pagination":{"total":`...), total, 10)
	b = append(b, `,"limit":50,"offset":0,"hasMore":`...)
	if total <= int64(n) {
		return append(b, `false,"nextCursor":null}}`...)
	}
	b = append(b, `true,"nextCursor":"`...)
	b = e.cursor(b, account, created, id)
	return append(b, `"}}`...)
}

// cursor appends the cursor after an instance: position and 8 bytes of MAC over list and position.
func (e *encoder) cursor(b []byte, account domain.ID, created int64, id domain.ID) []byte {
	mac := hmac.New(sha256.New, e.cursorKey)
	scope := append(append(make([]byte, 0, 64), "instances\x00"...), account[:]...)
	mac.Write(append(scope, "\x00all\x00\x00\x00"...))
	position := binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(created))
	position = append(position, id[:]...)
	mac.Write(position)
	return base64.RawURLEncoding.AppendEncode(b, mac.Sum(position)[:len(position)+8])
}

// text appends a string, or null. Only what may need escapes goes the long way.
func text(b, s []byte) []byte {
	if s == nil {
		return append(b, "null"...)
	}
	n := 0
	for ; len(s)-n >= 8; n += 8 {
		if special(binary.LittleEndian.Uint64(s[n:])) {
			return append(b, quoted(string(s))...)
		}
	}
	for _, c := range s[n:] {
		if c < ' ' || c == '"' || c == '\\' || c == beginsSeparator {
			return append(b, quoted(string(s))...)
		}
	}
	return plain(b, s)
}

// beginsSeparator is the first byte of U+2028 and U+2029, which are escaped.
const beginsSeparator = 0xe2

// special reports whether one of eight bytes is below a space, a quote, a backslash or beginsSeparator.
func special(x uint64) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	below := (x - ones*' ') &^ x
	return (below|zero(x^ones*'"')|zero(x^ones*'\\')|zero(x^ones*beginsSeparator))&highs != 0
}

// zero marks bytes that are zero by their high bit, and maybe bytes after them.
func zero(x uint64) uint64 { return (x - 0x0101010101010101) &^ x }

// plain appends a string that needs no escapes.
func plain(b, s []byte) []byte { return append(append(append(b, '"'), s...), '"') }

// epoch is 2000-01-01 in Unix milliseconds, from where PostgreSQL counts microseconds.
const epoch = 946_684_800_000

func int64Of(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }

func millisOf(b []byte) int64 { return epoch + int64Of(b)/1000 }

// moment appends a time, or null. The date is found by counting days in 400 years that begin in March.
func moment(b, raw []byte) []byte {
	if raw == nil {
		return append(b, "null"...)
	}
	ms := uint64(millisOf(raw)) // after 1970
	day := ms/86_400_000 + 719_468
	ms %= 86_400_000
	era, day := day/146_097, day%146_097
	year := (day - day/1460 + day/36_524 - day/146_096) / 365
	day -= 365*year + year/4 - year/100
	month := (5*day + 2) / 153
	day -= (153*month+2)/5 - 1
	year += era * 400
	if month += 3; month > 12 {
		month, year = month-12, year+1
	}
	var t = [...]byte{'"', 0, 0, 0, 0, '-', 0, 0, '-', 0, 0, 'T', 0, 0, ':', 0, 0, ':', 0, 0, '.', 0, 0, 0, 'Z', '"'}
	two(t[1:], year/100)
	two(t[3:], year%100)
	two(t[6:], month)
	two(t[9:], day)
	two(t[12:], ms/3_600_000)
	two(t[15:], ms/60_000%60)
	two(t[18:], ms/1000%60)
	t[21] = byte('0' + ms%1000/100)
	two(t[22:], ms%100)
	return append(b, t[:]...)
}

// two writes two digits.
func two(b []byte, n uint64) { b[0], b[1] = byte('0'+n/10), byte('0'+n%10) }
