package httpapi

import (
	"context"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

type listAccountsRequest struct {
	Query api.ListAccountsParams `in:"query"`
}

func (s *Server) listAccounts(ctx context.Context, p *domain.Principal, req *listAccountsRequest) (listed[api.Account], error) {
	partner, err := s.partner(p)
	if err != nil {
		return listed[api.Account]{}, err
	}
	q := req.Query
	list := listing{limit: q.Limit, offset: q.Offset, cursor: deref(q.Cursor), scope: listScope("accounts", p)}
	return page(ctx, s, list, partner.Children, presentAccount)
}

// partner returns the caller's view of its children, if it may have any.
func (s *Server) partner(p *domain.Principal) (PartnerStore, error) {
	if !p.Account.Partner {
		return nil, domain.NewError(domain.CodeInsufficient,
			"Only partner accounts have child accounts. Ask the operator to make this account a partner.")
	}
	return s.deps.Partners(p.Account.ID)
}

type createAccountRequest struct {
	Body api.CreateAccount `in:"body"`
}

func (s *Server) createAccount(ctx context.Context, p *domain.Principal, req *createAccountRequest) (answer[api.Envelope[api.Account]], error) {
	var none answer[api.Envelope[api.Account]]
	partner, err := s.partner(p)
	if err != nil {
		return none, err
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	child := &domain.Account{
		ID: resourceID(ctx, now), ParentID: p.Account.ID, Name: req.Body.Name, ExternalID: deref(req.Body.ExternalID),
		Plan: p.Account.Plan, Status: domain.AccountActive, AllowedOrigins: req.Body.AllowedOrigins, CreatedAt: now, UpdatedAt: now,
	}
	if err := partner.CreateChild(ctx, child); err != nil {
		return none, err
	}
	out := answer[api.Envelope[api.Account]]{body: envelope(presentAccount(child))}
	out.location = "/v1/accounts/" + out.body.Data.ID
	return out, nil
}

type accountRequest struct {
	ID string `param:"accountId"`
}

func (s *Server) getAccount(ctx context.Context, p *domain.Principal, req *accountRequest) (api.Envelope[api.Account], error) {
	account, err := s.account(ctx, p, req.ID)
	if err != nil {
		return api.Envelope[api.Account]{}, err
	}
	return envelope(presentAccount(&account)), nil
}

// account finds the caller's own account or a child of it.
func (s *Server) account(ctx context.Context, p *domain.Principal, text string) (domain.Account, error) {
	id, err := domain.ParsePrefixed(domain.PrefixAccount, text)
	switch {
	case err != nil:
		return domain.Account{}, domain.AccountNotFound()
	case id == p.Account.ID:
		return p.Account, nil
	case !p.Account.Partner:
		return domain.Account{}, domain.AccountNotFound()
	}
	partner, err := s.deps.Partners(p.Account.ID)
	if err != nil {
		return domain.Account{}, err
	}
	return partner.Child(ctx, id)
}

type updateAccountRequest struct {
	ID   string            `param:"accountId"`
	Body api.UpdateAccount `in:"body"`
}

func (s *Server) updateAccount(ctx context.Context, p *domain.Principal, req *updateAccountRequest) (api.Envelope[api.Account], error) {
	var none api.Envelope[api.Account]
	current, err := s.account(ctx, p, req.ID)
	if err != nil {
		return none, err
	}
	patch := accountPatch(&req.Body)
	if current.ID == p.Account.ID && (patch.Status != nil || patch.ExternalID != nil) {
		return none, domain.NewError(domain.CodeInsufficient,
			"The status and externalId of an account are its parent's to change. Change name and allowedOrigins only.")
	}
	account, err := s.deps.Accounts(current.ID)
	if err != nil {
		return none, err
	}
	updated, err := account.Update(ctx, patch, s.now())
	if err != nil {
		return none, err
	}
	s.deps.Auth.Forget(current.ID)
	return envelope(presentAccount(&updated)), nil
}

func accountPatch(body *api.UpdateAccount) domain.AccountPatch {
	patch := domain.AccountPatch{Name: body.Name, ExternalID: clearable(body.ExternalID)}
	if body.Status != nil {
		status := domain.AccountStatus(*body.Status)
		patch.Status = &status
	}
	if body.AllowedOrigins != nil {
		patch.AllowedOrigins = &body.AllowedOrigins
	}
	return patch
}

type getLimitsRequest struct{}

func (s *Server) getLimits(ctx context.Context, p *domain.Principal, _ *getLimitsRequest) (api.LimitsEnvelope, error) {
	plan := s.planOf(&p.Account)
	buckets := s.bucketsOf(p, rateGroups[:]...)
	states, err := s.deps.Limiter.Peek(ctx, buckets...)
	if err != nil {
		return api.LimitsEnvelope{}, err
	}
	out := api.Limits{Plan: plan.Name, Limits: make([]api.RateLimit, 0, len(states))}
	for _, d := range states {
		out.Limits = append(out.Limits, api.RateLimit{
			Name: d.Bucket, Limit: int64(d.Limit), Remaining: int64(d.Remaining), ResetAt: presentTime(d.Reset),
		})
	}
	if plan.MaxInstances > 0 {
		limit := int64(plan.MaxInstances)
		out.MaxInstances = &limit
	}
	return envelope(out), nil
}
