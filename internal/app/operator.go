package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/whatsapp"
)

// Operator carries out an operator's commands on the database, beside nodes that may be serving.
type Operator struct {
	core  *core
	plans map[string]domain.Plan
	now   func() time.Time
}

// OpenOperator opens the database for commands and brings it up to date.
func OpenOperator(ctx context.Context, cfg Config, logTo io.Writer) (*Operator, error) {
	log := slog.New(slog.NewTextHandler(logTo, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, err := openCore(ctx, cfg.Database, cfg.Secrets, cfg.TokenIssuer, log, operating)
	if err != nil {
		return nil, err
	}
	return &Operator{core: c, plans: cfg.Plans.byName(), now: time.Now}, nil
}

// Migrate brings a database up to date without needing its secrets.
func Migrate(ctx context.Context, db Database, logTo io.Writer) error {
	log := slog.New(slog.NewTextHandler(logTo, &slog.HandlerOptions{Level: slog.LevelInfo}))
	c := &core{unlock: func() {}}
	if err := c.openStore(ctx, db, log); err != nil {
		_ = c.Close()
		return err
	}
	devices, err := whatsapp.Open(ctx, db.devices(log))
	if err != nil {
		return errors.Join(err, c.Close())
	}
	return errors.Join(devices.Close(), c.Close()) //nolint:contextcheck // closing must not be cut short
}

// Close closes the database.
func (o *Operator) Close() error { return o.core.Close() }

// NewAccount describes an account to create.
type NewAccount struct {
	Name         string
	Plan         string
	Parent       string // acct_… of a partner; "" for none
	Partner      bool
	RequestLimit int // requests per minute instead of the plan's; 0 for the plan's
}

// CreateAccount creates an account.
func (o *Operator) CreateAccount(ctx context.Context, n NewAccount) (domain.Account, error) {
	if err := checkName(n.Name); err != nil {
		return domain.Account{}, err
	}
	if n.RequestLimit < 0 {
		return domain.Account{}, errors.New("the request limit must be above 0; leave it out for the plan's")
	}
	if _, ok := o.plans[n.Plan]; !ok {
		return domain.Account{}, fmt.Errorf("there is no plan %q; see POMBAL_PLANS", n.Plan)
	}
	now := o.now().UTC().Truncate(time.Millisecond)
	a := domain.Account{
		ID: domain.NewID(now), Name: n.Name, Plan: n.Plan, Partner: n.Partner, RequestLimit: n.RequestLimit,
		Status: domain.AccountActive, CreatedAt: now, UpdatedAt: now,
	}
	if n.Parent != "" {
		if n.Partner {
			return domain.Account{}, fmt.Errorf("a child account cannot be a partner itself")
		}
		parent, err := o.account(ctx, n.Parent)
		if err != nil {
			return domain.Account{}, err
		}
		if !parent.Partner {
			return domain.Account{}, fmt.Errorf("%s is not a partner account; create one with --partner", n.Parent)
		}
		a.ParentID = parent.ID
	}
	return a, o.core.store.CreateAccount(ctx, &a)
}

// maxName is the longest name, in characters, as the API has it.
const maxName = 100

// checkName holds names to the rules of the API.
func checkName(name string) error {
	if name != strings.TrimSpace(name) || name == "" || utf8.RuneCountInString(name) > maxName || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("the name %q is not good: give 1 to %d characters, without spaces around them or line breaks", name, maxName)
	}
	return nil
}

func (o *Operator) account(ctx context.Context, text string) (domain.Account, error) {
	id, err := domain.ParsePrefixed(domain.PrefixAccount, text)
	if err != nil {
		return domain.Account{}, fmt.Errorf("%q is no account id; list them with: pombal accounts list", text)
	}
	return o.core.store.AccountByID(ctx, id)
}

// operatorPage is how many rows a listing command reads at once.
const operatorPage = 100

// EachAccount calls each for every account, oldest first.
func (o *Operator) EachAccount(ctx context.Context, each func(domain.Account) error) error {
	return eachItem(ctx, o.core.store.Accounts, each)
}

// EachKey calls each for every live key of an account, oldest first.
func (o *Operator) EachKey(ctx context.Context, account string, each func(domain.APIKey) error) error {
	bound, err := o.bind(ctx, account)
	if err != nil {
		return err
	}
	return eachItem(ctx, bound.APIKeys, each)
}

// eachItem walks all pages of a list by cursor.
func eachItem[T any](ctx context.Context, read func(context.Context, domain.PageRequest) ([]T, domain.PageInfo, error), each func(T) error) error {
	page := domain.PageRequest{Limit: operatorPage}
	for {
		items, info, err := read(ctx, page)
		if err != nil {
			return err
		}
		for _, item := range items {
			if err := each(item); err != nil {
				return err
			}
		}
		if !info.HasMore {
			return nil
		}
		page.After = &info.Last
	}
}

func (o *Operator) bind(ctx context.Context, account string) (*store.Account, error) {
	a, err := o.account(ctx, account)
	if err != nil {
		return nil, err
	}
	return o.core.store.Account(a.ID)
}

// NewKey describes an API key to create.
type NewKey struct {
	Account string // acct_…
	Name    string
	Scopes  []string      // nil for all
	Expires time.Duration // 0 for never
}

// CreateKey creates an API key and returns its secret, which nobody can see again.
func (o *Operator) CreateKey(ctx context.Context, n NewKey) (domain.APIKey, string, error) {
	if err := checkName(n.Name); err != nil {
		return domain.APIKey{}, "", err
	}
	if n.Expires < 0 {
		return domain.APIKey{}, "", errors.New("the key would be expired already; give a duration above 0, such as 720h")
	}
	bound, err := o.bind(ctx, n.Account)
	if err != nil {
		return domain.APIKey{}, "", err
	}
	scopes := domain.AllScopes
	if len(n.Scopes) > 0 {
		var unknown string
		if scopes, unknown = domain.ParseScopes(n.Scopes); unknown != "" {
			return domain.APIKey{}, "", fmt.Errorf("%q is no scope; the scopes are %s", unknown, domain.AllScopes)
		}
	}
	account, err := o.account(ctx, n.Account)
	if err != nil {
		return domain.APIKey{}, "", err
	}
	return o.core.createKey(ctx, bound, domain.APIKey{AccountID: account.ID, Name: n.Name, Scopes: scopes}, n.Expires, o.now())
}

// createKey gives a key a secret and stores it. It chooses the id where there is none.
func (c *core) createKey(ctx context.Context, bound *store.Account, key domain.APIKey, expires time.Duration, now time.Time) (domain.APIKey, string, error) {
	secret := c.auth.NewKey()
	now = now.UTC().Truncate(time.Millisecond)
	if key.ID.IsZero() {
		key.ID = domain.NewID(now)
	}
	key.Lookup, key.LastFour, key.Digest, key.CreatedAt = secret.Lookup, secret.LastFour, secret.Digest, now
	if expires > 0 {
		key.ExpiresAt = now.Add(expires)
	}
	return key, secret.Plain, bound.CreateAPIKey(ctx, &key)
}

// RevokeKey revokes a key on every node within a second.
func (o *Operator) RevokeKey(ctx context.Context, account, key string) error {
	bound, err := o.bind(ctx, account)
	if err != nil {
		return err
	}
	id, err := domain.ParsePrefixed(domain.PrefixAPIKey, key)
	if err != nil {
		return fmt.Errorf("%q is no key id; list them with: pombal keys list --account %s", key, account)
	}
	return bound.RevokeAPIKey(ctx, id, o.now())
}

// RotateSigningKey begins to sign tokens with a new key. Tokens of the old one stay good until they expire.
func (o *Operator) RotateSigningKey(ctx context.Context) error {
	return o.core.auth.RotateSigningKey(ctx)
}

// Operator carries out commands on the database that this node serves from. It is closed with the node.
func (a *App) Operator() *Operator {
	return &Operator{core: a.core, plans: a.cfg.Plans.byName(), now: time.Now}
}
