package soak

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

// checkTruth compares what every node says, what the database says, and what the phones and the fake WhatsApp
// know. It fails on the first difference.
func (s *site) checkTruth(ctx context.Context, subjects []*subject) error {
	logins := map[string]int{}
	for _, o := range s.online() {
		logins[o.phone]++
	}
	jids, err := s.jids(ctx)
	if err != nil {
		return err
	}
	for _, x := range subjects {
		linked, _ := x.state()
		want, links := api.LiveStatusDisconnected, 0
		if linked {
			want, links = api.LiveStatusConnected, 1
		}
		if got := logins[x.number]; got != links {
			return fmt.Errorf("%s is logged in %d times, want %d", x.id, got, links)
		}
		if err := x.checkDevices(jids[x.id], linked); err != nil {
			return err
		}
		for _, n := range s.nodes {
			client, err := s.client(n.address())
			if err != nil {
				return err
			}
			report, err := client.Instances.Status(ctx, x.id)
			s.note("status", err)
			if err != nil {
				return err
			}
			if report.Status != want {
				return fmt.Errorf("%s is %s for node %s, want %s", x.id, report.Status, n.name, want)
			}
		}
	}
	return nil
}

// checkDevices compares the devices that the phone lists with the one that the instance has.
func (x *subject) checkDevices(jid string, linked bool) error {
	user, _, _ := strings.Cut(jid, "@")
	found := false
	for _, d := range x.phone.Devices() {
		switch {
		case user == fmt.Sprintf("%s:%d", x.number, d.ID):
			found = true
		case x.left == 0:
			return fmt.Errorf("the phone of %s lists device %d, the instance is %q", x.id, d.ID, jid)
		}
	}
	switch {
	case linked && !found:
		return fmt.Errorf("%s has lost its pairing: its device is %q, the phone lists %+v", x.id, jid, x.phone.Devices())
	case !linked && jid != "":
		return fmt.Errorf("%s is disconnected and has the device %q", x.id, jid)
	}
	return nil
}

// strays counts the devices that phones list after a logout that did not get through.
func strays(subjects []*subject) (n int) {
	for _, x := range subjects {
		n += len(x.phone.Devices())
		if linked, _ := x.state(); linked {
			n--
		}
	}
	return n
}

// jids asks the database for the devices of all instances.
func (s *site) jids(ctx context.Context) (map[string]string, error) {
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, "SELECT instance_id::text, coalesce(device_jid, '') FROM instance_links")
	if err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	jids := map[string]string{}
	var id, jid string
	_, err = pgx.ForEachRow(rows, []any{&id, &jid}, func() error {
		parsed, bad := domain.ParseUUID(id)
		jids[parsed.Prefixed(domain.PrefixInstance)] = jid
		return bad
	})
	return jids, errors.Join(err, conn.Close(ctx))
}

// logCalls lists what calls came to.
func (s *site) logCalls(tb testing.TB) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for what, n := range s.calls {
		lines = append(lines, fmt.Sprintf("%s: %d", what, n))
	}
	slices.Sort(lines)
	tb.Logf("calls: %s", strings.Join(lines, ", "))
}
