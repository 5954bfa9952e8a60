package webhook

import (
	"context"
	"time"
)

const (
	mindEvery = time.Minute
	mindLimit = 100
)

// warnAfter is for how long a webhook has accepted nothing when its account is told, the first and the second time.
func warnAfter() [2]time.Duration { return [...]time.Duration{24 * time.Hour, 3 * 24 * time.Hour} }

// mind warns the accounts whose webhooks accept nothing, until ctx ends. Every worker does; the store knows what has
// been told already. A webhook is disabled by an attempt that fails, not here: so none is for having been idle.
func (w *Worker) mind(ctx context.Context) {
	tick := time.NewTicker(mindEvery)
	defer tick.Stop()
	for {
		if err := w.warn(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Log.Warn("cannot warn of webhooks that fail; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *Worker) warn(ctx context.Context) error {
	for i, after := range warnAfter() {
		now := time.Now()
		list, err := w.cfg.Store.FailingWebhooks(ctx, now.Add(-after), i+1, mindLimit)
		if err != nil {
			return err
		}
		for _, f := range list {
			if err := w.cfg.Store.WarnWebhook(ctx, f, now); err != nil {
				return err
			}
		}
	}
	return nil
}
