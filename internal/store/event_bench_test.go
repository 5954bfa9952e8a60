package store_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/testkit"
)

// What it costs to publish an event of 300 bytes for one webhook: 32 publishers, each waiting for the commit, on one
// account and on many.
func BenchmarkPublishEvents(b *testing.B) {
	for _, engine := range testkit.Engines() {
		for _, accounts := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/accounts=%d", engine.Name, accounts), func(b *testing.B) { benchPublish(b, engine.Name, accounts) })
		}
	}
}

func benchPublish(b *testing.B, engine string, n int) {
	s, _ := openStore(b, engine)
	accounts := addBenchAccounts(b, s, n)
	for _, a := range accounts {
		addHook(b, a, "https://a")
	}
	data := append(append([]byte(`{"x":"`), bytes.Repeat([]byte("x"), 300)...), `"}`...)
	defer reportCPU(b)()
	var next atomic.Int64
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		account := accounts[int(next.Add(1))%n]
		instance := domain.NewID(at(0))
		for pb.Next() {
			e := domain.Event{InstanceID: instance, Type: domain.EventMessageSent, Data: data}
			if err := account.PublishEvents(b.Context(), []domain.Event{e}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// What it costs to read events of one of 32 accounts, when SQLite has as many that are not in their order yet as there can be:
// what is new, as streams do, a page, and one that looks for a kind that there is not.
func BenchmarkReadEvents(b *testing.B) {
	for _, engine := range testkit.Engines() {
		s, _ := openStore(b, engine.Name)
		accounts := addBenchAccounts(b, s, 32)
		e := domain.Event{InstanceID: domain.NewID(at(0)), Type: domain.EventMessageSent, Data: bytes.Repeat([]byte("x"), 300)}
		for range 127 {
			for _, a := range accounts {
				publishAll(b, a, slices.Repeat([]domain.Event{e}, 8)...)
			}
		}
		publishAll(b, accounts[0], slices.Repeat([]domain.Event{e}, 127)...)
		const last = 127 * 8
		for name, read := range map[string]struct {
			after  int64
			limit  int
			filter domain.EventFilter
		}{
			"new":    {last - 1, 100, domain.EventFilter{}},
			"page":   {last / 2, 100, domain.EventFilter{}},
			"search": {last / 2, 100, domain.EventFilter{Types: domain.EventMessageRead}},
		} {
			b.Run(engine.Name+"/"+name, func(b *testing.B) {
				for b.Loop() {
					found(b, accounts[1], read.after, read.limit, read.filter)
				}
			})
		}
	}
}

// addBenchAccounts makes accounts.
func addBenchAccounts(b *testing.B, s *store.Store, n int) []*store.Account {
	b.Helper()
	accounts := make([]*store.Account, n)
	for i := range accounts {
		a := domain.Account{Name: "bench", Plan: "free"}
		if err := s.CreateAccount(b.Context(), &a); err != nil {
			b.Fatal(err)
		}
		accounts[i] = must[*store.Account](b)(s.Account(a.ID))
	}
	return accounts
}
