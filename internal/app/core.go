package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/pombal-api/pombal/internal/auth"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/httpapi"
	"github.com/pombal-api/pombal/internal/seal"
	"github.com/pombal-api/pombal/internal/store"
)

// purpose says what a database is opened for.
type purpose int

const (
	serving   purpose = iota // this process answers requests: migrate, and with SQLite be the only one
	operating                // a short command beside serving processes: migrate
)

// openCore opens and migrates the database.
func openCore(ctx context.Context, db Database, secrets Secrets, issuer string, log *slog.Logger, why purpose) (*core, error) {
	sealer, err := newSealer(secrets)
	if err != nil {
		return nil, err
	}
	c := &core{sealer: sealer, unlock: func() {}}
	if why == serving && db.DatabaseURL == "" {
		if c.unlock, err = lockDataDir(db.DataDir); err != nil {
			return nil, err
		}
	}
	if err = c.openStore(ctx, db, log); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	peppers := sealer.DeriveAll("api-keys", 32)
	c.auth, err = auth.New(auth.Config{
		Pepper: peppers[0], OldPeppers: peppers[1:], Issuer: issuer, Audience: issuer, Log: log,
	}, c.store, sealer)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *core) openStore(ctx context.Context, db Database, log *slog.Logger) error {
	var err error
	conns, _ := db.shares()
	c.store, err = store.Open(ctx, store.Config{URL: string(db.DatabaseURL), DataDir: db.DataDir, MaxConns: conns, EventRetention: db.EventRetention, DrawQR: httpapi.DrawQR,
		OnPublish: c.onPublish, OnTake: c.onTake, Log: log})
	if err != nil {
		return fmt.Errorf("cannot open the database: %w", err)
	}
	if err := c.store.Migrate(ctx); err != nil {
		return fmt.Errorf("cannot bring the database up to date: %w", err)
	}
	return nil
}

func newSealer(s Secrets) (*seal.Sealer, error) {
	var secrets [][]byte
	for _, text := range []Secret{s.Secret, s.PreviousSecret} {
		if text == "" && len(secrets) > 0 {
			continue
		}
		secret, err := seal.ParseSecret(string(text))
		if err != nil {
			return nil, fmt.Errorf("POMBAL_SECRET: %w", err)
		}
		secrets = append(secrets, secret)
	}
	return seal.New(secrets...)
}

// lockDataDir makes this process the only one that serves from a SQLite database: rate limits and
// caches of a second one would not know of the first. Short commands may still use the database.
func lockDataDir(dir string) (unlock func(), err error) {
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the data directory: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "serve.lock"))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("cannot lock the data directory: %w", err)
	}
	if !ok {
		return nil, fmt.Errorf("another pombal process serves from %s; stop it first, or choose another --data-dir "+
			"(several nodes need PostgreSQL: set POMBAL_DATABASE_URL)", dir)
	}
	return func() { _ = lock.Unlock() }, nil
}

// Close closes the database.
func (c *core) Close() error {
	var err error
	if c.store != nil {
		err = c.store.Close()
	}
	c.unlock()
	return err
}

func (c *core) newInstanceToken() (token string, digest []byte) {
	token = auth.NewInstanceToken()
	return token, c.auth.InstanceTokenDigest(token)
}

// onPublish hands on that there are new events, once somebody wants to know.
func (c *core) onPublish(due []domain.Delivery) {
	if l := c.listener.Load(); l != nil {
		l.published(due)
	}
}

// onTake hands on that lanes have been taken from their workers.
func (c *core) onTake(lanes []domain.LaneKey) {
	if l := c.listener.Load(); l != nil {
		l.taken(lanes)
	}
}
