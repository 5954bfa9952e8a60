package evolution_test

import (
	"context"

	"github.com/pombal-api/pombal/internal/domain"
)

// finishing tells when a stream is over.
type finishing struct {
	*account
	done func()
}

func (f *finishing) StreamInstances(ctx context.Context, filter domain.InstanceFilter, after *domain.Cursor, each func(*domain.Instance) error) error {
	defer f.done()
	return f.account.StreamInstances(ctx, filter, after, each)
}

// hanging answers nothing any more after some instances.
type hanging struct {
	*account
	after int
}

func (h *hanging) StreamInstances(ctx context.Context, _ domain.InstanceFilter, _ *domain.Cursor, each func(*domain.Instance) error) error {
	for i := range h.after {
		in := h.at(i)
		if err := each(&in); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}
