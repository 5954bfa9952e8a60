package httpapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// A cursor is 8 bytes of Unix milliseconds, 16 of id and 8 of MAC. The MAC covers the list it belongs
// to (account, kind and filter), so a cursor cannot be made up, nor taken to another account or filter.
const (
	cursorPosition = 8 + 16
	cursorLen      = cursorPosition + 8
)

var cursorText = base64.RawURLEncoding.Strict()

// encodeCursor returns the text of a cursor of the list that scope names.
func (s *Server) encodeCursor(scope []byte, at domain.Cursor) string {
	return string(s.appendCursor(nil, scope, at))
}

// appendCursor appends the text of a cursor.
func (s *Server) appendCursor(b, scope []byte, at domain.Cursor) []byte {
	var room [cursorLen]byte
	binary.BigEndian.PutUint64(room[:], uint64(at.CreatedAt.UnixMilli()))
	copy(room[8:], at.ID[:])
	s.cursorMAC(room[cursorPosition:], scope, room[:cursorPosition])
	return cursorText.AppendEncode(b, room[:])
}

// decodeCursor reads a cursor of the list that scope names.
func (s *Server) decodeCursor(scope []byte, text string) (*domain.Cursor, error) {
	b, err := cursorText.DecodeString(text)
	if err != nil || len(b) != cursorLen || !s.isOurs(scope, b) {
		return nil, domain.Invalid(domain.Detail{Field: "cursor", Code: "invalid",
			Message: "This cursor does not belong to this list. Send the nextCursor of its previous page with the same filters, or start without one."})
	}
	at := &domain.Cursor{CreatedAt: time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC()}
	copy(at.ID[:], b[8:])
	return at, nil
}

// isOurs reports whether a cursor's MAC is good.
func (s *Server) isOurs(scope, cursor []byte) bool {
	var want [cursorLen - cursorPosition]byte
	s.cursorMAC(want[:], scope, cursor[:cursorPosition])
	return hmac.Equal(cursor[cursorPosition:], want[:])
}

// macState is what computing a MAC needs; making it costs more than using it.
type macState struct {
	mac hash.Hash
	in  [256]byte // what goes into a hash must not be on the stack
	out [sha256.Size]byte
}

// cursorMAC fills dst.
func (s *Server) cursorMAC(dst, scope, position []byte) {
	m, _ := s.cursorMACs.Get().(*macState)
	if m == nil {
		m = &macState{mac: hmac.New(sha256.New, s.cfg.CursorKey)}
	}
	defer s.cursorMACs.Put(m)
	m.mac.Reset()
	m.mac.Write(append(append(m.in[:0], scope...), position...))
	copy(dst, m.mac.Sum(m.out[:0]))
}

// listScope names a list for its cursors: what is listed, of which account, with which filters.
func listScope(kind string, p *domain.Principal, filters ...string) []byte {
	b := append(make([]byte, 0, 64), kind...)
	b = append(b, 0)
	b = append(b, p.Account.ID[:]...)
	if p.Children {
		b = append(b, '*')
	}
	for _, f := range filters {
		b = append(b, 0)
		b = append(b, f...)
	}
	return append(b, 0)
}
