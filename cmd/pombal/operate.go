package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
)

// operatorFlags are what every operator's command needs to open the database.
type operatorFlags struct {
	app.Database `embed:""`
	app.Secrets  `embed:""`
	Plans        app.Plans `env:"POMBAL_PLANS" help:"Plans as JSON; see serve." placeholder:"JSON"`
	TokenIssuer  string    `env:"POMBAL_TOKEN_ISSUER" default:"pombal" help:"The iss of tokens; see serve."`
}

// with opens the database for one command.
func (f *operatorFlags) with(ctx context.Context, s streams, do func(*app.Operator) error) (err error) {
	o, err := app.OpenOperator(ctx, app.Config{
		Database: f.Database, Secrets: f.Secrets, Plans: f.Plans, TokenIssuer: f.TokenIssuer,
	}, s.err)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	return do(o)
}

type accountsCmd struct {
	Create createAccountCmd `cmd:"" help:"Create an account and print its id."`
	List   listAccountsCmd  `cmd:"" help:"List all accounts."`
}

type createAccountCmd struct {
	operatorFlags `embed:""`
	Name          string `required:"" help:"What to call it."`
	Plan          string `default:"free" help:"Its plan."`
	Partner       bool   `help:"Let it have child accounts."`
	Parent        string `help:"The partner that it belongs to." placeholder:"acct_…"`
	RequestLimit  int    `help:"Requests per minute, instead of the plan's." placeholder:"N"`
}

// Run creates the account.
func (c *createAccountCmd) Run(ctx context.Context, s streams) error {
	return c.with(ctx, s, func(o *app.Operator) error {
		a, err := o.CreateAccount(ctx, app.NewAccount{
			Name: c.Name, Plan: c.Plan, Parent: c.Parent, Partner: c.Partner, RequestLimit: c.RequestLimit,
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(s.out, a.ID.Prefixed(domain.PrefixAccount))
		return err
	})
}

type listAccountsCmd struct {
	operatorFlags `embed:""`
}

// Run lists the accounts.
func (c *listAccountsCmd) Run(ctx context.Context, s streams) error {
	return c.with(ctx, s, func(o *app.Operator) error {
		return table(s.out, "ID\tNAME\tPLAN\tSTATUS\tPARTNER\tPARENT", func(row func(...any)) error {
			return o.EachAccount(ctx, func(a domain.Account) error {
				parent := "-"
				if !a.ParentID.IsZero() {
					parent = a.ParentID.Prefixed(domain.PrefixAccount)
				}
				row(a.ID.Prefixed(domain.PrefixAccount), a.Name, a.Plan, a.Status, a.Partner, parent)
				return nil
			})
		})
	})
}

type keysCmd struct {
	Create createKeyCmd `cmd:"" help:"Create an API key and print it. It cannot be shown again."`
	List   listKeysCmd  `cmd:"" help:"List the keys of an account."`
	Revoke revokeKeyCmd `cmd:"" help:"Revoke a key, on every node within a second."`
}

type createKeyCmd struct {
	operatorFlags `embed:""`
	Account       string        `required:"" help:"Whose key it is." placeholder:"acct_…"`
	Name          string        `default:"operator" help:"What to call it."`
	Scopes        []string      `help:"What it may do, separated by commas; everything by default." placeholder:"SCOPE"`
	Expires       time.Duration `help:"How long it is good, such as 720h; for ever by default." placeholder:"DURATION"`
}

// Run creates the key.
func (c *createKeyCmd) Run(ctx context.Context, s streams) error {
	return c.with(ctx, s, func(o *app.Operator) error {
		_, secret, err := o.CreateKey(ctx, app.NewKey{Account: c.Account, Name: c.Name, Scopes: c.Scopes, Expires: c.Expires})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(s.out, secret)
		return err
	})
}

type listKeysCmd struct {
	operatorFlags `embed:""`
	Account       string `required:"" help:"Whose keys." placeholder:"acct_…"`
}

// Run lists the keys.
func (c *listKeysCmd) Run(ctx context.Context, s streams) error {
	return c.with(ctx, s, func(o *app.Operator) error {
		return table(s.out, "ID\tNAME\tENDS IN\tSCOPES\tEXPIRES\tLAST USED", func(row func(...any)) error {
			return o.EachKey(ctx, c.Account, func(k domain.APIKey) error {
				row(k.ID.Prefixed(domain.PrefixAPIKey), k.Name, k.LastFour, strings.Join(k.Scopes.Names(), ","),
					timeOrDash(k.ExpiresAt), timeOrDash(k.LastUsedAt))
				return nil
			})
		})
	})
}

type revokeKeyCmd struct {
	operatorFlags `embed:""`
	Account       string `required:"" help:"Whose key it is." placeholder:"acct_…"`
	Key           string `arg:"" help:"The key's id." placeholder:"key_…"`
}

// Run revokes the key.
func (c *revokeKeyCmd) Run(ctx context.Context, s streams) error {
	return c.with(ctx, s, func(o *app.Operator) error {
		if err := o.RevokeKey(ctx, c.Account, c.Key); err != nil {
			return err
		}
		_, err := fmt.Fprintln(s.out, "Revoked", c.Key)
		return err
	})
}

type signingKeysCmd struct {
	Rotate rotateSigningKeyCmd `cmd:"" help:"Begin to sign tokens with a new key; tokens of the old one stay good until they expire."`
}

type rotateSigningKeyCmd struct {
	operatorFlags `embed:""`
}

// Run rotates the signing key.
func (c *rotateSigningKeyCmd) Run(ctx context.Context, s streams) error {
	return c.with(ctx, s, func(o *app.Operator) error {
		if err := o.RotateSigningKey(ctx); err != nil {
			return err
		}
		_, err := fmt.Fprintln(s.out, "A new signing key is published at /.well-known/jwks.json and signs from five minutes on.")
		return err
	})
}

// table prints aligned columns, or nothing when it cannot be filled.
func table(out io.Writer, header string, fill func(row func(...any)) error) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, header) // Flush reports what goes wrong
	err := fill(func(cells ...any) {
		for i, cell := range cells {
			if i > 0 {
				_, _ = fmt.Fprint(w, "\t")
			}
			_, _ = fmt.Fprint(w, cell)
		}
		_, _ = fmt.Fprintln(w)
	})
	if err != nil {
		return err
	}
	return w.Flush()
}

func timeOrDash(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
