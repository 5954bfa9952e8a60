package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	headerIdempotencyKey = "Idempotency-Key"
	headerReplayed       = "Idempotent-Replayed"
	maxIdempotencyKey    = 255
	idempotencyKeptFor   = 24 * time.Hour
	// idempotencyMargin is how much longer than a request may work its claim lasts, before a retry takes
	// over: so two calls of one key never work at the same time, even on nodes whose clocks differ.
	idempotencyMargin = 5 * time.Second
)

type resourceKey struct{}

// resourceID returns the id for the object that a request makes: the one that its Idempotency-Key was
// first claimed with, so that a retry after a crash finds what the first try made; else a new one.
func resourceID(ctx context.Context, now time.Time) domain.ID {
	if id, ok := ctx.Value(resourceKey{}).(domain.ID); ok {
		return id
	}
	return domain.NewID(now)
}

// once makes sure that work is done at most once under an Idempotency-Key, and that every call with
// the key gets the same answer for 24 hours.
func (s *Server) once(ctx context.Context, c echo.Context, keys []string, body []byte, work func(context.Context) (reply, error)) error {
	key, err := idempotencyKey(keys)
	if err != nil {
		return err
	}
	p := infoOf(c).principal
	account, err := s.deps.Accounts(p.Account.ID)
	if err != nil {
		return err
	}
	claim := domain.IdempotencyClaim{
		Key: key, Fingerprint: fingerprint(c.Request(), p, body), Resource: domain.NewID(s.now()),
		LockFor: s.cfg.RequestTimeout + idempotencyMargin, KeepFor: idempotencyKeptFor,
	}
	result, err := account.ClaimIdempotency(ctx, claim)
	if err != nil {
		return err
	}
	switch result.State {
	case domain.IdempotencyReplay:
		return s.replay(c, key, result.Answer)
	case domain.IdempotencyInProgress:
		return &domain.Error{Code: domain.CodeIdempotencyInProgress, RetryAfter: time.Second,
			Message: "The first request with this Idempotency-Key is still being worked on. Ask again in a second for its answer."}
	case domain.IdempotencyMismatch:
		return domain.NewError(domain.CodeIdempotencyKeyReused,
			"This Idempotency-Key was used for another request. Use a new key for a new request.")
	case domain.IdempotencyClaimed:
	}
	claim.Resource = result.Resource
	r, err := work(context.WithValue(ctx, resourceKey{}, claim.Resource))
	// The work may have used up its time; its outcome is recorded all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), idempotencyMargin)
	defer cancel()
	return s.conclude(ctx, c, account, claim, r, err)
}

// conclude records the answer of the work and sends it.
func (s *Server) conclude(ctx context.Context, c echo.Context, account AccountStore, claim domain.IdempotencyClaim, r reply, workErr error) error {
	if workErr != nil {
		if err := s.concludeFailure(ctx, c, account, claim, workErr); err != nil {
			s.log.WarnContext(ctx, "idempotency claim not settled; it ends by itself", "requestId", infoOf(c).requestID, "error", err)
		}
		return workErr
	}
	sealed := s.deps.Seal.Seal(r.body, idempotencyPlace(infoOf(c).principal, claim.Key))
	err := account.FinishIdempotency(ctx, claim.Key, claim.Fingerprint, claim.Resource,
		domain.StoredAnswer{Status: r.status, Header: r.header, Sealed: sealed})
	if err != nil {
		// The work is done and committed: say so. A retry finds the object by the claimed id.
		s.log.ErrorContext(ctx, "answer not kept for replay", "requestId", infoOf(c).requestID, "error", err)
	}
	return s.send(c, r)
}

// concludeFailure decides what becomes of a claim whose work failed.
func (s *Server) concludeFailure(ctx context.Context, c echo.Context, account AccountStore, claim domain.IdempotencyClaim, workErr error) error {
	status, e := classify(workErr)
	switch {
	case status >= http.StatusInternalServerError || e.RetryAfter > 0:
		// It may pass. A retry may work at once, on the same object: nobody knows how far this one got.
		return account.ReleaseIdempotency(ctx, claim.Key, claim.Fingerprint, claim.Resource)
	case status != http.StatusConflict:
		// The request itself was wrong: it may be corrected under the same key.
		return account.ForgetIdempotency(ctx, claim.Key, claim.Fingerprint, claim.Resource)
	}
	// The work was tried and the state of things stood against it: that is an answer like any other. Its
	// body is made again at each replay, with that request's id.
	plain, err := json.Marshal(domain.Error{Code: e.Code, Message: e.Message, Details: e.Details})
	if err != nil {
		return err
	}
	sealed := s.deps.Seal.Seal(plain, idempotencyPlace(infoOf(c).principal, claim.Key))
	return account.FinishIdempotency(ctx, claim.Key, claim.Fingerprint, claim.Resource, domain.StoredAnswer{Status: status, Sealed: sealed})
}

// replay sends a stored answer again.
func (s *Server) replay(c echo.Context, key string, stored domain.StoredAnswer) error {
	body, err := s.deps.Seal.Open(stored.Sealed, idempotencyPlace(infoOf(c).principal, key))
	if err != nil {
		return err
	}
	c.Response().Header().Set(headerReplayed, "true")
	if stored.Status >= http.StatusBadRequest {
		var e domain.Error
		if err := json.Unmarshal(body, &e); err != nil {
			return err
		}
		return &e
	}
	return s.send(c, reply{status: stored.Status, header: stored.Header, body: body})
}

// idempotencyKey reads the header: bare, or quoted as the IETF draft has it.
func idempotencyKey(values []string) (string, error) {
	invalid := func(message string) (string, error) {
		return "", domain.Invalid(domain.Detail{Field: headerIdempotencyKey, Code: "invalid", Message: message})
	}
	if len(values) != 1 {
		return invalid("This header is there more than once. Send it once.")
	}
	key := values[0]
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	if key == "" || len(key) > maxIdempotencyKey {
		return invalid("Send 1 to 255 characters, such as a random UUID.")
	}
	for i := range len(key) {
		if key[i] < '!' || key[i] > '~' {
			return invalid("Send visible ASCII characters only, such as a random UUID.")
		}
	}
	return key, nil
}

// fingerprint tells requests apart that share an Idempotency-Key. The caller's API key is part of it,
// so one key of an account cannot fetch the answer (maybe a new secret) that another key got.
func fingerprint(r *http.Request, p *domain.Principal, body []byte) [32]byte {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(r.Method), []byte(r.URL.Path), p.KeyID[:], []byte(p.TokenID), body} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return [32]byte(h.Sum(nil))
}

func idempotencyPlace(p *domain.Principal, key string) []byte {
	return []byte(p.Account.ID.String() + "|idempotency_keys|answer|" + key)
}
