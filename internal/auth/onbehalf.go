package auth

import (
	"context"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// AccountHeader is the request header by which a partner acts on a child account, for error details.
const AccountHeader = "X-Account-Id"

// allChildren, in the header, means every child account at once.
const allChildren = "*"

// OnBehalf returns p acting on the account that accountHeader (X-Account-Id) names, p itself for "".
//
// Only a partner's key may send it, and only for its own children: any other id, malformed ones
// included, is account_not_found, and so is the partner's own. "*" makes p act on all children, where
// allowAll says that the call can; elsewhere it is invalid_parameters. A token acts on the account
// it was minted for; it may at most repeat it. The result must not be changed.
func (a *Authenticator) OnBehalf(ctx context.Context, p *domain.Principal, accountHeader string, allowAll bool) (*domain.Principal, error) {
	if accountHeader == "" {
		return p, nil
	}
	switch {
	case !p.Actor.Partner:
		return nil, insufficient("Only a partner's key may send X-Account-Id. Leave the header out: this key acts on its own account.")
	case p.ViaToken():
		if p.Account.ID != p.Actor.ID && accountHeader == p.Account.ID.Prefixed(domain.PrefixAccount) {
			return p, nil
		}
		return nil, insufficient("A token acts on the account it was minted for. Send X-Account-Id when minting it instead.")
	case p.Restricted():
		return nil, insufficient("This key is restricted to instances of its own account and cannot act on others. Use a key without that restriction.")
	case accountHeader == allChildren:
		return onAll(p, allowAll)
	}
	return a.onChild(ctx, p, accountHeader)
}

func onAll(p *domain.Principal, allowed bool) (*domain.Principal, error) {
	if !allowed {
		return nil, allNotAllowed()
	}
	all := *p
	all.Children = true
	return &all, nil
}

func allNotAllowed() error {
	return domain.Invalid(domain.Detail{
		Field: AccountHeader, Code: "not_allowed", Message: "this call acts on one account; send the id of a child account instead of *.",
	})
}

func (a *Authenticator) onChild(ctx context.Context, p *domain.Principal, text string) (*domain.Principal, error) {
	id, err := domain.ParsePrefixed(domain.PrefixAccount, text)
	if err != nil {
		return nil, domain.AccountNotFound()
	}
	child, err := a.child(ctx, &p.Actor, id, a.now())
	switch {
	case err == nil:
	case isNotFound(err):
		return nil, domain.AccountNotFound()
	default:
		return nil, err
	}
	acting := *p
	acting.Account = child.account
	return &acting, nil
}

// child returns the account id if it is a child of partner and not suspended.
func (a *Authenticator) child(ctx context.Context, partner *domain.Account, id domain.ID, now time.Time) (*accountRecord, error) {
	record, err := a.accounts.get(ctx, id, now, a.trusted(now))
	if err != nil {
		return nil, err
	}
	if !partner.Partner || record.account.ParentID != partner.ID {
		return nil, domain.AccountNotFound()
	}
	if record.suspended {
		return nil, suspended()
	}
	return record, nil
}
