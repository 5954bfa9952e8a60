package soak

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/pkg/api"
)

// TestDatabaseOutage takes the database away from two nodes. What is connected stays connected, and soon after
// the end every state is right, those included that have changed meanwhile.
func TestDatabaseOutage(t *testing.T) {
	t.Parallel()
	for what, takeAway := range map[string]func(*testkit.PrivatePostgres){
		"crash": (*testkit.PrivatePostgres).Kill9,
		"stop":  (*testkit.PrivatePostgres).Stop,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			// What was committed survives the death of the server's processes without fsync as well. With it, a server that
			// starts listens for as long as a busy disk keeps it waiting (16 s were seen) before it answers anybody, and
			// nodes close their connections when a database is silent instead of absent: that is TestNodeCutOff.
			pg := testkit.NewPrivatePostgres(t, "fsync = off")
			s := newSite(t, pg.URL)
			s.start(t, 2)
			subjects := s.populate(t, many(10, 40))
			s.awaitBalance(t, subjects)
			before := s.connections()
			logins := s.wa.Stats().Logins

			takeAway(pg)
			s.suffer(t, subjects, soak(5*time.Second, 30*time.Second))
			pg.Start()
			began := time.Now()
			s.mustBeTrue(t, 10*time.Second, subjects)
			t.Logf("all was right %v after the database was back", time.Since(began).Round(10*time.Millisecond))

			unlinked, cut := subjects[0].number, subjects[1].number
			after := s.connections()
			for _, number := range []string{unlinked, cut} {
				delete(before, number)
				delete(after, number)
			}
			if !maps.Equal(before, after) {
				t.Errorf("the connections were\n%v\nand are\n%v", before, after)
			}
			if n := s.wa.Stats().Logins - logins; n != 1 {
				t.Errorf("there were %d logins, want 1: that of the connection that was cut", n)
			}
			s.checkUse(t, subjects)
			s.logCalls(t)
		})
	}
}

// connections says when each phone's device has logged in, and from where.
func (s *site) connections() map[string]string {
	list := map[string]string{}
	for _, o := range s.online() {
		list[o.phone] = fmt.Sprintf("%s %v", o.process, o.since)
	}
	return list
}

// awaitBalance waits until all nodes hold something and everything is connected.
func (s *site) awaitBalance(tb testing.TB, subjects []*subject) {
	tb.Helper()
	eventually(tb, lease, func() error {
		held := map[string]int{}
		for _, o := range s.online() {
			held[o.process]++
		}
		for _, n := range s.nodes {
			if held[n.life()] < len(subjects)/len(s.nodes)/2 {
				return fmt.Errorf("the nodes hold %v", held)
			}
		}
		return nil
	})
	s.mustBeTrue(tb, lease, subjects)
}

// suffer lasts as long as the outage. In its middle one phone unlinks its device and one connection is cut.
func (s *site) suffer(t *testing.T, subjects []*subject, total time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), total)
	defer cancel()
	var asking sync.WaitGroup
	for _, n := range s.nodes {
		client := s.on(t, n)
		for what, ask := range map[string]func() error{
			"status": func() error { _, err := client.Instances.Status(ctx, subjects[2].id); return err },
			"list":   func() error { _, err := client.Instances.List(ctx, api.ListInstancesParams{}); return err },
			"connect": func() error {
				_, err := client.Instances.Connect(ctx, subjects[2].id, api.ConnectInstance{})
				return err
			},
			"disconnect": func() error { return client.Instances.Disconnect(ctx, subjects[2].id, api.DisconnectInstance{}) },
		} {
			asking.Go(func() {
				for pause(ctx, 200*time.Millisecond) {
					if err := ask(); ctx.Err() == nil {
						s.refused(t, "during the outage, "+what, err)
					}
				}
			})
		}
	}
	pause(ctx, total/2)
	if err := subjects[0].phone.Unlink(subjects[0].phone.Devices()[0].ID); err != nil {
		t.Error(err)
	}
	subjects[0].setLinked(false)
	s.wa.Faults().Cut(subjects[1].number)
	asking.Wait()
}

// refused wants an answer, and a 503.
func (s *site) refused(tb testing.TB, op string, err error) {
	tb.Helper()
	s.note(op, err)
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != "unavailable" {
		tb.Errorf("%s: %v", op, err)
	}
}

// checkUse disconnects an instance and pairs it again.
func (s *site) checkUse(t *testing.T, subjects []*subject) {
	t.Helper()
	x, ctx := subjects[0], t.Context()
	a, b := s.on(t, s.nodes[0]), s.on(t, s.nodes[1])
	res, err := a.Instances.Connect(ctx, x.id, api.ConnectInstance{})
	if err == nil {
		err = link(ctx, x.phone, res)
	}
	if err != nil {
		t.Fatalf("pair again: %v", err)
	}
	x.setLinked(true)
	s.mustBeTrue(t, 10*time.Second, subjects)
	if err := b.Instances.Disconnect(ctx, x.id, api.DisconnectInstance{}); err != nil {
		t.Errorf("disconnect: %v", err)
	}
	x.setLinked(false)
	s.mustBeTrue(t, 10*time.Second, subjects)
}
