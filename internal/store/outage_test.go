package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/testkit"
)

// everyCall asks the store for everything it can do.
func everyCall(t *testing.T, f *fixture, partner *store.Partner) map[string]func(context.Context) error {
	t.Helper()
	a, page := f.mine, domain.PageRequest{Limit: 10}
	known := f.account.ID
	return map[string]func(context.Context) error{
		"Ready":         f.Ready,
		"CreateAccount": func(ctx context.Context) error { return f.CreateAccount(ctx, &domain.Account{Name: "x"}) },
		"AccountByID":   func(ctx context.Context) error { _, err := f.AccountByID(ctx, known); return err },
		"Accounts":      func(ctx context.Context) error { _, _, err := f.Accounts(ctx, page); return err },
		"SetAccount": func(ctx context.Context) error {
			_, err := f.SetAccount(ctx, known, domain.AccountAdminPatch{Plan: new("x")}, at(0))
			return err
		},
		"KeyByLookup":     func(ctx context.Context) error { _, err := f.KeyByLookup(ctx, "x"); return err },
		"KeyByID":         func(ctx context.Context) error { _, err := f.KeyByID(ctx, known, known); return err },
		"InstanceByToken": func(ctx context.Context) error { _, err := f.InstanceByToken(ctx, []byte("x")); return err },
		"TouchKeys": func(ctx context.Context) error {
			return f.TouchKeys(ctx, map[domain.ID]domain.KeyUse{known: {AccountID: known, At: at(0)}})
		},
		"AuthChanges":   func(ctx context.Context) error { _, _, _, err := f.AuthChanges(ctx, 0); return err },
		"OriginAllowed": func(ctx context.Context) error { _, err := f.OriginAllowed(ctx, "x"); return err },
		"SigningKeys":   func(ctx context.Context) error { _, err := f.SigningKeys(ctx); return err },
		"AddSigningKey": func(ctx context.Context) error {
			return f.AddSigningKey(ctx, domain.SigningKey{ID: fmt.Sprint(time.Now()), Public: []byte{1}, Sealed: []byte{1}, CreatedAt: at(0), ActivatesAt: at(0)}, at(0))
		},
		"LeaseRate": func(ctx context.Context) error {
			_, err := f.LeaseRate(ctx, []domain.RateLease{{Bucket: "b", Limit: 1}})
			return err
		},
		"Sweep": func(ctx context.Context) error { _, err := f.Sweep(ctx); return err },
		"EachInstance": func(ctx context.Context) error {
			_, err := a.EachInstance(ctx, domain.InstanceFilter{}, page, ignore)
			return err
		},
		"StreamInstances": func(ctx context.Context) error {
			return a.StreamInstances(ctx, domain.InstanceFilter{}, nil, func(*domain.Instance) error { return nil })
		},
		"Instance":       func(ctx context.Context) error { _, err := a.Instance(ctx, known); return err },
		"CreateInstance": func(ctx context.Context) error { return a.CreateInstance(ctx, &domain.Instance{Name: "x"}, 0) },
		"UpdateInstance": func(ctx context.Context) error {
			_, err := a.UpdateInstance(ctx, known, domain.InstancePatch{Name: new("x")}, 0, at(0))
			return err
		},
		"DeleteInstance": func(ctx context.Context) error { _, err := a.DeleteInstance(ctx, known, 0); return err },
		"SetInstanceStates": func(ctx context.Context) error {
			return a.SetInstanceStates(ctx, []domain.InstanceState{{ID: known, LastSeenAt: at(0)}})
		},
		"APIKeys": func(ctx context.Context) error { _, _, err := a.APIKeys(ctx, page); return err },
		"CreateAPIKey": func(ctx context.Context) error {
			return a.CreateAPIKey(ctx, &domain.APIKey{Lookup: fmt.Sprint(time.Now()), Digest: []byte{1}})
		},
		"RevokeAPIKey": func(ctx context.Context) error { return a.RevokeAPIKey(ctx, known, at(0)) },
		"RotateAPIKey": func(ctx context.Context) error {
			_, err := a.RotateAPIKey(ctx, known, domain.KeyRotation{})
			return err
		},
		"ClaimIdempotency": func(ctx context.Context) error {
			_, err := a.ClaimIdempotency(ctx, domain.IdempotencyClaim{Key: "k", Resource: known})
			return err
		},
		"FinishIdempotency": func(ctx context.Context) error {
			return a.FinishIdempotency(ctx, "k", [32]byte{}, known, domain.StoredAnswer{})
		},
		"ReleaseIdempotency": func(ctx context.Context) error { return a.ReleaseIdempotency(ctx, "k", [32]byte{}, known) },
		"ForgetIdempotency":  func(ctx context.Context) error { return a.ForgetIdempotency(ctx, "k", [32]byte{}, known) },
		"Update": func(ctx context.Context) error {
			_, err := a.Update(ctx, domain.AccountPatch{Name: new(fmt.Sprint(time.Now()))}, at(0))
			return err
		},
		"Partner.EachInstance": func(ctx context.Context) error {
			_, err := partner.EachInstance(ctx, domain.InstanceFilter{}, page, ignore)
			return err
		},
		"Children":    func(ctx context.Context) error { _, _, err := partner.Children(ctx, page); return err },
		"Child":       func(ctx context.Context) error { _, err := partner.Child(ctx, known); return err },
		"CreateChild": func(ctx context.Context) error { return partner.CreateChild(ctx, &domain.Account{Name: "x"}) },
		"CheckSchema": f.CheckSchema,
		"Migrate":     f.Migrate,
	}
}

// answered reports whether the database took part: success, or that something is not there.
func answered(err error) bool {
	if err == nil {
		return true
	}
	code := domain.CodeOf(err)
	return strings.HasSuffix(string(code), "_not_found")
}

// However the database goes away, every call says so and works again once it is back, without a restart.
func TestOutage_Postgres(t *testing.T) {
	t.Parallel()
	server := testkit.NewPrivatePostgres(t)
	s := must[*store.Store](t)(store.Open(t.Context(), store.Config{URL: server.URL, MaxConns: 4}))
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := &fixture{Store: s, place: server.URL}
	f.account, f.mine = f.addAccount(t, "mine")
	partner, _ := f.addPartner(t)
	calls := everyCall(t, f, partner)
	expect := func(what string, good func(error) bool) {
		t.Helper()
		for name, call := range calls {
			if err := call(t.Context()); !good(err) {
				t.Errorf("%s: %s: %v", what, name, err)
			}
		}
	}
	unavailable := func(err error) bool { return domain.CodeOf(err) == domain.CodeUnavailable }

	expect("at first", answered)
	server.Stop()
	expect("stopped", unavailable)
	server.Start()
	expect("started", answered)
	server.Kill9()
	// Its processes notice one by one that they are orphans.
	expect("killed", func(err error) bool { return answered(err) || unavailable(err) })
	server.Start()
	expect("started again", answered)
}

// A read does not even notice that its connection was cut.
func TestOutage_CutConnections(t *testing.T) {
	t.Parallel()
	f := newFixture(t, store.DialectPostgres)
	want := addInstance(t, f.mine, domain.Instance{Name: "a"})
	for range 5 {
		execSQL(t, f, []string{"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"})
		same(t, "page", page(t, f.mine, domain.InstanceFilter{}, 5), []string{"a"})
		execSQL(t, f, []string{"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"})
		same(t, "instance", must[domain.Instance](t)(f.mine.Instance(t.Context(), want.ID)), want)
	}
}

func TestOpen_PostgresDown(t *testing.T) {
	t.Parallel()
	listener := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	address := listener.Addr().String()
	_ = listener.Close() // now nobody listens there
	_, err := store.Open(t.Context(), store.Config{URL: "postgres://user:hunter2@" + address + "/pombal"})
	wantCode(t, "open", err, domain.CodeUnavailable)
	if e := domainError(t, errors.Unwrap(joined(err))); !strings.Contains(e.Message, address) || strings.Contains(e.Error(), "hunter2") {
		t.Errorf("message: %v", e)
	}
	for what, url := range map[string]string{
		"no URL":          "postgres://%zz",
		"simple protocol": "postgres://" + address + "/pombal?default_query_exec_mode=simple_protocol",
	} {
		if _, err := store.Open(t.Context(), store.Config{URL: url}); err == nil || domain.CodeOf(err) != domain.CodeInternal {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// joined makes errors.Unwrap work on what errors.Join returned.
func joined(err error) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return fmt.Errorf("%w", many.Unwrap()[0])
	}
	return fmt.Errorf("%w", err)
}

// Writes that wait too long for somebody else's lock give up as unavailable, on both engines.
func TestOutage_Locked(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		in := addInstance(t, f.mine, domain.Instance{Name: "a"})
		db := openSQL(t, f.Dialect(), f.place)
		conn := must[*sql.Conn](t)(db.Conn(t.Context()))
		begin := "BEGIN; SELECT 1 FROM instances FOR UPDATE"
		if f.Dialect() == store.DialectSQLite {
			begin = "BEGIN IMMEDIATE"
		}
		for _, statement := range strings.Split(begin, "; ") {
			if _, err := conn.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := f.mine.UpdateInstance(ctx, in.ID, domain.InstancePatch{Name: new("b")}, 0, at(0))
		wantCode(t, "locked", err, domain.CodeUnavailable)
		if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if _, err := f.mine.UpdateInstance(t.Context(), in.ID, domain.InstancePatch{Name: new("b")}, 0, at(0)); err != nil {
			t.Errorf("after that: %v", err)
		}
	})
}
