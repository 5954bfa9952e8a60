package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

// Lists come with an ETag, which is another one once there is something new.
func TestLists_ETags(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		partner := s.NewPartner(t)
		instance := partner.NewInstance(t, "a")
		c := newCaller(t, partner)
		for path, create := range map[string]string{
			"/v1/webhooks":         `{"name":"a","url":"https://example.com/a","events":["message.received"]}`,
			"/v1/webhooks/inbound": `{"name":"a","instanceId":"` + instance.ID + `"}`,
			"/v1/api-keys":         `{"name":"a","scopes":["instances:read"]}`,
			"/v1/accounts":         `{"name":"a"}`,
		} {
			list := path
			if path == "/v1/api-keys" {
				list += "?offset=1" // the first one is in use, and when it was used last is noted at any time
			}
			tag := c.mustSpareUnchanged(list)
			if got := c.do(http.MethodPost, path, create); got.status != http.StatusCreated {
				t.Fatalf("%s: %d %s", path, got.status, got.body)
			}
			got := c.do(http.MethodGet, list, "", "If-None-Match", tag)
			if now := got.header.Get("ETag"); got.status != http.StatusOK || now == "" || now == tag {
				t.Errorf("%s: %d with the tag %s after %s, though there is something new", list, got.status, now, tag)
			}
		}
	})
}
