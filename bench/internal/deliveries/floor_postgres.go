package deliveries

import (
	"context"
	"runtime"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// outboxPostgres is a table in PostgreSQL, with as many connections as Pombal's store has.
type outboxPostgres struct{ pool *pgxpool.Pool }

const (
	makePostgres = `
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target     integer NOT NULL,
    claimed_at timestamptz,
    data       bytea NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX outbox_free ON outbox (id) WHERE claimed_at IS NULL`

	insertPostgres = `INSERT INTO outbox (target, data) VALUES ($1, $2) RETURNING id`

	claimPostgres = `
UPDATE outbox SET claimed_at = now() WHERE id = ANY (ARRAY(
    SELECT id FROM outbox WHERE claimed_at IS NULL ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
)) RETURNING id, target, data`

	removePostgres = `DELETE FROM outbox WHERE id = ANY ($1)`
)

func openPostgres(ctx context.Context, address string) (*outboxPostgres, error) {
	cfg, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = int32(max(8, 4*runtime.GOMAXPROCS(0)))
	// The planner knows nothing yet of a new table, and would read all of it.
	cfg.ConnConfig.RuntimeParams["enable_seqscan"] = "off"
	cfg.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	_, err = pool.Exec(ctx, makePostgres)
	return &outboxPostgres{pool}, err
}

func (o *outboxPostgres) insert(ctx context.Context, target int, data []byte) (id int64, err error) {
	err = o.pool.QueryRow(ctx, insertPostgres, target, data).Scan(&id)
	return id, err
}

func (o *outboxPostgres) claim(ctx context.Context, n int) ([]row, error) {
	rows, err := o.pool.Query(ctx, claimPostgres, n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(from pgx.CollectableRow) (r row, err error) {
		err = from.Scan(&r.id, &r.target, &r.data)
		return r, err
	})
}

func (o *outboxPostgres) remove(ctx context.Context, ids []int64) error {
	_, err := o.pool.Exec(ctx, removePostgres, ids)
	return err
}

func (o *outboxPostgres) close() error {
	o.pool.Close()
	return nil
}
