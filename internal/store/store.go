// Package store keeps accounts, keys and instances in SQLite or PostgreSQL. It is the only place that
// knows SQL.
//
// Tenant rows are reached through handles that are bound to an account (Account) or to a partner's
// children (Partner); what remains on Store is for the operator and for authentication. Errors that a
// caller may see are *domain.Error; a database that cannot be reached is domain.CodeUnavailable.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// Config says where the data is.
type Config struct {
	// URL of a PostgreSQL database, "postgres://user:password@host/database"; "" for SQLite.
	URL string
	// DataDir is the folder of the SQLite database, pombal.db; made when missing.
	DataDir string
	// MaxConns bounds the connections to PostgreSQL. 0 takes pool_max_conns of the URL, or else four for
	// each CPU and at least 8.
	MaxConns int
	// EventRetention is how long events are kept. 0 takes 30 days.
	EventRetention time.Duration
	// DrawQR returns the picture of a QR code as a data URL, for the events that tell of one; nil for none.
	DrawQR func(text string) string
	// OnPublish is called after each commit that has added events, with their deliveries, all of which are due; nil for
	// nobody. It must not block.
	OnPublish func(due []domain.Delivery)
	// OnTake is called after each commit that has taken lanes from whoever held them, as their webhooks are others now, with
	// the epochs before which nothing is recorded any more; nil for nobody. It must not block.
	OnTake func(lanes []domain.LaneKey)
	// Log receives slow statements, without their values; nil discards them.
	Log *slog.Logger
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	cfg Config

	// pool is under everything on PostgreSQL; nil on SQLite.
	pool *pgxpool.Pool
	// writer and reader are GORM over the same pool on PostgreSQL. On SQLite, writer has the one
	// connection that may write, reader has some that may not.
	writer, reader *gorm.DB
	// pages is the pool of list pages on SQLite, the one under reader; nil on PostgreSQL.
	pages *sql.DB
	// pageTurns has an element for each page that is being read, on SQLite: those that wait for their turn can still
	// be given up, and do not keep shorter questions from the connections.
	pageTurns chan struct{}

	publications publications

	// writes and prepared are for SQLite only.
	writes   turns[*groupedWrite]
	prepared *preparedWrites

	shapes    sync.Map // pageShape -> *pageQuery
	questions sync.Map // crossing -> *sql.Stmt, on SQLite only
	windows   rateWindows
	// eventWindow is the constant, but for tests.
	eventWindow int64
	// pageRows keeps *sqlitePageRow for the next page.
	pageRows sync.Pool
	closers  []func() error
}

// The names of the engines, as Dialect returns them.
const (
	DialectPostgres = "postgres"
	DialectSQLite   = "sqlite"
)

// Open connects to the database. It does not migrate: call Migrate or CheckSchema before anything else.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.EventRetention = cmp.Or(cfg.EventRetention, keepEvents)
	s := &Store{cfg: cfg, eventWindow: eventWindow}
	open := s.openSQLite
	if cfg.URL != "" {
		open = s.openPostgres
	}
	if err := open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close waits for running statements and closes all connections.
func (s *Store) Close() error {
	var errs []error
	s.shapes.Range(func(_, q any) bool {
		if stmt := q.(*pageQuery).prepared; stmt != nil {
			errs = append(errs, stmt.Close())
		}
		return true
	})
	s.questions.Range(func(_, stmt any) bool {
		errs = append(errs, stmt.(*sql.Stmt).Close())
		return true
	})
	if s.prepared != nil {
		errs = append(errs, s.prepared.close())
	}
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	return errors.Join(errs...)
}

// Dialect returns DialectPostgres or DialectSQLite.
func (s *Store) Dialect() string {
	if s.pool != nil {
		return DialectPostgres
	}
	return DialectSQLite
}

// Ready reports whether the database answers.
func (s *Store) Ready(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if s.pool != nil {
		return translate(s.pool.Ping(ctx))
	}
	var one int
	return translate(s.pages.QueryRowContext(ctx, "SELECT 1").Scan(&one))
}

// Account is the data of one account, and nobody else's.
type Account struct {
	s  *Store
	id domain.ID
}

// Account returns the handle of an account, which need not exist. The zero id is refused.
func (s *Store) Account(id domain.ID) (*Account, error) {
	if id.IsZero() {
		return nil, errUnbound
	}
	return &Account{s: s, id: id}, nil
}

// Partner is what a partner sees: its child accounts and their instances.
type Partner struct {
	s  *Store
	id domain.ID
}

// Partner returns the handle of a partner, which need not exist. The zero id is refused.
func (s *Store) Partner(id domain.ID) (*Partner, error) {
	if id.IsZero() {
		return nil, errUnbound
	}
	return &Partner{s: s, id: id}, nil
}

// errUnbound is a bug of the caller.
var errUnbound = errors.New("store: a handle needs an account id")

func (a *Account) wall() wall { return wall{account: a.id} }

func (p *Partner) wall() wall { return wall{partner: p.id} }
