package api

import (
	"strings"
	"time"
)

// The documented defaults, beside the types that have them. A server calls
// SetDefaults before it decodes a request, so that what the request says wins,
// and Normalize after that and before it validates.

const (
	// DefaultLimit is the number of objects on a page when none is asked for.
	DefaultLimit = 50

	// DefaultEventLimit is the number of events on a page when none is asked for.
	DefaultEventLimit = 100

	// DefaultWebhookTimeout is how long a receiver may take to answer.
	DefaultWebhookTimeout = 5 * time.Second

	// DefaultRotationOverlap is how long the old secret of a rotated key works.
	DefaultRotationOverlap = 24 * time.Hour

	// DefaultTokenLifetime is how long a token works.
	DefaultTokenLifetime = 15 * time.Minute
)

// SetDefaults sets all states and the default page size.
func (p *ListInstancesParams) SetDefaults() {
	p.Status = InstanceStatusFilterAll
	p.Limit = DefaultLimit
}

// SetDefaults sets the default page size.
func (p *ListEventsParams) SetDefaults() { p.Limit = DefaultEventLimit }

// SetDefaults sets the default page size.
func (p *ListWebhooksParams) SetDefaults() { p.Limit = DefaultLimit }

// SetDefaults sets the default page size.
func (p *ListInboundWebhooksParams) SetDefaults() { p.Limit = DefaultLimit }

// SetDefaults sets the default page size.
func (p *ListWebhookLogsParams) SetDefaults() { p.Limit = DefaultLimit }

// SetDefaults sets the default page size.
func (p *ListAPIKeysParams) SetDefaults() { p.Limit = DefaultLimit }

// SetDefaults sets the default page size.
func (p *ListAccountsParams) SetDefaults() { p.Limit = DefaultLimit }

// AllWebhookEvents returns a new slice of every event, which is what a webhook
// gets unless told otherwise.
func AllWebhookEvents() []WebhookEvent {
	return []WebhookEvent{
		WebhookEventMessageReceived,
		WebhookEventMessageSent,
		WebhookEventMessageDelivered,
		WebhookEventMessageRead,
		WebhookEventMessageFailed,
		WebhookEventInstanceConnected,
		WebhookEventInstanceDisconnected,
		WebhookEventInstanceQRUpdated,
	}
}

// SetDefaults sets all events, the default settings and the web integration.
func (b *CreateInstance) SetDefaults() {
	b.WebhookEvents = AllWebhookEvents()
	b.Settings = CreateInstanceSettings{AutoRead: new(false), AutoTyping: new(true)}
	b.Integration = IntegrationWeb
}

// Normalize removes the spaces around the name, and takes nil events, which
// null leaves behind, for absent ones.
func (b *CreateInstance) Normalize() {
	b.Name = strings.TrimSpace(b.Name)
	if b.WebhookEvents == nil {
		b.WebhookEvents = AllWebhookEvents()
	}
}

// WithDefaults returns the settings with the documented defaults for absent ones.
func (s CreateInstanceSettings) WithDefaults() InstanceSettings {
	settings := InstanceSettings{AutoRead: false, AutoTyping: true}
	if s.AutoRead != nil {
		settings.AutoRead = *s.AutoRead
	}
	if s.AutoTyping != nil {
		settings.AutoTyping = *s.AutoTyping
	}
	return settings
}

// SetDefaults sets the default timeout.
func (b *CreateWebhook) SetDefaults() { b.TimeoutSeconds = int(DefaultWebhookTimeout / time.Second) }

// Normalize removes the spaces around the name.
func (b *CreateWebhook) Normalize() { b.Name = trimmed(b.Name) }

// SetDefaults sets the default timeout and makes the webhook active.
func (b *ReplaceWebhook) SetDefaults() {
	b.TimeoutSeconds = int(DefaultWebhookTimeout / time.Second)
	b.Status = WebhookStatusActive
}

// Normalize removes the spaces around the name.
func (b *ReplaceWebhook) Normalize() { b.Name = trimmed(b.Name) }

// Normalize removes the spaces around the name.
func (b *UpdateWebhook) Normalize() {
	if name, ok := b.Name.Get(); ok {
		b.Name = Set(strings.TrimSpace(name))
	}
}

// SetDefaults sets the default overlap.
func (b *RotateWebhookSecret) SetDefaults() {
	b.OverlapSeconds = new(int(DefaultRotationOverlap / time.Second))
}

// Overlap returns how long the old secret signs beside the new one.
func (b RotateWebhookSecret) Overlap() time.Duration { return overlap(b.OverlapSeconds) }

// SetDefaults sets the event of a received message.
func (b *TestWebhook) SetDefaults() { b.Event = EventTypeMessageReceived }

// Normalize removes the spaces around the name.
func (b *CreateInboundWebhook) Normalize() { b.Name = strings.TrimSpace(b.Name) }

// Normalize removes the spaces around the name.
func (b *UpdateInstance) Normalize() { b.Name = trimmed(b.Name) }

// SetDefaults sets the method by QR code.
func (b *ConnectInstance) SetDefaults() { b.Method = ConnectMethodQRCode }

// Normalize removes the spaces around the name.
func (b *CreateAPIKey) Normalize() { b.Name = strings.TrimSpace(b.Name) }

// SetDefaults sets the default overlap.
func (b *RotateAPIKey) SetDefaults() {
	b.OverlapSeconds = new(int(DefaultRotationOverlap / time.Second))
}

// Overlap returns how long the old secret works.
func (b RotateAPIKey) Overlap() time.Duration { return overlap(b.OverlapSeconds) }

// overlap reads the seconds of a rotation; nil is the default.
func overlap(seconds *int) time.Duration {
	if seconds == nil {
		return DefaultRotationOverlap
	}
	return time.Duration(*seconds) * time.Second
}

// SetDefaults sets the default lifetime.
func (b *CreateToken) SetDefaults() {
	b.ExpiresIn = int(DefaultTokenLifetime / time.Second)
}

// Normalize removes the spaces around the name.
func (b *CreateAccount) Normalize() { b.Name = strings.TrimSpace(b.Name) }

// Normalize removes the spaces around the name.
func (b *UpdateAccount) Normalize() { b.Name = trimmed(b.Name) }

// trimmed returns s without the spaces around it; nil stays nil.
func trimmed(s *string) *string {
	if s == nil {
		return nil
	}
	return new(strings.TrimSpace(*s))
}
