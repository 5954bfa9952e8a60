package app

import "github.com/pombal-api/pombal/internal/domain"

// hooksPerHost is how many idle connections are kept for a webhook.
const hooksPerHost = 8

// openWebhookSecret opens a sealed secret of a webhook.
func (c *core) openWebhookSecret(w *domain.Webhook, sealed []byte) ([]byte, error) {
	return c.sealer.Open(sealed, domain.WebhookSecretPlace(w.AccountID, w.ID))
}
