package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// The server ends what takes too long, in milliseconds: a client that has lost its connection cannot.
const (
	statementTimeout = "10000"
	lockTimeout      = "5000"
	idleTimeout      = "15000"
)

func (s *Store) openPostgres(ctx context.Context) error {
	cfg, err := s.poolConfig()
	if err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("open PostgreSQL: %w", err)
	}
	s.closers = append(s.closers, func() error { pool.Close(); return nil })
	if err = pool.Ping(ctx); err != nil {
		e := domain.Unavailable(err)
		e.Message = fmt.Sprintf("PostgreSQL does not answer at %s. Is it running, and is the database URL right?",
			net.JoinHostPort(cfg.ConnConfig.Host, fmt.Sprint(cfg.ConnConfig.Port)))
		return e
	}
	conn := stdlib.OpenDBFromPool(pool)
	s.closers = append(s.closers, conn.Close)
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: conn}), s.gormConfig())
	if err != nil {
		return fmt.Errorf("open PostgreSQL: %w", err)
	}
	s.pool, s.reader, s.writer = pool, db, db
	return installWall(db)
}

// gormConfig is common to both engines. PrepareStmt stays off: pgx keeps its own statements, and on
// SQLite GORM's cache would leave a goroutine behind for ever and save a few microseconds.
func (s *Store) gormConfig() *gorm.Config {
	return &gorm.Config{
		SkipDefaultTransaction: true,
		TranslateError:         true,
		DisableAutomaticPing:   true,
		Logger:                 statementLog{s.cfg.Log},
		NowFunc:                now,
	}
}

// now is the clock of what callers leave open, in the precision of the columns.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

func (s *Store) poolConfig() (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(s.cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("the database URL is not valid: %w", err)
	}
	if mode := cfg.ConnConfig.DefaultQueryExecMode; mode == pgx.QueryExecModeSimpleProtocol || mode == pgx.QueryExecModeExec {
		return nil, errors.New("the database URL must not ask for default_query_exec_mode=simple_protocol or exec: " +
			"values and pages travel in the binary format; behind a pooler without prepared statements use cache_describe")
	}
	switch {
	case s.cfg.MaxConns > 0:
		cfg.MaxConns = int32(min(s.cfg.MaxConns, 10_000))
	case !strings.Contains(s.cfg.URL, "pool_max_conns"):
		cfg.MaxConns = int32(max(8, 4*runtime.GOMAXPROCS(0)))
	}
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	cfg.ConnConfig.BuildContextWatcherHandler = cancelGently
	params := cfg.ConnConfig.RuntimeParams
	for name, value := range map[string]string{
		"application_name":                    "pombal",
		"statement_timeout":                   statementTimeout,
		"lock_timeout":                        lockTimeout,
		"idle_in_transaction_session_timeout": idleTimeout,
		// One plan for all accounts, chosen for large ones (see the migration of instances): planning
		// anew for each page would cost as much as reading it.
		"plan_cache_mode": "force_generic_plan",
		"jit":             "off",
		"timezone":        "UTC",
	} {
		if _, set := params[name]; !set {
			params[name] = value
		}
	}
	return cfg, nil
}

// cancelGently spares connections whose caller went away. pgx would close them, so clients that hang up
// in numbers would make the server accept as many new connections. Instead the statement gets a moment to
// end by itself, then it is canceled; only if that does not help is the connection closed.
func cancelGently(conn *pgconn.PgConn) ctxwatch.Handler {
	return &pgconn.CancelRequestContextWatcherHandler{
		Conn:               conn,
		CancelRequestDelay: 250 * time.Millisecond,
		DeadlineDelay:      2 * time.Second,
	}
}

// migrationConfig is the configuration of the one connection that migrates: without timeouts, since
// building an index may take long.
func (s *Store) migrationConfig() *pgx.ConnConfig {
	cfg := s.pool.Config().ConnConfig
	cfg.RuntimeParams = maps.Clone(cfg.RuntimeParams)
	for _, name := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		cfg.RuntimeParams[name] = "0"
	}
	return cfg
}
