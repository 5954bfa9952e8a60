package app_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// TestClientsThatHangUp has a thousand clients hang up in the middle of a request, half of them after
// sending it, the others before. Whoever asks next must not notice.
func TestClientsThatHangUp(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			db := apitest.NewDatabase(t, engine)
			s := apitest.StartOn(t, db)
			tenant := s.NewTenant(t)
			for i := range 40 {
				tenant.NewInstance(t, fmt.Sprintf("instance %d", i))
			}
			for range soak(1, 10) {
				hangUp(t, s, rawRequests(strings.TrimPrefix(s.URL, "http://"), tenant.Key), 1000)
				answeredAtOnce(t, tenant)
			}
			allAnswered(t, s)
			if db.URL != "" {
				noConnectionIsHeld(t, db.URL, apitest.Config(db).MaxConns)
			}
			manyAtOnce(t, tenant, 64)
			if page, err := tenant.API.Instances.List(t.Context(), api.ListInstancesParams{}); err != nil || page.Pagination.Total != 40 {
				t.Errorf("requests that were never finished had an effect: there are %d instances (%v)", page.Pagination.Total, err)
			}
		})
	}
}

// rawRequests are requests as they look on the wire: whole ones, then some that stop half-way.
func rawRequests(host, key string) []string {
	const body = `{"name":"never finished","webhookUrl":"https://example.com/hook"}`
	head := func(line, more string) string {
		return line + " HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: Bearer " + key + "\r\n" + more
	}
	list := head("GET /v1/instances?limit=100", "\r\n")
	create := head("POST /v1/instances", fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body)))
	fetch := "GET /instance/fetchInstances HTTP/1.1\r\nHost: " + host + "\r\napikey: " + key + "\r\n\r\n"
	return []string{
		list, list[:len(list)/2],
		fetch, create + body[:len(body)/2],
		list + list + list, create,
		head("GET /v1/instances?search=instance&status=disconnected", "\r\n"), "GET /v1/inst",
	}
}

// hangUp opens a connection for each of n clients, all at the same time, has each send its request, and
// cuts it: every second one hard, as a client that crashes does.
func hangUp(t *testing.T, s *apitest.Server, raw []string, n int) {
	t.Helper()
	address := strings.TrimPrefix(s.URL, "http://")
	var all errgroup.Group
	for i := range n {
		all.Go(func() error {
			conn, err := (&net.Dialer{Timeout: 20 * time.Second}).DialContext(t.Context(), "tcp", address)
			if err != nil {
				return err
			}
			_, err = conn.Write([]byte(raw[i%len(raw)]))
			if tcp, ok := conn.(*net.TCPConn); ok && i/len(raw)%2 == 0 {
				err = errors.Join(err, tcp.SetLinger(0))
			}
			return errors.Join(err, conn.Close())
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
}

// answeredAtOnce gives one call a second. That is a limit, not a measurement: usually it is milliseconds.
func answeredAtOnce(t *testing.T, tenant *apitest.Tenant) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), slowness*time.Second)
	defer cancel()
	page, err := tenant.API.Instances.List(ctx, api.ListInstancesParams{})
	if err != nil || len(page.Data) < 40 {
		t.Errorf("whoever asks after 1000 that hung up: %v", err)
	}
	t.Logf("answered after %v", time.Since(began).Round(time.Millisecond))
}

// manyAtOnce sends n requests at the same moment: each needs a connection to the database.
func manyAtOnce(t *testing.T, tenant *apitest.Tenant, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), slowness*5*time.Second)
	defer cancel()
	var all errgroup.Group
	for range n {
		all.Go(func() error { return listOnce(ctx, tenant.API) })
	}
	if err := all.Wait(); err != nil {
		t.Errorf("%d requests at once: %v", n, err)
	}
}

// noConnectionIsHeld looks, from the database's side, for connections that work on something or sit in a
// transaction although nobody asks for anything, and for more connections than the pool may have.
func noConnectionIsHeld(t *testing.T, url string, limit int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	eventually(t, 5*time.Second, func() error {
		var open, busy int
		err := conn.QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE state <> 'idle')
			FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pombal'`).Scan(&open, &busy)
		if err == nil && (open > limit || busy > 0) {
			err = fmt.Errorf("%d connections, of which %d are busy", open, busy)
		}
		return err
	})
}
