package webhook_test

import (
	"strings"
	"testing"

	"github.com/pombal-api/pombal/internal/webhook"
)

func TestURLPolicy(t *testing.T) {
	t.Parallel()
	public, here := webhook.NewURLPolicy(), webhook.NewURLPolicy(webhook.Loopback()...)
	tests := []struct {
		url          string
		public, here bool
	}{
		{"https://example.com/hook?a=b", true, true},
		{"http://hooks.example.com.:8443/", true, true},
		{"https://93.184.216.34/x", true, true},
		{"https://[2606:4700::1111]/x", true, true},
		{"http://localhost:3000/x", false, true},
		{"http://app.localhost/x", false, true},
		{"http://127.0.0.1/x", false, true},
		{"http://10.1.2.3/x", false, false},
		{"http://169.254.169.254/latest/meta-data", false, false},
		{"http://168.63.129.16/", false, false},
		{"http://[::1]/", false, true},
		{"http://[::ffff:10.0.0.1]/", false, false},
		{"http://[fe80::1%25eth0]/", false, false},
		{"http://[fd00:ec2::254]/", false, false},
		{"http://%E2%93%81ocalhost/", false, false},
		{"http://[64:ff9b::a00:1]/", false, false},
		{"http://2130706433/", false, true},
		{"http://0x7f000001/", false, true},
		{"http://127.1/", false, true},
		{"http://0177.0.0.1/", false, true},
		{"http://metadata.google.internal/", false, true},
		{"http://printer.local/", false, true},
		{"http://intranet/", false, true},
		{"ftp://example.com/", false, false},
		{"javascript:alert(1)", false, false},
		{"https://user:pw@example.com/", false, false},
		{"https://example.com/#frag", false, false},
		{"https://example.com:65535/", true, true},
		{"https://example.com:/", true, true},
		{"https://example.com:0/", false, false},
		{"https://example.com:65536/", false, false},
		{"https://", false, false},
		{"https:///path", false, false},
		{"//example.com/", false, false},
		{"example.com", false, false},
		{"https://exämple.com/", false, false},
		{"https://example.com/a b", false, false},
		{"https://example.com/\x00", false, false},
		{"https://example.com/" + strings.Repeat("a", 2048), false, false},
	}
	for _, tt := range tests {
		if err := public.Check(tt.url); (err == nil) != tt.public {
			t.Errorf("public policy, %.60q: %v", tt.url, err)
		}
		if err := here.Check(tt.url); (err == nil) != tt.here {
			t.Errorf("policy for this machine, %.60q: %v", tt.url, err)
		}
	}
}
