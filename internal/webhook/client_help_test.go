package webhook_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/webhook"
)

// unsealed takes secrets that were never sealed.
func unsealed(_ *domain.Webhook, sealed []byte) ([]byte, error) { return bytes.Clone(sealed), nil }

const testSecret = "whs_c2VjcmV0LW9mLWEtdGVzdC1vZi13ZWJob29rcw"

func newClient(t *testing.T, policy *webhook.URLPolicy) *webhook.Client {
	t.Helper()
	c := webhook.NewClient(policy, unsealed, 8)
	t.Cleanup(c.Close)
	return c
}

func newHook(to string) *domain.Webhook {
	return &domain.Webhook{
		AccountID: domain.NewID(time.Now()), ID: domain.NewID(time.Now()), URL: to, Events: domain.AllEvents,
		Timeout: domain.MinWebhookTimeout, Status: domain.WebhookActive, Secret: []byte(testSecret),
	}
}

func newEvent(data string) *domain.Event {
	return &domain.Event{
		AccountID: domain.NewID(time.Now()), InstanceID: domain.NewID(time.Now()), ID: domain.NewID(time.Now()), Position: 1, Sequence: 1,
		Type: domain.EventInstanceConnected, At: time.Now(), Data: []byte(data),
	}
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}
