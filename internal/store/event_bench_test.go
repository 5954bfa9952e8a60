package store_test

import (
	"bytes"
	"fmt"
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
	accounts := make([]*store.Account, n)
	for i := range accounts {
		a := domain.Account{Name: "bench", Plan: "free"}
		if err := s.CreateAccount(b.Context(), &a); err != nil {
			b.Fatal(err)
		}
		accounts[i] = must[*store.Account](b)(s.Account(a.ID))
		addHook(b, accounts[i], "https://a")
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
