// Package floor is the least that a Go program can do to answer the list call from PostgreSQL: the
// measure of what the real service costs on top.
//
// It has no framework, no ORM and no middleware: net/http, a pool of pgx, one prepared statement for page
// and total, values taken from the wire as they are, JSON appended by hand into a pooled buffer, and a map
// from the Authorization header to the account. Its answers are the service's, byte for byte; it shares no
// code with it but the spelling of ids. It does not check anything that it need not know to answer.
package floor

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pombal-api/pombal/internal/domain"
)

// Config is what the floor must be told.
type Config struct {
	DatabaseURL string
	Accounts    map[string]domain.ID // by the whole Authorization header
	CursorKey   []byte
}

// Limit is how many instances a page has; the floor knows no other.
const Limit = 50

// conns is the size of the pool.
const conns = 8

// page finds the newest of everything in one round trip. The total comes from the counters, which is as
// cheap as counting for 120 instances and cheaper beyond.
const page = `SELECT (SELECT sum(n)::bigint FROM instance_counts WHERE account_id = $1),
id, created_at, updated_at, connected_at, last_seen_at, webhook_events, auto_read, auto_typing,
integration, status, name, external_id, reason, phone, profile_name, profile_pic_url, webhook_url
FROM instances WHERE account_id = $1 ORDER BY created_at, id LIMIT 50`

// Handler answers.
type Handler struct {
	pool     *pgxpool.Pool
	accounts map[string]domain.ID
	encoder  *encoder
	buffers  sync.Pool
}

// New connects to the database.
func New(ctx context.Context, cfg Config) (*Handler, error) {
	pc, err := pgxpool.ParseConfig(cfg.DatabaseURL)
	if err != nil {
		return nil, err
	}
	pc.MaxConns = conns
	// As the service asks for it: the plan is the same for all accounts, so make it once.
	pc.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, err
	}
	h := &Handler{pool: pool, accounts: cfg.Accounts, encoder: newEncoder(cfg.CursorKey)}
	h.buffers.New = func() any { b := make([]byte, 0, 64<<10); return &b }
	return h, pool.Ping(ctx)
}

// Close closes the pool.
func (h *Handler) Close() { h.pool.Close() }

// ServeHTTP answers the list call.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	authorization := r.Header["Authorization"]
	if len(authorization) != 1 {
		http.Error(w, "no key", http.StatusUnauthorized)
		return
	}
	account, ok := h.accounts[authorization[0]]
	if !ok {
		http.Error(w, "unknown key", http.StatusUnauthorized)
		return
	}
	buffer, _ := h.buffers.Get().(*[]byte)
	defer h.buffers.Put(buffer)
	// Not the request's context: pgx would close the connection when a client hangs up.
	body, err := h.list(context.WithoutCancel(r.Context()), (*buffer)[:0], account)
	*buffer = body
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, body)
}

func writeJSON(w http.ResponseWriter, body []byte) {
	header := w.Header()
	header["Content-Type"] = []string{"application/json"}
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	_, _ = w.Write(body) // the client's loss
}

// list appends the answer.
func (h *Handler) list(ctx context.Context, b []byte, account domain.ID) ([]byte, error) {
	rows, err := h.pool.Query(ctx, page, pgx.QueryResultFormats{pgx.BinaryFormatCode}, [16]byte(account))
	if err != nil {
		return b, err
	}
	defer rows.Close()
	b = append(b, `{"success":true,"data":[`...)
	var total, created int64
	var id domain.ID
	n := 0
	for rows.Next() {
		raw := rows.RawValues()
		if n > 0 {
			b = append(b, ',')
		}
		n++
		total, created = int64Of(raw[0]), millisOf(raw[2])
		copy(id[:], raw[1])
		b = h.encoder.instance(b, raw[1:])
	}
	if err := rows.Err(); err != nil {
		return b, fmt.Errorf("read a page: %w", err)
	}
	return h.encoder.pagination(b, account, total, n, created, id), nil
}

// Static answers with finished bodies: what net/http alone costs.
type Static map[string][]byte

// ServeHTTP answers with the body of the Authorization header.
func (s Static) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, ok := s[r.Header.Get("Authorization")]
	if !ok {
		http.Error(w, "unknown key", http.StatusUnauthorized)
		return
	}
	writeJSON(w, body)
}
