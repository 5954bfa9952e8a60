package deliveries

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/seal"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/webhook"
)

// pombal is the store and the worker as the service has them, with production defaults.
type pombal struct {
	store     *store.Store
	client    *webhook.Client
	worker    *webhook.Worker
	sealer    *seal.Sealer
	targets   []target
	published atomic.Pointer[func([]domain.Delivery)]
}

// target is an account with a webhook.
type target struct {
	account  *store.Account
	instance domain.ID
}

// idlePerHost is how many idle connections the service keeps for a webhook. Here all have the same host, so that
// there are as many as that for each of them.
const idlePerHost = 8

func openPombal(ctx context.Context, s Script) (*pombal, error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	p := &pombal{}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	var err error
	if p.sealer, err = seal.New(secret); err != nil {
		return nil, err
	}
	p.store, err = store.Open(ctx, store.Config{URL: s.URL, DataDir: s.Dir, OnPublish: p.onPublish, Log: log})
	if err != nil {
		return nil, err
	}
	if err = p.store.Migrate(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.client = webhook.NewClient(webhook.NewURLPolicy(webhook.Loopback()...), func(w *domain.Webhook, sealed []byte) ([]byte, error) {
		return p.sealer.Open(sealed, domain.WebhookSecretPlace(w.AccountID, w.ID))
	}, idlePerHost*s.Targets)
	p.worker = webhook.NewWorker(webhook.Config{Store: p.store, Client: p.client, Log: log})
	offer := p.worker.Offer
	p.published.Store(&offer)
	for i := range s.Targets {
		t, err := p.addTarget(ctx, "http://"+s.Sink+s.path(i))
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.targets = append(p.targets, t)
	}
	return p, nil
}

func (p *pombal) onPublish(due []domain.Delivery) {
	if offer := p.published.Load(); offer != nil {
		(*offer)(due)
	}
}

// addTarget makes an account with a webhook for all events.
func (p *pombal) addTarget(ctx context.Context, url string) (t target, err error) {
	a := domain.Account{Name: "Benchmark", Plan: "free"}
	if err = p.store.CreateAccount(ctx, &a); err != nil {
		return t, err
	}
	if t.account, err = p.store.Account(a.ID); err != nil {
		return t, err
	}
	in := domain.Instance{Name: "Benchmark"}
	if err = t.account.CreateInstance(ctx, &in, 0); err != nil {
		return t, err
	}
	t.instance = in.ID
	w := domain.Webhook{ID: domain.NewID(time.Now()), URL: url, Events: domain.AllEvents}
	secret := "whs_" + rand.Text() + rand.Text()
	w.Secret = p.sealer.Seal([]byte(secret), domain.WebhookSecretPlace(a.ID, w.ID))
	return t, t.account.CreateWebhook(ctx, &w)
}

func (p *pombal) run(ctx context.Context) error {
	p.worker.Run(ctx)
	return nil
}

func (p *pombal) publish(ctx context.Context, target int, data []byte) (string, error) {
	t := p.targets[target]
	e := []domain.Event{{InstanceID: t.instance, Type: domain.EventMessageReceived, Data: data}}
	err := t.account.PublishEvents(ctx, e)
	return e[0].ID.Prefixed(domain.PrefixEvent), err
}

func (p *pombal) idle() bool {
	s := p.worker.Stats()
	return s.Waiting+s.Attempts+s.Unsettled == 0
}

func (p *pombal) close() error {
	if p.client != nil {
		p.client.Close()
	}
	return p.store.Close()
}
