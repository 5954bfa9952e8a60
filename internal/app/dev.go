package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// DevConfig is what dev can be told.
type DevConfig struct {
	DataDir   string
	Addr      string
	AdminAddr string
	PublicURL string
}

// Dev is a node with an embedded database and sample data, for trying Pombal out.
type Dev struct {
	*App
	Sample Sample
}

// Sample names the sample data. It is made once per data directory and kept there.
type Sample struct {
	Secret        string `json:"secret"`
	AccountID     string `json:"accountId"`
	PartnerID     string `json:"partnerAccountId"`
	APIKey        string `json:"apiKey"`
	PartnerAPIKey string `json:"partnerApiKey"`
}

// sampleFile holds the sample's keys in clear, readable by the user only. Only dev writes it.
const sampleFile = "dev.json"

// OpenDev prepares a node in cfg.DataDir. The first time it makes the sample data; later it finds it
// as the user left it.
func OpenDev(ctx context.Context, cfg DevConfig, logTo io.Writer) (*Dev, error) {
	sample, err := readSample(cfg.DataDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	fresh := err != nil
	if fresh {
		sample.Secret = newSecret()
	}
	a, err := Open(ctx, devConfig(cfg, sample.Secret), logTo)
	if err != nil {
		return nil, err
	}
	if fresh {
		if err := a.seed(ctx, &sample); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot make the sample data: %w", err), a.Close())
		}
		if err := writeSample(cfg.DataDir, sample); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	return &Dev{App: a, Sample: sample}, nil
}

func devConfig(cfg DevConfig, secret string) Config {
	return Config{
		Database:        Database{DataDir: cfg.DataDir},
		Secrets:         Secrets{Secret: Secret(secret)},
		Addr:            cfg.Addr,
		AdminAddr:       cfg.AdminAddr,
		PublicURL:       cfg.PublicURL,
		AllowedOrigins:  []string{"*"},
		TokenIssuer:     "pombal",
		RequestTimeout:  10 * time.Second,
		ShutdownGrace:   5 * time.Second,
		PrivateWebhooks: true,
	}
}

func newSecret() string {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails: the runtime aborts instead
	return base64.StdEncoding.EncodeToString(secret)
}

func readSample(dir string) (Sample, error) {
	var s Sample
	text, err := os.ReadFile(filepath.Join(dir, sampleFile)) // #nosec G304 -- the user's own directory
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%s is damaged; remove %s to begin anew: %w", sampleFile, dir, err)
	}
	return s, nil
}

// writeSample writes the whole file or none of it.
func writeSample(dir string, s Sample) error {
	text, err := json.MarshalIndent(s, "", "  ") //nolint:gosec // the sample's keys are kept for its user to read
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, sampleFile+".tmp")
	if err := os.WriteFile(temp, append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(dir, sampleFile))
}

// seed makes the sample data: an account with the three instances of the contract's list page, and a
// partner with two child accounts, one of which has the instances of the fetchInstances page.
func (a *App) seed(ctx context.Context, s *Sample) error {
	now := time.Now().UTC().Truncate(time.Millisecond)
	account := domain.Account{ID: domain.NewID(now), Name: "Sample account", Plan: "pro"}
	partner := domain.Account{ID: domain.NewID(now), Name: "Sample partner", Plan: "pro", Partner: true}
	children := []domain.Account{
		{ID: domain.NewID(now), ParentID: partner.ID, Name: "Sample child one", Plan: "pro"},
		{ID: domain.NewID(now), ParentID: partner.ID, Name: "Sample child two", Plan: "pro"},
	}
	for _, owner := range append([]domain.Account{account, partner}, children...) {
		owner.Status, owner.CreatedAt, owner.UpdatedAt = domain.AccountActive, now, now
		if err := a.core.store.CreateAccount(ctx, &owner); err != nil {
			return err
		}
	}
	var err error
	if s.APIKey, err = a.sampleKey(ctx, account.ID); err != nil {
		return err
	}
	if s.PartnerAPIKey, err = a.sampleKey(ctx, partner.ID); err != nil {
		return err
	}
	s.AccountID, s.PartnerID = account.ID.Prefixed(domain.PrefixAccount), partner.ID.Prefixed(domain.PrefixAccount)
	return errors.Join(
		a.sampleInstances(ctx, account, listPageInstances()),
		a.sampleInstances(ctx, children[0], fetchPageInstances()),
		a.sampleInstances(ctx, children[1], childInstances()))
}

func (a *App) sampleKey(ctx context.Context, account domain.ID) (string, error) {
	bound, err := a.core.store.Account(account)
	if err != nil {
		return "", err
	}
	_, secret, err := a.core.createKey(ctx, bound, account, "Sample key", domain.AllScopes, 0, time.Now())
	return secret, err
}

func (a *App) sampleInstances(ctx context.Context, owner domain.Account, instances []domain.Instance) error {
	bound, err := a.core.store.Account(owner.ID)
	if err != nil {
		return err
	}
	for _, in := range instances {
		in.AccountID, in.PartnerID, in.ID = owner.ID, owner.ParentID, domain.NewID(in.CreatedAt)
		in.Integration, in.WebhookEvents, in.Version = domain.IntegrationWeb, domain.AllEvents, 1
		var token string
		token, in.TokenDigest = a.core.newInstanceToken()
		in.TokenSealed = a.core.sealer.Seal([]byte(token), domain.InstanceTokenPlace(in.AccountID, in.ID))
		if err := bound.CreateInstance(ctx, &in, 0); err != nil {
			return err
		}
	}
	return nil
}
