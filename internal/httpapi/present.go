package httpapi

import (
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

// This file spells domain objects as the contract does.

func presentInstance(in *domain.Instance) api.Instance {
	return api.Instance{
		ID:            in.ID.Prefixed(domain.PrefixInstance),
		Name:          in.Name,
		Phone:         optional(in.Phone),
		Status:        api.InstanceStatus(in.Status),
		ProfileName:   optional(in.ProfileName),
		ProfilePicURL: optional(in.ProfilePicURL),
		CreatedAt:     presentTime(in.CreatedAt),
		LastSeenAt:    optionalTime(in.LastSeenAt),
		WebhookURL:    optional(in.WebhookURL),
		WebhookEvents: convert[api.WebhookEvent](in.WebhookEvents.Names()),
		Settings:      api.InstanceSettings{AutoRead: in.AutoRead, AutoTyping: in.AutoTyping},
		UpdatedAt:     presentTime(in.UpdatedAt),
		ConnectedAt:   optionalTime(in.ConnectedAt),
		Integration:   api.Integration(in.Integration),
		StatusReason:  presentReason(in.Reason),
		ExternalID:    optional(in.ExternalID),
	}
}

func presentReason(code domain.ReasonCode) *api.StatusReason {
	reason, ok := code.Explain()
	if !ok {
		return nil
	}
	return &api.StatusReason{Code: string(reason.Code), Message: reason.Message, Action: reason.Action}
}

func presentAPIKey(k *domain.APIKey, now time.Time) api.APIKey {
	out := api.APIKey{
		ID:          k.ID.Prefixed(domain.PrefixAPIKey),
		Name:        k.Name,
		LastFour:    k.LastFour,
		Scopes:      convert[api.Scope](k.Scopes.Names()),
		InstanceIDs: presentIDs(k.Instances),
		ExpiresAt:   optionalTime(k.ExpiresAt),
		LastUsedAt:  optionalTime(k.LastUsedAt),
		CreatedAt:   presentTime(k.CreatedAt),
	}
	if k.PreviousExpiresAt.After(now) {
		out.PreviousSecretExpiresAt = optionalTime(k.PreviousExpiresAt)
	}
	return out
}

func presentAPIKeyWithSecret(k *domain.APIKey, secret string, now time.Time) api.APIKeyWithSecret {
	p := presentAPIKey(k, now)
	return api.APIKeyWithSecret{
		ID: p.ID, Name: p.Name, LastFour: p.LastFour, Scopes: p.Scopes, InstanceIDs: p.InstanceIDs, ExpiresAt: p.ExpiresAt,
		LastUsedAt: p.LastUsedAt, CreatedAt: p.CreatedAt, PreviousSecretExpiresAt: p.PreviousSecretExpiresAt, Key: secret,
	}
}

func presentAccount(a *domain.Account) api.Account {
	out := api.Account{
		ID:             a.ID.Prefixed(domain.PrefixAccount),
		Name:           a.Name,
		Plan:           a.Plan,
		Status:         api.AccountStatus(a.Status),
		ExternalID:     optional(a.ExternalID),
		AllowedOrigins: append([]string{}, a.AllowedOrigins...),
		CreatedAt:      presentTime(a.CreatedAt),
		UpdatedAt:      presentTime(a.UpdatedAt),
	}
	if !a.ParentID.IsZero() {
		out.ParentID = optional(a.ParentID.Prefixed(domain.PrefixAccount))
	}
	return out
}

// presentIDs spells a list of instances; nil (no restriction) stays nil.
func presentIDs(ids []domain.ID) []api.InstanceID {
	if ids == nil {
		return nil
	}
	out := make([]api.InstanceID, len(ids))
	for i, id := range ids {
		out[i] = id.Prefixed(domain.PrefixInstance)
	}
	return out
}

// parseInstanceIDs reads a list of instances that a caller names in field.
func parseInstanceIDs(field string, ids []api.InstanceID) ([]domain.ID, error) {
	if ids == nil {
		return nil, nil
	}
	out := make([]domain.ID, len(ids))
	for i, text := range ids {
		id, err := domain.ParsePrefixed(domain.PrefixInstance, text)
		if err != nil {
			return nil, domain.Invalid(domain.Detail{Field: field, Code: "invalid", Message: "Send ids as the API spells them, such as inst_01kdwfzy80e17b5410xamp3tcx."})
		}
		out[i] = id
	}
	return out, nil
}

// optional returns nil for "": what is unset is null, never empty.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func presentTime(t time.Time) api.Time { return api.NewTime(t) }

func optionalTime(t time.Time) *api.Time {
	if t.IsZero() {
		return nil
	}
	out := presentTime(t)
	return &out
}

// deref returns what p points at, or the zero value.
func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// convert changes the type of a list of strings. It is never nil.
func convert[To, From ~string](in []From) []To {
	out := make([]To, len(in))
	for i, s := range in {
		out[i] = To(s)
	}
	return out
}

// envelope wraps the data of a successful answer.
func envelope[T any](data T) api.Envelope[T] { return api.Envelope[T]{Success: true, Data: data} }

func acknowledge(message string) api.Acknowledgement {
	return api.Acknowledgement{Success: true, Message: message}
}
