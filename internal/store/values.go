package store

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pombal-api/pombal/internal/domain"
)

// uid is an id as a column: uuid on PostgreSQL, 16 bytes on SQLite. The zero id is NULL.
type uid domain.ID

// Value returns the form for SQLite.
func (u uid) Value() (driver.Value, error) {
	if u == (uid{}) {
		return nil, nil
	}
	return u[:], nil
}

// UUIDValue returns the form for PostgreSQL, which pgx prefers over Value.
func (u uid) UUIDValue() (pgtype.UUID, error) {
	return pgtype.UUID{Bytes: u, Valid: u != (uid{})}, nil
}

// Scan reads NULL, 16 bytes, or the text that database/sql gets from PostgreSQL.
func (u *uid) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*u = uid{}
		return nil
	case []byte:
		if len(v) == len(u) {
			copy(u[:], v)
			return nil
		}
	case string:
		id, err := domain.ParseUUID(v)
		*u = uid(id)
		return err
	}
	return fmt.Errorf("cannot read an id from %T", src)
}

// ScanUUID reads what pgx itself delivers.
func (u *uid) ScanUUID(v pgtype.UUID) error {
	*u = uid{}
	if v.Valid {
		*u = v.Bytes
	}
	return nil
}

// uidArray is a list of ids as one parameter of PostgreSQL: uuid[]. It is a pgtype.ArrayGetter, and a Valuer
// only so that GORM does not take it apart.
type uidArray []uid

// Value is never asked for.
func (a uidArray) Value() (driver.Value, error) { return nil, errors.New("an array is for PostgreSQL") }

// Dimensions describes the array.
func (a uidArray) Dimensions() []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(len(a)), LowerBound: 1}}
}

// Index returns an element.
func (a uidArray) Index(i int) any { return a[i] }

// IndexType returns a value of the elements' type.
func (a uidArray) IndexType() any { return uid{} }

// exactID is an id as a parameter that is never NULL, for comparing positions.
type exactID domain.ID

// Value returns the form for SQLite.
func (e exactID) Value() (driver.Value, error) { return e[:], nil }

// UUIDValue returns the form for PostgreSQL, which pgx prefers over Value.
func (e exactID) UUIDValue() (pgtype.UUID, error) { return pgtype.UUID{Bytes: e, Valid: true}, nil }

// millis is a time as a column, in Unix milliseconds: timestamptz(3) on PostgreSQL, an integer on SQLite
// (whose driver converts the parameters, see sqliteDSN). 0 is NULL.
type millis int64

func millisOf(t time.Time) millis {
	if t.IsZero() {
		return 0
	}
	return millis(t.UnixMilli())
}

func (m millis) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// Value returns a time for both engines.
func (m millis) Value() (driver.Value, error) {
	if m == 0 {
		return nil, nil
	}
	return m.time(), nil
}

// Scan reads NULL, a time, or an integer.
func (m *millis) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*m = 0
	case time.Time:
		*m = millisOf(v)
	case int64:
		*m = millis(v)
	default:
		return fmt.Errorf("cannot read a time from %T", src)
	}
	return nil
}

// TimestamptzValue returns the form for PostgreSQL, which pgx prefers over Value.
func (m millis) TimestamptzValue() (pgtype.Timestamptz, error) {
	return pgtype.Timestamptz{Time: m.time(), Valid: m != 0}, nil
}

// ScanTimestamptz reads what pgx itself delivers.
func (m *millis) ScanTimestamptz(v pgtype.Timestamptz) error {
	*m = 0
	if v.Valid {
		*m = millisOf(v.Time)
	}
	return nil
}

// optional is text that is NULL when empty.
type optional string

// Value returns nil for "".
func (o optional) Value() (driver.Value, error) {
	if o == "" {
		return nil, nil
	}
	return string(o), nil
}

// Scan reads NULL or text.
func (o *optional) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*o = ""
	case string:
		*o = optional(v)
	case []byte:
		*o = optional(v)
	default:
		return fmt.Errorf("cannot read text from %T", src)
	}
	return nil
}

// blob is binary that is NULL when empty.
type blob []byte

// Value returns nil for no bytes.
func (b blob) Value() (driver.Value, error) {
	if len(b) == 0 {
		return nil, nil
	}
	return []byte(b), nil
}

// Scan reads NULL or binary.
func (b *blob) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*b = nil
	case []byte:
		*b = append(blob(nil), v...) // the driver reuses its own
	default:
		return fmt.Errorf("cannot read bytes from %T", src)
	}
	return nil
}

// uidList is a list of ids as one binary column; nil is NULL, which is not the same as empty.
type uidList []domain.ID

// Value returns 16 bytes for each id.
func (l uidList) Value() (driver.Value, error) {
	if l == nil {
		return nil, nil
	}
	b := make([]byte, 0, len(l)*len(domain.ID{}))
	for _, id := range l {
		b = append(b, id[:]...)
	}
	return b, nil
}

// Scan reads NULL or binary.
func (l *uidList) Scan(src any) error {
	if src == nil {
		*l = nil
		return nil
	}
	b, ok := src.([]byte)
	if !ok || len(b)%len(domain.ID{}) != 0 {
		return fmt.Errorf("cannot read ids from %T", src)
	}
	list := make(uidList, len(b)/len(domain.ID{}))
	for i := range list {
		copy(list[i][:], b[i*len(list[i]):])
	}
	*l = list
	return nil
}

// GormDataType tells GORM what the column holds; it would refuse the type otherwise.
func (uidList) GormDataType() string { return "bytes" }

// header is the map of a stored answer's header as a JSON column; nil is NULL.
type header map[string]string

// Value returns JSON.
func (h header) Value() (driver.Value, error) {
	if h == nil {
		return nil, nil
	}
	b, err := json.Marshal(map[string]string(h))
	return string(b), err
}

// Scan reads NULL or JSON.
func (h *header) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*h = nil
		return nil
	case string:
		return json.Unmarshal([]byte(v), (*map[string]string)(h))
	case []byte:
		return json.Unmarshal(v, (*map[string]string)(h))
	}
	return errors.New("cannot read a header from the database")
}

// GormDataType tells GORM what the column holds; it would refuse the type otherwise.
func (header) GormDataType() string { return "string" }
