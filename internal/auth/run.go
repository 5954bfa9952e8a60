package auth

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	pollEvery   = 250 * time.Millisecond
	pollTimeout = 900 * time.Millisecond

	// trustFor is how old the last look at the changes may be for anything to be served from memory. It
	// bounds how long a revoked key works anywhere.
	trustFor = time.Second

	flushEvery  = 5 * time.Second
	stopTimeout = 3 * time.Second

	neverSeen = math.MinInt64 / 2
)

// Run follows the changes of keys and accounts, records when keys were last used, and renews the signing
// keys, until ctx ends; then it records the last uses and returns nil. It must run once, for as
// long as the Authenticator is used.
func (a *Authenticator) Run(ctx context.Context) error {
	var background sync.WaitGroup
	background.Go(func() { a.housekeep(ctx) }) // apart, so that a slow write never delays the sight of a revocation
	defer background.Wait()

	ticks := time.NewTicker(pollEvery)
	defer ticks.Stop()
	for ctx.Err() == nil {
		a.poll(ctx)
		select {
		case <-ticks.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// Forget drops what is in memory about the accounts at once, for a change made by this process. Other
// processes, and this one without the call, see a change within a second.
func (a *Authenticator) Forget(accounts ...domain.ID) {
	a.byLookup.evict(accounts)
	a.byID.evict(accounts)
	a.accounts.evict(accounts)
}

// trusted reports whether every change up to trustFor ago has been seen.
func (a *Authenticator) trusted(now time.Time) bool {
	return now.Sub(a.epoch)-time.Duration(a.seenAt.Load()) < trustFor
}

// poll drops what has changed since the last poll.
func (a *Authenticator) poll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	began := a.now()
	accounts, version, complete, err := a.store.AuthChanges(ctx, a.version)
	if err != nil {
		a.reportPoll(ctx, err)
		return
	}
	if !complete || version < a.version { // the latter: the database was restored from a copy
		a.byLookup.reset()
		a.byID.reset()
		a.accounts.reset()
	} else if len(accounts) > 0 {
		a.Forget(accounts...)
	}
	a.version = version
	a.seenAt.Store(int64(began.Sub(a.epoch)))
	a.reportPoll(ctx, nil)
}

// reportPoll logs the first failure of a row and the recovery.
func (a *Authenticator) reportPoll(ctx context.Context, err error) {
	lost := err != nil
	if lost == a.pollLost || errors.Is(ctx.Err(), context.Canceled) { // stopping is not losing
		return
	}
	a.pollLost = lost
	if lost {
		a.log.LogAttrs(ctx, slog.LevelWarn, "cannot see changes of keys and accounts: every call now reads them from the database",
			slog.Any("error", err))
		return
	}
	a.log.LogAttrs(ctx, slog.LevelInfo, "changes of keys and accounts are seen again")
}

// housekeep does what may take its time. Run waits for it.
func (a *Authenticator) housekeep(ctx context.Context) {
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	sweep := time.NewTicker(foundFor)
	defer sweep.Stop()
	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	for {
		select {
		case <-flush.C:
			a.flushUsage(ctx)
		case <-sweep.C:
			a.sweep()
		case <-renew.C:
			a.renewSigningKeys(ctx)
		case <-ctx.Done():
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			a.flushUsage(stopping)
			return
		}
	}
}

func (a *Authenticator) sweep() {
	now := a.now()
	a.byLookup.sweep(now)
	a.byID.sweep(now)
	a.accounts.sweep(now)
	a.tokens.sweep(now)
}

func (a *Authenticator) flushUsage(ctx context.Context) {
	if err := a.usage.flush(ctx, a.store, a.now()); err != nil {
		a.log.LogAttrs(ctx, slog.LevelWarn, "cannot record when keys were last used; trying again", slog.Any("error", err))
	}
}

// renewSigningKeys learns of keys that other nodes made, and makes one when the newest is old.
func (a *Authenticator) renewSigningKeys(ctx context.Context) {
	if err := a.ring.renew(ctx); err != nil {
		a.log.LogAttrs(ctx, slog.LevelWarn, "cannot renew the keys that sign tokens; trying again", slog.Any("error", err))
	}
}
