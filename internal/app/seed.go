package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
)

// Sample names the sample data. It is made once per data directory and kept there. All ids are chosen, and
// written down, before anything is made, so that who goes on after a crash makes the same things.
type Sample struct {
	Secret        string `json:"secret"`
	AccountID     string `json:"accountId"`
	PartnerID     string `json:"partnerAccountId"`
	APIKey        string `json:"apiKey"`        // "" until Seeded
	PartnerAPIKey string `json:"partnerApiKey"` // "" until Seeded

	Seeded       bool             `json:"seeded"` // everything is in the database
	WhatsAppSeed []byte           `json:"whatsAppSeed"`
	ChildIDs     []string         `json:"childAccountIds"`
	KeyID        string           `json:"keyId"`
	PartnerKeyID string           `json:"partnerKeyId"`
	Instances    []SampleInstance `json:"instances"`
}

// SampleInstance is one of the sample's instances.
type SampleInstance struct {
	AccountID string `json:"accountId"`
	ID        string `json:"id"`
	Phone     string `json:"phone,omitempty"` // which is to scan its QR code; "" for none
	// Connected says that it has been connected once. From then on it is the user's.
	Connected bool `json:"connected"`
}

// errOldSample asks for a new start: the sample data was made before there was a fake WhatsApp.
var errOldSample = errors.New("it was made by an older version of Pombal")

// beginSample reads the sample of a directory, or writes down what it will be.
func beginSample(dir string, seed []byte) (Sample, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Sample{}, fmt.Errorf("cannot make the data directory: %w", err)
	}
	var s Sample
	err := readJSON(dir, sampleFile, &s)
	if errors.Is(err, fs.ErrNotExist) {
		// If two begin at once, both go by what the first one has written: one of them will get the directory.
		if err = writeJSON(dir, sampleFile, planSample(seed), os.Link); err == nil || errors.Is(err, fs.ErrExist) {
			err = readJSON(dir, sampleFile, &s)
		}
	}
	if err == nil && len(s.WhatsAppSeed) == 0 {
		err = errOldSample
	}
	if err != nil {
		return s, fmt.Errorf("%s cannot be used; remove %s to begin anew: %w", sampleFile, dir, err)
	}
	return s, nil
}

// planSample chooses everything that is chosen at random.
func planSample(seed []byte) *Sample {
	now := time.Now()
	account := func() string { return domain.NewID(now).Prefixed(domain.PrefixAccount) }
	key := func() string { return domain.NewID(now).Prefixed(domain.PrefixAPIKey) }
	if seed == nil {
		seed = randomBytes()
	}
	s := &Sample{
		Secret:       base64.StdEncoding.EncodeToString(randomBytes()),
		WhatsAppSeed: seed,
		AccountID:    account(), PartnerID: account(), ChildIDs: []string{account(), account()},
		KeyID: key(), PartnerKeyID: key(),
	}
	for _, in := range s.instances() {
		s.Instances = append(s.Instances, SampleInstance{
			AccountID: in.owner, ID: domain.NewID(in.CreatedAt).Prefixed(domain.PrefixInstance), Phone: in.Phone,
		})
	}
	return s
}

func randomBytes() []byte {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails: the runtime aborts instead
	return secret
}

// rootKey is what the certificates of the sample's fake WhatsApp are signed with.
func (s *Sample) rootKey() [32]byte { return fakewa.RootKey(s.WhatsAppSeed) }

// seed makes the sample data: an account with the three instances of the contract's list page, and a
// partner with two child accounts, one of which has the instances of the fetchInstances page. What is there
// already, stays.
func (d *Dev) seed(ctx context.Context) error {
	s := &d.Sample
	accounts, err := s.accounts(time.Now())
	if err != nil {
		return err
	}
	for _, a := range accounts {
		if err = d.core.store.CreateAccount(ctx, &a); err != nil {
			return err
		}
	}
	for i, in := range s.instances() {
		if err = d.sampleInstance(ctx, s.Instances[i], in.Instance); err != nil {
			return err
		}
	}
	if s.APIKey, err = d.sampleKey(ctx, s.AccountID, s.KeyID); err != nil {
		return err
	}
	if s.PartnerAPIKey, err = d.sampleKey(ctx, s.PartnerID, s.PartnerKeyID); err != nil {
		return err
	}
	s.Seeded = true
	return writeJSON(d.dir, sampleFile, s, os.Rename)
}

func (d *Dev) sampleKey(ctx context.Context, account, key string) (string, error) {
	owner, err := domain.ParsePrefixed(domain.PrefixAccount, account)
	if err != nil {
		return "", err
	}
	id, err := domain.ParsePrefixed(domain.PrefixAPIKey, key)
	if err != nil {
		return "", err
	}
	bound, err := d.core.store.Account(owner)
	if err != nil {
		return "", err
	}
	_, secret, err := d.core.createKey(ctx, bound, domain.APIKey{ID: id, AccountID: owner, Name: "Sample key", Scopes: domain.AllScopes}, 0, time.Now())
	return secret, err
}

func (d *Dev) sampleInstance(ctx context.Context, as SampleInstance, in domain.Instance) error {
	owner, id, err := as.ids()
	if err != nil {
		return err
	}
	bound, err := d.core.store.Account(owner)
	if err != nil {
		return err
	}
	in.AccountID, in.ID = owner, id
	in.Integration, in.WebhookEvents, in.Version = domain.IntegrationWeb, domain.AllEvents, 1
	if in.Status == domain.StatusConnected { // not yet
		in.Desired, in.Status, in.Reason = domain.DesiredDisconnected, domain.StatusDisconnected, domain.ReasonNeverConnected
		in.Phone, in.ProfileName, in.ProfilePicURL, in.ProfileStatus = "", "", "", ""
		in.UpdatedAt, in.ConnectedAt, in.LastSeenAt = in.CreatedAt, time.Time{}, time.Time{}
	}
	var token string
	token, in.TokenDigest = d.core.newInstanceToken()
	in.TokenSealed = d.core.sealer.Seal([]byte(token), domain.InstanceTokenPlace(owner, id))
	in.OwnWebhook = d.sampleWebhook(owner)
	return bound.CreateInstance(ctx, &in, 0)
}

// sampleWebhook is what becomes a sample instance's own webhook. It is disabled: the URL is one of the documentation, and
// nobody's business to call.
func (d *Dev) sampleWebhook(account domain.ID) *domain.Webhook {
	id := domain.NewID(time.Now())
	return &domain.Webhook{
		ID: id, Secret: d.core.sealer.Seal([]byte(rand.Text()), domain.WebhookSecretPlace(account, id)),
		Status: domain.WebhookDisabled, DisabledReason: domain.DisabledByOwner,
	}
}

func (in *SampleInstance) ids() (account, instance domain.ID, err error) {
	if account, err = domain.ParsePrefixed(domain.PrefixAccount, in.AccountID); err == nil {
		instance, err = domain.ParsePrefixed(domain.PrefixInstance, in.ID)
	}
	return account, instance, err
}
