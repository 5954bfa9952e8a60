package store

import (
	"context"

	"github.com/pombal-api/pombal/internal/domain"
)

// Children lists the partner's accounts, oldest first.
func (p *Partner) Children(ctx context.Context, page domain.PageRequest) ([]domain.Account, domain.PageInfo, error) {
	return p.s.accountPage(ctx, p.wall(), page)
}

// Child returns one of the partner's accounts. CodeAccountNotFound for any other.
func (p *Partner) Child(ctx context.Context, id domain.ID) (domain.Account, error) {
	return load(ctx, p.s, p.wall(), func(sc scope) (domain.Account, error) {
		var row accountRow
		query := sc.rows(&row).Where(eq("id", uid(id)))
		if err := orNotFound(query.Take(&row).Error, domain.AccountNotFound); err != nil {
			return domain.Account{}, err
		}
		list, err := withOrigins(sc, []accountRow{row})
		if err != nil {
			return domain.Account{}, err
		}
		return list[0], nil
	})
}

// CreateChild adds an account of the partner, filling in what is zero like CreateAccount.
// CodeExternalIDInUse when the partner has another account with that reference. When the partner has an
// account with the id already (a retry after a crash), *a becomes that one.
func (p *Partner) CreateChild(ctx context.Context, a *domain.Account) error {
	a.ParentID = p.id
	if err := checkAccountTexts(a.Name, a.ExternalID, a.Plan, a.AllowedOrigins); err != nil {
		return err
	}
	completeAccount(a)
	return p.s.write(ctx, wall{account: a.ID}, func(sc scope) error {
		if err := createAccount(sc, a); err != nil {
			return err
		}
		if a.ParentID != p.id {
			return domain.AccountNotFound() // the id is another partner's: as unknown as any
		}
		return nil
	})
}
