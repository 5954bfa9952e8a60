package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// office is an account on a database, and the nodes that publish and deliver its events.
type office struct {
	tb        testing.TB
	db        testkit.Database
	account   domain.ID
	key       string
	api       *api.Client // on any node that serves; answers are held against openapi.yaml
	stream    *api.Client // the same, without that
	calls     *site       // counts them
	clerks    []*clerk
	instances []domain.ID

	mu        sync.Mutex
	processes []*process
	acked     map[string]published
}

// newOffice makes an office without nodes.
func newOffice(tb testing.TB, engine testkit.Engine) *office {
	tb.Helper()
	o := &office{tb: tb, db: engine.New(tb), acked: map[string]published{}, calls: &site{tb: tb, calls: map[string]int{}}}
	cfg := apitest.Config(o.db)
	if err := app.Migrate(tb.Context(), cfg.Database, io.Discard); err != nil {
		tb.Fatal(err)
	}
	operator, err := app.OpenOperator(tb.Context(), cfg, io.Discard)
	if err != nil {
		tb.Fatal(err)
	}
	account, err := operator.CreateAccount(tb.Context(), app.NewAccount{Name: "soak", Plan: "test"})
	if err == nil {
		o.account = account.ID
		_, o.key, err = operator.CreateKey(tb.Context(), app.NewKey{Account: account.ID.Prefixed(domain.PrefixAccount), Name: "soak"})
	}
	if err = errors.Join(err, operator.Close()); err != nil {
		tb.Fatal(err)
	}
	contract, err := apitest.Contract()
	if err != nil {
		tb.Fatal(err)
	}
	transport := o.transport(nil)
	o.api = o.client(contract.For(tb).Transport(transport))
	o.stream = o.client(transport)
	tb.Cleanup(o.end)
	return o
}

// client is the SDK on whatever node the transport leads to.
func (o *office) client(t http.RoundTripper) *api.Client {
	o.tb.Helper()
	c, err := api.NewClient("http://pombal.test", o.key, api.WithHTTPClient(&http.Client{Transport: t, Timeout: 20 * time.Second}), api.WithMaxRetries(0))
	if err != nil {
		o.tb.Fatal(err)
	}
	return c
}

// transport leads to a node, or for nil to any that serves, as a load balancer does.
func (o *office) transport(to *clerk) *http.Transport {
	t := &http.Transport{MaxIdleConnsPerHost: 16, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		clerks := []*clerk{to}
		if to == nil {
			clerks = o.clerks
		}
		for _, i := range rand.Perm(len(clerks)) {
			if p := clerks[i].process(); p != nil {
				return (&net.Dialer{}).DialContext(ctx, network, strings.TrimPrefix(p.url, "http://"))
			}
		}
		return nil, errors.New("no node serves")
	}}
	o.tb.Cleanup(t.CloseIdleConnections)
	return t
}

// end kills what runs and looks at all logs.
func (o *office) end() {
	for _, c := range o.clerks {
		c.kill9()
	}
	for _, p := range o.processes {
		p.checkLog(o.tb)
		if o.tb.Failed() {
			o.tb.Logf("what was remarkable in the log of %s:\n%s", p.name, p.remarks())
		}
	}
}

// newInstances makes instances.
func (o *office) newInstances(n int) {
	o.tb.Helper()
	for i := range n {
		in, err := o.api.Instances.Create(o.tb.Context(), api.CreateInstance{Name: fmt.Sprintf("Instance %d", i)})
		if err != nil {
			o.tb.Fatal(err)
		}
		o.addInstance(in.ID)
	}
}

func (o *office) addInstance(id string) {
	o.tb.Helper()
	parsed, err := domain.ParsePrefixed(domain.PrefixInstance, id)
	if err != nil {
		o.tb.Fatal(err)
	}
	o.instances = append(o.instances, parsed)
}

// ackedEvents is how many events are known to be committed.
func (o *office) ackedEvents() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.acked)
}

func (o *office) take(r *receipt) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for _, e := range r.Events {
		e.at = now
		o.acked[e.ID] = e
	}
}
