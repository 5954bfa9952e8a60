package soak

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/pkg/api"
)

// awaitTruth waits until all is as it should be, and explains what is not.
func (s *site) awaitTruth(ctx context.Context, within time.Duration, subjects []*subject) error {
	var wrong *subject
	err := retry(ctx, within, func() (err error) {
		wrong, err = s.checkTruth(ctx, subjects)
		return err
	})
	if err != nil && wrong != nil {
		return fmt.Errorf("%w\n%s", err, s.explain(context.WithoutCancel(ctx), wrong))
	}
	return err
}

// mustBeTrue is awaitTruth for those who cannot go on without.
func (s *site) mustBeTrue(tb testing.TB, within time.Duration, subjects []*subject) {
	tb.Helper()
	if err := s.awaitTruth(tb.Context(), within, subjects); err != nil {
		tb.Fatal(err)
	}
}

// checkTruth compares what every node says, what the database says, and what the phones and the fake WhatsApp
// know. It returns the first instance of which they differ.
func (s *site) checkTruth(ctx context.Context, subjects []*subject) (*subject, error) {
	logins := map[string]int{}
	for _, o := range s.online() {
		logins[o.phone]++
	}
	jids, err := s.jids(ctx)
	if err != nil {
		return nil, err
	}
	for _, x := range subjects {
		if err := s.checkOne(ctx, x, logins[x.number], jids[x.id]); err != nil {
			return x, err
		}
	}
	return nil, nil
}

func (s *site) checkOne(ctx context.Context, x *subject, logins int, jid string) error {
	linked, _ := x.state()
	want, links := api.LiveStatusDisconnected, 0
	if linked {
		want, links = api.LiveStatusConnected, 1
	}
	if logins != links {
		return fmt.Errorf("%s is logged in %d times, want %d", x.id, logins, links)
	}
	if err := x.checkDevices(jid, linked); err != nil {
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

// explain tells what has happened to an instance.
func (s *site) explain(ctx context.Context, x *subject) string {
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = conn.Close(ctx) }() // the test has failed anyway
	id, _ := domain.ParsePrefixed(domain.PrefixInstance, x.id)
	rows, err := conn.Query(ctx, `SELECT concat_ws(' ', to_char(at, 'HH24:MI:SS.MS'), 'by', process, 'epoch', epoch, 'held', node_id IS NOT NULL,
			'wanted', wanted, desired, 'wish', wish, 'acted', acted, method, 'device', coalesce(device_jid, '-'),
			'code', right(code, 8), 'until', to_char(code_expires_at, 'HH24:MI:SS'))
		FROM (SELECT * FROM soak_history WHERE instance_id = $1 ORDER BY at DESC LIMIT 40) h ORDER BY at`, id.String())
	if err != nil {
		return err.Error()
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err.Error()
	}
	for _, c := range s.wa.Connections() {
		if c.Phone == x.number || c.State == fakewa.StatePairing {
			lines = append(lines, fmt.Sprintf("%s %s %d since %s from %s", c.State, c.Phone, c.Device, c.Since.Format("15:04:05.000"), c.Remote))
		}
	}
	return fmt.Sprintf("%s of %s, whose phone lists %+v, at %s:\n%s", x.id, x.number, x.phone.Devices(),
		time.Now().UTC().Format("15:04:05.000"), strings.Join(lines, "\n"))
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
