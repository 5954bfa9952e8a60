package webhook_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/pombal-api/pombal/internal/webhook"
)

// What Control sees is what a name was resolved to, whatever the name was.
func TestURLPolicy_Control(t *testing.T) {
	t.Parallel()
	public, here := webhook.NewURLPolicy(), webhook.NewURLPolicy(webhook.Loopback()...)
	tests := []struct {
		network, address string
		public, here     bool
	}{
		{"tcp4", "93.184.216.34:443", true, true},
		{"tcp6", "[2606:4700::1111]:1080", true, true},
		{"tcp4", "127.0.0.1:80", false, true},
		{"tcp4", "127.8.8.8:6379", false, true},
		{"tcp4", "0.0.0.0:80", false, false},
		{"tcp4", "10.1.2.3:80", false, false},
		{"tcp4", "172.31.255.255:80", false, false},
		{"tcp4", "192.168.0.1:80", false, false},
		{"tcp4", "100.64.0.1:80", false, false},
		{"tcp6", "[::1]:80", false, true},
		{"tcp6", "[::]:80", false, false},
		{"tcp6", "[fd12:3456::1]:80", false, false},
		{"tcp6", "[::ffff:127.0.0.1]:80", false, true},
		{"tcp6", "[64:ff9b::7f00:1]:80", false, false},
		{"tcp6", "[2002:7f00:1::]:80", false, false},
		{"tcp4", "169.254.169.254:80", false, false},
		{"tcp4", "169.254.170.2:80", false, false},
		{"tcp4", "168.63.129.16:32526", false, false},
		{"tcp4", "100.100.100.200:80", false, false},
		{"tcp4", "192.0.0.192:80", false, false},
		{"tcp6", "[fd00:ec2::254]:80", false, false},
		{"tcp6", "[fd20:ce::254]:80", false, false},
		{"tcp6", "[fe80::1%eth0]:80", false, false},
		{"tcp6", "[fd00:ec2::254%1]:80", false, false},
		{"tcp6", "[::ffff:169.254.169.254]:80", false, false},
		{"tcp6", "[64:ff9b::a9fe:a9fe]:80", false, false},
		{"udp4", "93.184.216.34:53", false, false},
		{"unix", "/run/docker.sock", false, false},
		{"tcp", "example.com:80", false, false},
		{"tcp4", "2130706433:80", false, false},
		{"tcp4", "", false, false},
	}
	for _, tt := range tests {
		if err := public.Control(tt.network, tt.address, nil); (err == nil) != tt.public {
			t.Errorf("public policy, %s %s: %v", tt.network, tt.address, err)
		}
		if err := here.Control(tt.network, tt.address, nil); (err == nil) != tt.here {
			t.Errorf("policy for this machine, %s %s: %v", tt.network, tt.address, err)
		}
	}
}

// A name that looks harmless and leads here reaches nobody.
func TestURLPolicy_ControlGuardsADialer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, allowed := range [][]netip.Prefix{nil, webhook.Loopback()} {
		dialer := net.Dialer{Control: webhook.NewURLPolicy(allowed...).Control}
		conn, err := dialer.DialContext(t.Context(), "tcp", net.JoinHostPort("localhost", port))
		if (err == nil) != (allowed != nil) {
			t.Errorf("allowed %v: %v", allowed, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}
