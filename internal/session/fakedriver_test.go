package session

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// fakeDriver opens links to a WhatsApp that does what a test says. One is shared by all nodes of a test.
type fakeDriver struct {
	mu    sync.Mutex
	opens []time.Time
	links map[domain.ID][]*fakeLink // every link ever opened, by instance
	paces map[domain.ID]*fakeLink   // the logged-in one
	fail  error                     // of Open
	// answer is what happens to an attempt, after login; nil logs in, or shows a QR code.
	answer func(l *fakeLink)
	// login is how long a login takes.
	login  time.Duration
	mute   bool // pings are not answered
	logout func(ctx context.Context) error
	// forgotten are what Forget was called for; unforgettable is what it fails with.
	forgotten     []domain.LinkTarget
	unforgettable error
	// kept are the pairings of Paired, without those that are forgotten.
	kept []domain.LinkTarget
}

func newFakeDriver() *fakeDriver {
	return &fakeDriver{links: map[domain.ID][]*fakeLink{}, paces: map[domain.ID]*fakeLink{}, login: 50 * time.Millisecond}
}

type fakeLink struct {
	d      *fakeDriver
	target domain.LinkTarget
	sink   domain.LinkSink
	stop   context.CancelFunc
	done   sync.WaitGroup
	opened time.Time

	mu       sync.Mutex
	closed   time.Time
	loggedIn bool
	out      bool
}

func (d *fakeDriver) Open(ctx context.Context, t domain.LinkTarget, sink domain.LinkSink) (Link, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opens = append(d.opens, time.Now())
	if d.fail != nil {
		return nil, d.fail
	}
	ctx, stop := context.WithCancel(ctx)
	l := &fakeLink{d: d, target: t, sink: sink, stop: stop, opened: time.Now()}
	d.links[t.Instance] = append(d.links[t.Instance], l)
	answer, login := d.answer, d.login
	l.done.Go(func() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(login):
		}
		if answer != nil {
			answer(l)
		} else {
			l.behave()
		}
	})
	return l, nil
}

func (d *fakeDriver) Forget(_ context.Context, t domain.LinkTarget) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unforgettable == nil {
		t.Held = nil
		d.forgotten = append(d.forgotten, t)
	}
	return d.unforgettable
}

func (d *fakeDriver) Paired(context.Context) (list []domain.LinkTarget, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.kept {
		if !slices.ContainsFunc(d.forgotten, func(f domain.LinkTarget) bool { return f.Instance == t.Instance }) {
			list = append(list, t)
		}
	}
	return list, d.fail
}

// behave is the ordinary course.
func (l *fakeLink) behave() {
	if l.target.JID == "" {
		l.emit(domain.LinkEvent{Kind: domain.LinkQR, Text: "qr", ExpiresAt: time.Now().Add(20 * time.Second)})
		return
	}
	l.connected(l.target.JID)
}

func (l *fakeLink) connected(jid string) {
	l.d.mu.Lock()
	before := l.d.paces[l.target.Instance]
	l.d.paces[l.target.Instance] = l
	l.d.mu.Unlock()
	if before != nil && before != l { // WhatsApp keeps one connection of a device
		before.down(domain.ReasonReplaced)
	}
	l.mu.Lock()
	l.loggedIn = true
	l.mu.Unlock()
	l.emit(domain.LinkEvent{Kind: domain.LinkConnected, JID: jid, Phone: "5511", ProfileName: "Ana"})
}

// pair is a phone that takes the code.
func (l *fakeLink) pair(jid string) {
	l.emit(domain.LinkEvent{Kind: domain.LinkPaired, JID: jid, Phone: "5511"})
	l.connected(jid)
}

func (l *fakeLink) down(reason domain.ReasonCode) { l.event(domain.LinkDown, reason, 0) }

func (l *fakeLink) event(kind domain.LinkEventKind, reason domain.ReasonCode, retryAfter time.Duration) {
	l.mu.Lock()
	l.loggedIn = false
	l.mu.Unlock()
	l.emit(domain.LinkEvent{Kind: kind, Reason: reason, RetryAfter: retryAfter})
}

func (l *fakeLink) emit(e domain.LinkEvent) {
	l.mu.Lock()
	closed := !l.closed.IsZero()
	l.mu.Unlock()
	if !closed {
		l.sink(e)
	}
}

func (l *fakeLink) RequestPairingCode(ctx context.Context, phone string) error {
	select {
	case <-time.After(2 * l.d.login):
	case <-ctx.Done():
		return ctx.Err()
	}
	if _, in, _ := l.at(); in {
		return errors.New("paired already")
	}
	l.emit(domain.LinkEvent{Kind: domain.LinkPairingCode, Text: "CODE-" + phone, ExpiresAt: time.Now().Add(time.Minute)})
	return nil
}

func (l *fakeLink) Ping(ctx context.Context) (time.Duration, error) {
	l.d.mu.Lock()
	mute := l.d.mute
	l.d.mu.Unlock()
	if mute {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return 30 * time.Millisecond, nil
}

func (l *fakeLink) Logout(ctx context.Context) error {
	l.d.mu.Lock()
	logout := l.d.logout
	l.d.mu.Unlock()
	l.mu.Lock()
	l.out = true
	l.mu.Unlock()
	if logout != nil {
		return logout(ctx)
	}
	return nil
}

func (l *fakeLink) Close() {
	l.stop()
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.IsZero() {
		l.closed = time.Now()
	}
}

// last returns the latest link of an instance, nil if there is none.
func (d *fakeDriver) last(id domain.ID) *fakeLink {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.links[id]); n > 0 {
		return d.links[id][n-1]
	}
	return nil
}

// at returns when a link was closed, whether it is logged in, and whether it was logged out.
func (l *fakeLink) at() (closed time.Time, in, out bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed, l.loggedIn, l.out
}

// nth returns one of the links of an instance.
func (d *fakeDriver) nth(id domain.ID, n int) *fakeLink {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.links[id][n]
}

// attempts returns how many links an instance had.
func (d *fakeDriver) attempts(id domain.ID) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.links[id])
}

func (d *fakeDriver) set(do func(*fakeDriver)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do(d)
}

// open returns how many links of an instance are not closed.
func (d *fakeDriver) open(id domain.ID) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.links[id] {
		l.mu.Lock()
		if l.closed.IsZero() {
			n++
		}
		l.mu.Unlock()
	}
	return n
}

var errTimeout = errors.New("no answer")
