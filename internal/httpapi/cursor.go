package httpapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
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
	b := make([]byte, cursorPosition, cursorLen)
	binary.BigEndian.PutUint64(b, uint64(at.CreatedAt.UnixMilli()))
	copy(b[8:], at.ID[:])
	return cursorText.EncodeToString(append(b, s.cursorMAC(scope, b)...))
}

// decodeCursor reads a cursor of the list that scope names.
func (s *Server) decodeCursor(scope []byte, text string) (*domain.Cursor, error) {
	b, err := cursorText.DecodeString(text)
	if err != nil || len(b) != cursorLen || !hmac.Equal(b[cursorPosition:], s.cursorMAC(scope, b[:cursorPosition])) {
		return nil, domain.Invalid(domain.Detail{Field: "cursor", Code: "invalid",
			Message: "This cursor does not belong to this list. Send the nextCursor of its previous page with the same filters, or start without one."})
	}
	at := &domain.Cursor{CreatedAt: time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC()}
	copy(at.ID[:], b[8:])
	return at, nil
}

func (s *Server) cursorMAC(scope, position []byte) []byte {
	mac := hmac.New(sha256.New, s.cfg.CursorKey)
	mac.Write(scope)
	mac.Write(position)
	return mac.Sum(nil)[:cursorLen-cursorPosition]
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
