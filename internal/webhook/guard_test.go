package webhook_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/webhook"
)

// forbidden are addresses of every kind that no customer may make us call.
func forbidden() []string {
	return []string{
		"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", // this machine, and its network
		"100.64.0.1", "169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192", // carriers, clouds
		"192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "192.88.99.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		"::1", "::", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1",
		"2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "100::1",
	}
}

// nameserver answers questions for addresses, each time with the next of a list.
type nameserver struct {
	mu      sync.Mutex
	answers map[string][]netip.Addr
	asked   atomic.Int32
}

// resolver asks the nameserver without a network.
func (n *nameserver) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go n.serve(server)
		return client, nil
	}}
}

// serve answers as over TCP: each message behind its length.
func (n *nameserver) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	for {
		var size [2]byte
		if _, err := readFull(conn, size[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := readFull(conn, question); err != nil {
			return
		}
		answer := n.answer(question)
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

func readFull(conn net.Conn, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = conn.Read(b[n:])
		n += m
	}
	return n, err
}

func (n *nameserver) answer(question []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	n.mu.Lock()
	defer n.mu.Unlock()
	name := strings.ToLower(q.Name.String())
	if list := n.answers[name]; len(list) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	} else if a := list[0]; a.Is4() == (q.Type == dnsmessage.TypeA) {
		header := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 0}
		if a.Is4() {
			m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: a.As4()}}}
		} else {
			m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}}}
		}
		if len(list) > 1 {
			n.answers[name] = list[1:]
		}
		n.asked.Add(1)
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}

// trap counts who connects to any address of this machine at its port.
func trap(t *testing.T) (port string, connections *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	connections = new(atomic.Int32)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, failed := l.Accept()
			if failed != nil {
				return
			}
			connections.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// The trap works.
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Read(make([]byte, 1))
	_ = conn.Close()
	if connections.Swap(0) != 1 {
		t.Fatal("the trap does not see connections")
	}
	return port, connections
}

// No address that is not public is called, be it written in the URL or what a name leads to.
func TestClient_CallsNoForbiddenAddress(t *testing.T) {
	t.Parallel()
	port, connections := trap(t)
	names := &nameserver{answers: map[string][]netip.Addr{}}
	literal := newClient(t, webhook.NewURLPolicy())
	named := webhook.NewClientResolving(webhook.NewURLPolicy(), unsealed, names.resolver())
	// Who allows one private network has not allowed the others.
	allowing := webhook.NewClientResolving(webhook.NewURLPolicy(netip.MustParsePrefix("10.99.0.0/16")), unsealed, names.resolver())
	t.Cleanup(named.Close)
	t.Cleanup(allowing.Close)
	for _, text := range forbidden() {
		addr := netip.MustParseAddr(text)
		names.mu.Lock()
		names.answers["hooks.example.com."] = []netip.Addr{addr}
		names.mu.Unlock()
		host := text
		if addr.Is6() {
			host = "[" + text + "]"
		}
		for name, try := range map[string]struct {
			client *webhook.Client
			to     string
		}{
			"in the URL":                {literal, "http://" + host + ":" + port + "/"},
			"behind a name":             {named, "http://hooks.example.com:" + port + "/"},
			"behind a name, TLS":        {named, "https://hooks.example.com:" + port + "/"},
			"beside an allowed network": {allowing, "http://hooks.example.com:" + port + "/"},
		} {
			a, err := try.client.Try(t.Context(), newHook(try.to), newEvent(`{}`))
			if err != nil || a.Failure != domain.FailureBlocked {
				t.Errorf("%s %s: %q, %v", text, name, a.Failure, err)
			}
		}
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	if n := names.asked.Load(); int(n) < 3*len(forbidden()) {
		t.Errorf("names were resolved %d times only", n)
	}
}

// Whatever spelling of an address a resolver may take for one.
func TestClient_CallsNoOddSpelling(t *testing.T) {
	t.Parallel()
	port, connections := trap(t)
	for _, policy := range []*webhook.URLPolicy{
		webhook.NewURLPolicy(), webhook.NewURLPolicy(netip.MustParsePrefix("10.99.0.0/16")),
	} {
		c := newClient(t, policy)
		for _, host := range []string{
			"2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "127.1", "127.0.1", "127.0.0.1.", "127。0。0。1", "１２７.0.0.1", "ⓛocalhost",
			"localhost", "LOCALHOST", "localhost.", "app.localhost", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::1%25lo]", "[::127.0.0.1]",
			"0", "%31%32%37.0.0.1", "127.0.0.1%00.example.com", "user@127.0.0.1", "example.com@127.0.0.1", "127.0.0.1\\@example.com",
		} {
			a, err := c.Try(t.Context(), newHook("http://"+host+":"+port+"/"), newEvent(`{}`))
			if err != nil || a.Failure != domain.FailureBlocked && a.Failure != domain.FailureName {
				t.Errorf("%s: %q, %v", host, a.Failure, err)
			}
		}
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// A name that has led to a permitted address, and then leads elsewhere, is judged anew.
func TestClient_JudgesEveryResolution(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip("there is one loopback address on this machine:", err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	var requests, intrusions atomic.Int32
	outside := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set("Connection", "close")
	})}
	inside := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { intrusions.Add(1) })}
	var serving sync.WaitGroup
	serving.Go(func() { _ = outside.Serve(l) })
	serving.Go(func() { _ = inside.Serve(inner) })
	t.Cleanup(func() { _ = outside.Close(); _ = inside.Close(); serving.Wait() })

	names := &nameserver{answers: map[string][]netip.Addr{
		"rebind.example.com.": {netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")},
	}}
	c := webhook.NewClientResolving(webhook.NewURLPolicy(netip.MustParsePrefix("127.0.0.2/32")), unsealed, names.resolver())
	t.Cleanup(c.Close)
	hook := newHook("http://rebind.example.com:" + port + "/")
	var seen []domain.FailureCode
	for range 4 {
		a, err := c.Try(t.Context(), hook, newEvent(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, a.Failure)
	}
	if last := seen[len(seen)-1]; seen[0] != "" || last != domain.FailureBlocked || requests.Load() == 0 || intrusions.Load() != 0 {
		t.Errorf("attempts ended with %q; %d requests outside, %d inside", seen, requests.Load(), intrusions.Load())
	}
}

// What is allowed explicitly is called, except what tells machines their secrets.
func TestURLPolicy_Allowed(t *testing.T) {
	t.Parallel()
	p := webhook.NewURLPolicy(netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fd00::/8"))
	for address, want := range map[string]bool{
		"10.1.2.3:80": true, "10.2.0.1:80": false, "[::ffff:10.1.2.3]:80": true, "127.0.0.1:80": false, "169.254.169.254:80": false,
		"[fd12::1]:80": true, "[fd00:ec2::254]:80": false, "93.184.216.34:80": true,
	} {
		if err := p.Control("tcp", address, nil); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
	}
	for to, want := range map[string]bool{
		"http://10.1.2.3/": true, "http://10.2.0.1/": false, "http://hooks.internal/": true, "http://hooks/": true, "http://example.com:22/": false,
	} {
		if err := p.Check(to); (err == nil) != want {
			t.Errorf("%s: %v", to, err)
		}
	}
}
