package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pombal-api/pombal/internal/domain"
)

func TestInboundWebhooks_Limit(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		in := addInstance(t, f.mine, domain.Instance{Name: "in"})
		var creators sync.WaitGroup
		var refused atomic.Int64
		for i := range domain.MaxInboundWebhooks + 5 {
			creators.Go(func() {
				w := domain.InboundWebhook{InstanceID: in.ID, Name: "x", TokenDigest: fmt.Append(nil, i)}
				if err := f.mine.CreateInboundWebhook(t.Context(), &w); err != nil {
					wantCode(t, "one more", err, domain.CodeWebhookLimitReached)
					refused.Add(1)
				}
			})
		}
		creators.Wait()
		list, _, err := f.mine.InboundWebhooks(t.Context(), domain.PageRequest{Limit: 100})
		if err != nil || refused.Load() != 5 || len(list) != domain.MaxInboundWebhooks {
			t.Errorf("%d refused, there are %d, %v", refused.Load(), len(list), err)
		}
		again := domain.InboundWebhook{ID: list[0].ID, InstanceID: in.ID, Name: "again", TokenDigest: []byte("again")}
		if err := f.mine.CreateInboundWebhook(t.Context(), &again); err != nil || again.Name != "x" {
			t.Errorf("created again: %+v, %v", again, err)
		}
	})
}
