package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// CreateAccount adds an account that no partner owns, or any for the operator. It fills in the id, the
// times and the status where they are zero. When the id exists already (a retry after a crash), *a becomes
// the existing account.
func (s *Store) CreateAccount(ctx context.Context, a *domain.Account) error {
	if err := checkAccountTexts(a.Name, a.ExternalID, a.Plan, a.AllowedOrigins); err != nil {
		return err
	}
	completeAccount(a)
	return s.write(ctx, wall{account: a.ID}, func(sc scope) error { return createAccount(sc, a) })
}

func completeAccount(a *domain.Account) {
	if a.CreatedAt.IsZero() {
		a.CreatedAt = now()
	}
	if a.UpdatedAt.IsZero() {
		a.UpdatedAt = a.CreatedAt
	}
	if a.ID.IsZero() {
		a.ID = domain.NewID(a.CreatedAt)
	}
	a.Status = cmp.Or(a.Status, domain.AccountActive)
	a.AllowedOrigins = sortedOrigins(a.AllowedOrigins)
	a.CreatedAt, a.UpdatedAt = truncated(a.CreatedAt), truncated(a.UpdatedAt)
}

// truncated returns t as the database gives it back.
func truncated(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// createAccount adds the account that sc is bound to.
func createAccount(sc scope, a *domain.Account) error {
	row := newAccountRow(a)
	create := sc.all(&accountRow{}).Clauses(keepExisting("id")).Create(&row)
	if violated(create.Error, "accounts_external_id", "accounts.external_id") {
		return externalIDInUse()
	}
	if create.Error != nil {
		return create.Error
	}
	if create.RowsAffected == 0 {
		existing, err := boundAccount(sc)
		*a = existing
		return err
	}
	if err := openCounts(sc, a.ID, a.ParentID); err != nil {
		return err
	}
	if err := setOrigins(sc, a.AllowedOrigins); err != nil {
		return err
	}
	return recordAuthChange(sc)
}

// externalIDInUse is the refusal of a reference that another object of the same owner has.
func externalIDInUse() *domain.Error {
	const message = "Another one of yours has this externalId already. Use that one, or send a different externalId."
	e := domain.NewError(domain.CodeExternalIDInUse, message)
	e.Details = []domain.Detail{{Field: "externalId", Code: "in_use", Message: message}}
	return e
}

func checkAccountTexts(name, externalID, plan string, origins []string) error {
	var t texts
	t.check("name", name)
	t.check("externalId", externalID)
	t.check("plan", plan)
	for _, o := range origins {
		t.check("allowedOrigins", o)
	}
	return t.err()
}

// boundAccount reads the account that sc is bound to.
func boundAccount(sc scope) (domain.Account, error) {
	var row accountRow
	if err := orNotFound(sc.rows(&row).Take(&row).Error, domain.AccountNotFound); err != nil {
		return domain.Account{}, err
	}
	var origins []originRow
	if err := sc.rows(&originRow{}).Clauses(ascending("origin")).Find(&origins).Error; err != nil {
		return domain.Account{}, err
	}
	return row.domain(originsOf(origins)), nil
}

func originsOf(rows []originRow) (origins []string) {
	for _, r := range rows {
		origins = append(origins, r.Origin)
	}
	return origins
}

// withOrigins completes accounts, which the scope's wall has let through, with their origins.
func withOrigins(sc scope, rows []accountRow) ([]domain.Account, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	ids := make([]any, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	var origins []originRow
	query := sc.with(wall{pass: passOrigins}).all(&originRow{}).Clauses(ascending("account_id", "origin"))
	if err := query.Where(in("account_id", ids)).Find(&origins).Error; err != nil {
		return nil, err
	}
	byAccount := map[uid][]originRow{}
	for _, o := range origins {
		byAccount[o.AccountID] = append(byAccount[o.AccountID], o)
	}
	list := make([]domain.Account, len(rows))
	for i := range rows {
		list[i] = rows[i].domain(originsOf(byAccount[rows[i].ID]))
	}
	return list, nil
}

// AccountByID returns any account. CodeAccountNotFound when there is none.
func (s *Store) AccountByID(ctx context.Context, id domain.ID) (domain.Account, error) {
	if id.IsZero() {
		return domain.Account{}, domain.AccountNotFound()
	}
	return load(ctx, s, wall{account: id}, boundAccount)
}

// Accounts lists all accounts for the operator, oldest first.
func (s *Store) Accounts(ctx context.Context, p domain.PageRequest) ([]domain.Account, domain.PageInfo, error) {
	return s.accountPage(ctx, wall{pass: passAccounts}, p)
}

// accountPage lists the accounts that the wall lets through.
func (s *Store) accountPage(ctx context.Context, w wall, p domain.PageRequest) ([]domain.Account, domain.PageInfo, error) {
	position := func(r *accountRow) domain.Cursor {
		return domain.Cursor{CreatedAt: r.Created.time(), ID: domain.ID(r.ID)}
	}
	return pageOf(ctx, s, w, func(sc scope) ([]domain.Account, domain.PageInfo, error) {
		rows, info, err := readPage(sc, accountRow{}, p, position)
		if err != nil {
			return nil, info, err
		}
		list, err := withOrigins(sc, rows)
		return list, info, err
	})
}

// SetAccount changes any account for the operator. CodeAccountNotFound when there is none.
func (s *Store) SetAccount(ctx context.Context, id domain.ID, patch domain.AccountAdminPatch, at time.Time) (domain.Account, error) {
	if id.IsZero() {
		return domain.Account{}, domain.AccountNotFound()
	}
	return s.updateAccount(ctx, id, patch, at)
}

// Update changes the account itself. CodeAccountNotFound when it does not exist, CodeExternalIDInUse when
// its partner has another account with that reference. A patch that changes nothing is no change.
func (a *Account) Update(ctx context.Context, patch domain.AccountPatch, at time.Time) (domain.Account, error) {
	return a.s.updateAccount(ctx, a.id, domain.AccountAdminPatch{AccountPatch: patch}, at)
}

func (s *Store) updateAccount(ctx context.Context, id domain.ID, patch domain.AccountAdminPatch, at time.Time) (domain.Account, error) {
	if err := checkAccountPatch(patch); err != nil {
		return domain.Account{}, err
	}
	return change(ctx, s, wall{account: id}, func(sc scope) (domain.Account, error) {
		var row accountRow
		if err := orNotFound(sc.rows(&row).Clauses(forUpdate()).Take(&row).Error, domain.AccountNotFound); err != nil {
			return domain.Account{}, err
		}
		account, err := boundAccount(sc)
		if err != nil {
			return account, err
		}
		before := account
		patchAccount(&account, patch)
		if newAccountRow(&before) == newAccountRow(&account) && slices.Equal(before.AllowedOrigins, account.AllowedOrigins) {
			return account, nil
		}
		account.UpdatedAt = truncated(at)
		return account, saveAccount(sc, &account)
	})
}

func checkAccountPatch(p domain.AccountAdminPatch) error {
	var a domain.Account
	patchAccount(&a, p)
	return checkAccountTexts(a.Name, a.ExternalID, a.Plan, a.AllowedOrigins)
}

func patchAccount(a *domain.Account, p domain.AccountAdminPatch) {
	set(&a.Name, p.Name)
	set(&a.ExternalID, p.ExternalID)
	set(&a.Status, p.Status)
	set(&a.Plan, p.Plan)
	set(&a.Partner, p.Partner)
	set(&a.RequestLimit, p.RequestLimit)
	if p.AllowedOrigins != nil {
		a.AllowedOrigins = sortedOrigins(*p.AllowedOrigins)
	}
}

// saveAccount writes what can change of the account that sc is bound to.
func saveAccount(sc scope, a *domain.Account) error {
	row := newAccountRow(a)
	err := sc.rows(&accountRow{}).Updates(map[string]any{
		"name": row.Name, "external_id": row.ExternalID, "status": row.Status, "plan": row.Plan,
		"partner": row.Partner, "request_limit": row.RequestLimit, "updated_at": row.Updated,
	}).Error
	if violated(err, "accounts_external_id", "accounts.external_id") {
		return externalIDInUse()
	}
	if err != nil {
		return err
	}
	if err := setOrigins(sc, a.AllowedOrigins); err != nil {
		return err
	}
	return recordAuthChange(sc)
}

// setOrigins replaces the origins of the account that sc is bound to.
func setOrigins(sc scope, origins []string) error {
	if err := sc.rows(&originRow{}).Delete(&originRow{}).Error; err != nil || len(origins) == 0 {
		return err
	}
	rows := make([]originRow, len(origins))
	for i, o := range origins {
		rows[i] = originRow{AccountID: uid(sc.wall.account), Origin: o}
	}
	return sc.all(&originRow{}).Create(&rows).Error
}

// OriginAllowed reports whether any account lists the browser origin.
func (s *Store) OriginAllowed(ctx context.Context, origin string) (bool, error) {
	if !isText(origin) {
		return false, nil
	}
	return load(ctx, s, wall{pass: passOriginAllowed}, func(sc scope) (bool, error) {
		var rows []originRow
		err := sc.all(&originRow{}).Where(eq("origin", origin)).Limit(1).Find(&rows).Error
		return len(rows) > 0, err
	})
}

// set assigns the value of a patch's field, if there is one.
func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// sortedOrigins returns the origins as the database gives them back: in order, each once, nil for none.
func sortedOrigins(origins []string) []string {
	if len(origins) == 0 {
		return nil
	}
	return slices.Compact(slices.Sorted(slices.Values(origins)))
}
