package evolution

import (
	"context"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// patience bounds each wait for the database within a stream, however long the whole takes. Its
// context does not end when the client hangs up: a query that is cancelled half-way costs its
// database connection, so the stream ends at the next instance instead.
type patience struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

func newPatience(parent context.Context, limit time.Duration) *patience {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	give := func() { cancel(context.DeadlineExceeded) }
	return &patience{ctx: ctx, cancel: cancel, limit: limit, timer: time.AfterFunc(limit, give)}
}

// pause stops the clock: what follows is not the database's time.
func (p *patience) pause() { p.timer.Stop() }

// resume starts the clock anew.
func (p *patience) resume() { p.timer.Reset(p.limit) }

// end frees what the wait holds.
func (p *patience) end() {
	p.timer.Stop()
	p.cancel(nil)
}

// verdict returns err, or says that the database took too long when that is why.
func (p *patience) verdict(err error) error {
	if err != nil && context.Cause(p.ctx) != nil {
		return domain.Unavailable(err)
	}
	return err
}
