package webhook_test

import (
	"strings"
	"testing"

	"github.com/pombal-api/pombal/internal/webhook"
)

func TestURLPolicy_Proxies(t *testing.T) {
	t.Parallel()
	public, here := webhook.NewURLPolicy(), webhook.NewURLPolicy(webhook.Loopback()...)
	tests := []struct {
		url          string
		public, here bool
	}{
		{"http://proxy.example.com:3128", true, true},
		{"https://ana:hunter2@proxy.example.com:8443/", true, true},
		{"socks5://ana:hunter2@93.184.216.34:1080", true, true},
		{"SOCKS5H://ana@[2606:4700::1111]", true, true},
		{"socks5://ana:p%40ss%2Fhunter2@proxy.example.com", true, true},
		{"socks5://127.0.0.1:1080", false, true},
		{"http://ana:hunter2@proxy:3128", false, true},
		{"http://ana:hunter2@10.0.0.7:3128", false, false},
		{"http://[::1]:3128", false, true},
		{"http://ana:hunter2@squid.internal:3128", false, true},
		{"http://169.254.169.254:80", false, false},
		{"socks5://[fd00:ec2::254]:1080", false, false},
		{"http://[::ffff:169.254.169.254]:1080", false, false},
		{"socks4://ana:hunter2@proxy.example.com", false, false},
		{"ftp://proxy.example.com", false, false},
		{"proxy.example.com:3128", false, false},
		{"//proxy.example.com:3128", false, false},
		{"http:proxy.example.com", false, false},
		{"http://", false, false},
		{"http://ana:hunter2@", false, false},
		{"", false, false},
		{"http://:hunter2@proxy.example.com", false, false},
		{"http://ana:hunter2@proxy.example.com:0", false, false},
		{"http://ana:hunter2@proxy.example.com:70000", false, false},
		{"http://ana:hunter2@proxy.example.com:x", false, false},
		{"http://ana:hunter2@proxy.example.com/path", false, false},
		{"http://ana:hunter2@proxy.example.com?", false, false},
		{"http://ana:hunter2@proxy.example.com?a=b", false, false},
		{"http://ana:hunter2@proxy.example.com#", false, false},
		{"http://ana:hunter2@proxy.example.com#f", false, false},
		{"http://ana:hunter2/@proxy.example.com", false, false},
		{"http://ana:hunter2%zz@proxy.example.com", false, false},
		{"http://ana:hunter2 @proxy.example.com", false, false},
		{"http://ana:hunter2é@proxy.example.com", false, false},
		{"http://ana:hunter2\x00@proxy.example.com", false, false},
		{"http://" + strings.Repeat("a", 256) + ":hunter2@proxy.example.com", false, false},
		{"http://ana:" + strings.Repeat("hunter2", 40) + "@proxy.example.com", false, false},
		{"http://ana:" + strings.Repeat("hunter2", 300) + "@proxy.example.com", false, false},
	}
	for _, tt := range tests {
		for name, c := range map[string]struct {
			policy *webhook.URLPolicy
			want   bool
		}{"public": {public, tt.public}, "this machine's": {here, tt.here}} {
			err := c.policy.CheckProxy(tt.url)
			if (err == nil) != c.want {
				t.Errorf("%s policy, %.60q: %v", name, tt.url, err)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || !strings.HasSuffix(err.Error(), ".")) {
				t.Errorf("%s policy, %.60q: says %q", name, tt.url, err)
			}
		}
	}
}
