package store_test

import (
	"database/sql"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

// Accounts of the benchmarks: number 0 has a fifth of all instances, the rest is spread evenly.
const benchAccounts = 500

func benchAccount(i int) domain.ID { return domain.ID{0: 1, 6: 0x70, 14: byte(i >> 8), 15: byte(i)} }

func BenchmarkEachInstancePostgres(b *testing.B) {
	s, url := openStore(b, store.DialectPostgres)
	conn := must[*pgx.Conn](b)(pgx.Connect(b.Context(), url))
	defer func() { _ = conn.Close(b.Context()) }()
	for i := range benchAccounts {
		benchCreate(b, s, i)
	}
	for _, q := range []string{
		`INSERT INTO instances (account_id, id, created_at, updated_at, connected_at, last_seen_at, version,
			webhook_events, auto_read, auto_typing, integration, desired, status, name, search_text, external_id,
			phone, profile_name, profile_pic_url, webhook_url, token_digest)
		SELECT ('01000000-0000-7000-0000-00000000' || lpad(to_hex(CASE WHEN i % 5 = 0 THEN 0 ELSE 1 + i % 499 END), 4, '0'))::uuid,
			gen_random_uuid(), '2026-01-01'::timestamptz + i * interval '1 second', now(), now(), now(), 1,
			255, false, true, 'web', 'connected', (ARRAY['connected','connected','connecting','disconnected'])[1 + i % 4],
			'Instance number ' || i, 'instance number ' || i, 'ext-' || i, '55119' || i, 'Profile ' || i,
			'https://pps.whatsapp.net/v/t61/' || md5(i::text) || '.jpg', 'https://example.com/hooks/' || i,
			decode(md5(i::text), 'hex')
		FROM generate_series(1, 200000) i`,
		`UPDATE instance_counts c SET n = (SELECT count(*) FROM instances i WHERE i.account_id = c.account_id AND i.status = c.status)`,
		`VACUUM ANALYZE`,
	} {
		if _, err := conn.Exec(b.Context(), q); err != nil {
			b.Fatal(err)
		}
	}
	benchPages(b, s)
	b.Run("floor", func(b *testing.B) { benchFloor(b, url) })
}

// benchFloor is what PostgreSQL and pgx cost without this package.
func benchFloor(b *testing.B, url string) {
	pool := must[*pgxpool.Pool](b)(pgxpool.New(b.Context(), url))
	defer pool.Close()
	const q = `SELECT (SELECT CAST(COALESCE(SUM(n), 0) AS bigint) FROM instance_counts WHERE account_id = $1) AS total,
		account_id,id,created_at,updated_at,connected_at,last_seen_at,webhook_events,auto_read,auto_typing,integration,
		status,name,external_id,reason,phone,profile_name,profile_pic_url,webhook_url
		FROM instances WHERE account_id = $1 ORDER BY created_at, id LIMIT 50`
	b.ReportAllocs()
	defer reportCPU(b)()
	for i := 0; b.Loop(); i++ {
		rows, err := pool.Query(b.Context(), q, [16]byte(benchAccount(1+i%400)))
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for rows.Next() {
			n += len(rows.RawValues()[12])
		}
		if rows.Close(); rows.Err() != nil || n == 0 {
			b.Fatal(n, rows.Err())
		}
	}
}

func BenchmarkEachInstanceSQLite(b *testing.B) {
	s, dir := openStore(b, store.DialectSQLite)
	for i := range benchAccounts {
		benchCreate(b, s, i)
	}
	db := must[*sql.DB](b)(sql.Open("sqlite", dir+"/pombal.db"))
	defer func() { _ = db.Close() }()
	for _, q := range []string{
		`WITH RECURSIVE series (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM series WHERE i < 200000)
		INSERT INTO instances (account_id, id, created_at, updated_at, connected_at, last_seen_at, version,
			webhook_events, auto_read, auto_typing, integration, desired, status, name, search_text, external_id,
			phone, profile_name, profile_pic_url, webhook_url, token_digest)
		SELECT unhex(printf('0100000000007000000000000000%04x', CASE WHEN i % 5 = 0 THEN 0 ELSE 1 + i % 499 END)),
			randomblob(16), 1767225600000 + i * 1000, 1767225600000, 1767225600000, 1767225600000, 1,
			255, false, true, 'web', 'connected',
			CASE i % 4 WHEN 0 THEN 'connecting' WHEN 1 THEN 'disconnected' ELSE 'connected' END,
			'Instance number ' || i, 'instance number ' || i, 'ext-' || i, '55119' || i, 'Profile ' || i,
			'https://pps.whatsapp.net/v/t61/' || hex(randomblob(16)) || '.jpg', 'https://example.com/hooks/' || i,
			randomblob(32)
		FROM series`,
		`UPDATE instance_counts SET n = (SELECT count(*) FROM instances i
			WHERE i.account_id = instance_counts.account_id AND i.status = instance_counts.status)`,
	} {
		if _, err := db.Exec(q); err != nil {
			b.Fatal(err)
		}
	}
	benchPages(b, s)
}

// reportCPU adds what this process computed for each operation, which other load hardly changes.
func reportCPU(b *testing.B) (done func()) {
	before := cpuTime(b)
	return func() { b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N)/1e3, "cpu-µs/op") }
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func benchCreate(b *testing.B, s *store.Store, i int) {
	a := domain.Account{ID: benchAccount(i), Name: fmt.Sprint("account ", i), Plan: "free"}
	if err := s.CreateAccount(b.Context(), &a); err != nil {
		b.Fatal(err)
	}
}

func benchPages(b *testing.B, s *store.Store) {
	for _, bench := range []struct {
		name   string
		huge   bool
		filter domain.InstanceFilter
		page   domain.PageRequest
	}{
		{"first page", false, domain.InstanceFilter{}, domain.PageRequest{Limit: 50}},
		{"filtered page", false, domain.InstanceFilter{Status: domain.StatusConnected}, domain.PageRequest{Limit: 50}},
		{"huge/first page", true, domain.InstanceFilter{}, domain.PageRequest{Limit: 50}},
		{"huge/filtered page", true, domain.InstanceFilter{Status: domain.StatusConnected}, domain.PageRequest{Limit: 50}},
		{"huge/offset 900", true, domain.InstanceFilter{}, domain.PageRequest{Limit: 50, Offset: 900}},
		{"huge/offset 10000", true, domain.InstanceFilter{}, domain.PageRequest{Limit: 50, Offset: 10_000}},
		{"huge/cursor", true, domain.InstanceFilter{}, domain.PageRequest{Limit: 50,
			After: &domain.Cursor{CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}},
		{"huge/past the end", true, domain.InstanceFilter{}, domain.PageRequest{Limit: 50, Offset: 1 << 40}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			defer reportCPU(b)()
			for i := 0; b.Loop(); i++ {
				account := benchAccount(1 + i%400)
				if bench.huge {
					account = benchAccount(0)
				}
				a := must[*store.Account](b)(s.Account(account))
				n := 0
				_, err := a.EachInstance(b.Context(), bench.filter, bench.page, func(v *domain.InstanceView) error {
					n += len(v.Name)
					return nil
				})
				if err != nil || n == 0 && bench.page.Offset < 1<<30 {
					b.Fatal(n, err)
				}
			}
		})
	}
}
