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
	ctx := s.work(c)
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
// keys buy nothing), the groups of the route, and the child account that a partner acts on.
func (s *Server) bucketsOf(p *domain.Principal, groups ...string) []domain.RateBucket {
	plan := s.planOf(&p.Actor)
	buckets := make([]domain.RateBucket, 0, 3+len(groups))
	buckets = append(buckets,
		domain.RateBucket{Name: "key", ID: credentialID(p), Limit: plan.RequestsPerMinute},
		accountBucket(&p.Actor, plan))
	owner := plan
	if p.Account.ID != p.Actor.ID {
		owner = s.planOf(&p.Account)
		buckets = append(buckets, accountBucket(&p.Account, owner))
	}
	for _, group := range groups {
		if limit := owner.Groups[group]; limit > 0 {
			buckets = append(buckets, domain.RateBucket{Name: group, ID: bucketID(group+":", p.Account.ID), Limit: limit})
		}
	}
	return buckets
}

// credentialID names the credential that is counted: the key, or the instance whose own token it is.
func credentialID(p *domain.Principal) string {
	if p.KeyID.IsZero() && len(p.Instances) == 1 {
		return bucketID("instance:", p.Instances[0])
	}
	return bucketID("key:", p.KeyID)
}

func accountBucket(a *domain.Account, plan domain.Plan) domain.RateBucket {
	return domain.RateBucket{Name: "account", ID: bucketID("account:", a.ID), Limit: plan.RequestsPerMinute}
}

// bucketID joins a kind and an id. It is made for every request, so it takes one piece of memory.
func bucketID(kind string, id domain.ID) string {
	var room [64]byte
	return string(id.AppendUUID(append(room[:0], kind...)))
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
	// All values share one text, and one list: they are made for every request.
	var room [256]byte
	var ends [5]int
	b := strconv.AppendInt(room[:0], int64(d.Limit), 10)
	ends[0] = len(b)
	b = strconv.AppendInt(b, int64(d.Remaining), 10)
	ends[1] = len(b)
	b = strconv.AppendInt(b, d.Reset.Unix(), 10)
	ends[2] = len(b)
	b = appendPolicy(b, buckets)
	ends[3] = len(b)
	b = strconv.AppendQuote(b, d.Bucket)
	b = append(b, ";r="...)
	b = strconv.AppendInt(b, int64(d.Remaining), 10)
	b = append(b, ";t="...)
	b = strconv.AppendInt(b, int64(left), 10)
	ends[4] = len(b)
	text, start := string(b), 0
	values := make([]string, len(ends))
	for i, name := range [...]string{headerLimit, headerRemaining, headerReset, headerPolicy, headerRateLimit} {
		values[i] = text[start:ends[i]]
		h[name] = values[i : i+1 : i+1]
		start = ends[i]
	}
}

// appendPolicy appends the limits of all buckets, each kind once.
func appendPolicy(b []byte, buckets []domain.RateBucket) []byte {
	start := len(b)
	for i, bucket := range buckets {
		if bucket.Limit <= 0 || i > 0 && bucket.Name == buckets[i-1].Name {
			continue
		}
		if len(b) > start {
			b = append(b, ", "...)
		}
		b = strconv.AppendQuote(b, bucket.Name)
		b = append(b, ";q="...)
		b = strconv.AppendInt(b, int64(bucket.Limit), 10)
		b = append(b, ";w=60"...)
	}
	return b
}

// CountInstanceCall counts a call of the instance group that another package answers.
func (s *Server) CountInstanceCall(ctx context.Context, p *domain.Principal) (domain.RateDecision, error) {
	return s.deps.Limiter.Take(ctx, s.bucketsOf(p, groupInstances)...)
}
