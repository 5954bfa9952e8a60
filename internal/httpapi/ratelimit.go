package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
)

// takeLimit counts the request and reports the limits in the answer's headers.
func (s *Server) takeLimit(c echo.Context, rt *route, p *domain.Principal) error {
	ctx, cancel := s.detach(c)
	defer cancel()
	buckets := s.bucketsOf(p, rt.group)
	d, err := s.deps.Limiter.Take(ctx, buckets...)
	if err != nil {
		return err
	}
	s.writeLimits(c.Response().Header(), buckets, d)
	if !d.Allowed {
		return limitError(d)
	}
	infoOf(c).buckets = buckets
	return nil
}

// refund gives the request back: an answer that said "nothing new" costs nothing.
func (s *Server) refund(c echo.Context) {
	in := infoOf(c)
	s.deps.Limiter.Refund(in.buckets...)
	in.buckets = nil
}

func limitError(d domain.RateDecision) error {
	seconds := wholeSeconds(d.RetryAfter)
	return &domain.Error{
		Code:       domain.CodeRateLimitExceeded,
		RetryAfter: d.RetryAfter,
		Message: "The limit of " + strconv.Itoa(d.Limit) + " requests per minute (" + d.Bucket + ") is used up. Try again in " +
			strconv.Itoa(seconds) + " seconds.",
	}
}

// bucketsOf lists what a request counts against: the key, the account whose key it is (so that more
// keys buy nothing), the group of the route, and the child account that a partner acts on.
func (s *Server) bucketsOf(p *domain.Principal, group string) []domain.RateBucket {
	plan := s.planOf(&p.Actor)
	buckets := make([]domain.RateBucket, 0, 4)
	buckets = append(buckets,
		domain.RateBucket{Name: "key", ID: credentialID(p), Limit: plan.RequestsPerMinute},
		accountBucket(&p.Actor, plan))
	owner := plan
	if p.Account.ID != p.Actor.ID {
		owner = s.planOf(&p.Account)
		buckets = append(buckets, accountBucket(&p.Account, owner))
	}
	if limit := owner.Groups[group]; limit > 0 {
		buckets = append(buckets, domain.RateBucket{Name: group, ID: group + ":" + p.Account.ID.String(), Limit: limit})
	}
	return buckets
}

// credentialID names the credential that is counted: the key, or the instance whose own token it is.
func credentialID(p *domain.Principal) string {
	if p.KeyID.IsZero() && len(p.Instances) == 1 {
		return "instance:" + p.Instances[0].String()
	}
	return "key:" + p.KeyID.String()
}

func accountBucket(a *domain.Account, plan domain.Plan) domain.RateBucket {
	return domain.RateBucket{Name: "account", ID: "account:" + a.ID.String(), Limit: plan.RequestsPerMinute}
}

// Canonical spellings of the contract's headers: setting them so saves canonicalising per request.
const (
	headerLimit     = "X-Ratelimit-Limit"
	headerRemaining = "X-Ratelimit-Remaining"
	headerReset     = "X-Ratelimit-Reset"
	headerPolicy    = "Ratelimit-Policy"
	headerRateLimit = "Ratelimit"
)

// writeLimits sets the documented headers and the IETF draft's (draft-ietf-httpapi-ratelimit-headers).
func (s *Server) writeLimits(h http.Header, buckets []domain.RateBucket, d domain.RateDecision) {
	if d.Bucket == "" {
		return // no limit applies
	}
	left := wholeSeconds(max(0, d.Reset.Sub(s.now())))
	h[headerLimit] = []string{strconv.Itoa(d.Limit)}
	h[headerRemaining] = []string{strconv.Itoa(d.Remaining)}
	h[headerReset] = []string{strconv.FormatInt(d.Reset.Unix(), 10)}
	var b []byte
	for i, bucket := range buckets {
		if bucket.Limit <= 0 || i > 0 && bucket.Name == buckets[i-1].Name {
			continue
		}
		if len(b) > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendQuote(b, bucket.Name)
		b = append(b, ";q="...)
		b = strconv.AppendInt(b, int64(bucket.Limit), 10)
		b = append(b, ";w=60"...)
	}
	h[headerPolicy] = []string{string(b)}
	b = strconv.AppendQuote(b[:0], d.Bucket)
	b = append(b, ";r="...)
	b = strconv.AppendInt(b, int64(d.Remaining), 10)
	b = append(b, ";t="...)
	b = strconv.AppendInt(b, int64(left), 10)
	h[headerRateLimit] = []string{string(b)}
}

// CountInstanceCall counts a call of the instance group that another package answers.
func (s *Server) CountInstanceCall(ctx context.Context, p *domain.Principal) (domain.RateDecision, error) {
	return s.deps.Limiter.Take(ctx, s.bucketsOf(p, groupInstances)...)
}
