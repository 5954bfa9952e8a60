package app_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/migrations"
	"github.com/pombal-api/pombal/pkg/api"
)

// startNodes runs n nodes on one PostgreSQL database.
func startNodes(t *testing.T, n int, options ...func(*app.Config)) []*apitest.Server {
	t.Helper()
	db := apitest.NewDatabase(t, postgres(t))
	nodes := make([]*apitest.Server, n)
	for i := range nodes {
		nodes[i] = apitest.StartOn(t, db, options...)
	}
	return nodes
}

// refusedWithinASecond lists until that is refused with the code. A call that begins later than a second
// after changed must be.
func refusedWithinASecond(t *testing.T, changed time.Time, what string, c *api.Client, code api.ErrorCode) error {
	for {
		late := time.Since(changed) > time.Second
		err := listOnce(t.Context(), c)
		switch {
		case api.CodeOf(err) == code:
			t.Logf("%s: refused after %v", what, time.Since(changed).Round(time.Millisecond))
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w, want %s", what, err, code)
		case late:
			return fmt.Errorf("%s: still served after a second", what)
		}
	}
}

// allRefusedWithinASecond is refusedWithinASecond for several clients at once.
func allRefusedWithinASecond(t *testing.T, clients map[string]*api.Client, code api.ErrorCode) {
	t.Helper()
	changed := time.Now()
	var all errgroup.Group
	for what, c := range clients {
		all.Go(func() error { return refusedWithinASecond(t, changed, what, c, code) })
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
}

// warm makes sure that a node serves a credential, and has what it knows about it in memory.
func warm(t *testing.T, clients ...*api.Client) {
	t.Helper()
	for _, c := range clients {
		for range 3 {
			if err := listOnce(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func mintToken(t *testing.T, c *api.Client) string {
	t.Helper()
	token, err := c.Tokens.Create(t.Context(), api.CreateToken{Scopes: []api.Scope{api.ScopeInstancesRead}})
	if err != nil {
		t.Fatal(err)
	}
	return token.Token
}

func TestRevocationReachesEveryNodeWithinASecond(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 3)
	tenant := nodes[0].NewTenant(t)
	key, err := tenant.API.APIKeys.Create(t.Context(), api.CreateAPIKey{
		Name: "to revoke", Scopes: []api.Scope{api.ScopeInstancesRead},
	})
	if err != nil {
		t.Fatal(err)
	}
	token := mintToken(t, clientOf(t, nodes[0], key.Key))
	clients := map[string]*api.Client{}
	for i, node := range nodes { // a new key and a new token are good everywhere at once
		for what, credential := range map[string]string{"key": key.Key, "token": token} {
			c := clientOf(t, node, credential)
			clients[fmt.Sprintf("%s on node %d", what, i)] = c
			warm(t, c)
		}
	}

	if err := tenant.API.APIKeys.Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"key on node 0", "token on node 0"} { // at once on the node that did it
		if err := listOnce(t.Context(), clients[what]); api.CodeOf(err) != api.ErrorCodeInvalidAPIKey {
			t.Errorf("%s: %v", what, err)
		}
	}
	allRefusedWithinASecond(t, clients, api.ErrorCodeInvalidAPIKey)
	warm(t, clientOf(t, nodes[2], tenant.Key)) // nobody else is hit
}

func TestSuspendedChildIsRefusedOnEveryNode(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 2)
	partner := nodes[0].NewPartner(t)
	child, sibling := partner.NewChild(t), partner.NewChild(t)
	onB := map[string]*api.Client{
		"its own key":            clientOf(t, nodes[1], child.Key),
		"its own token":          clientOf(t, nodes[1], mintToken(t, child.API)),
		"the partner's key":      clientOf(t, nodes[1], partner.Key).OnAccount(child.ID),
		"the partner's token":    clientOf(t, nodes[1], mintToken(t, partner.API.OnAccount(child.ID))),
		"the key, on this node":  clientOf(t, nodes[0], child.Key),
		"the partner, this node": partner.API.OnAccount(child.ID),
	}
	for _, c := range onB {
		warm(t, c)
	}
	setStatus := func(status api.AccountStatus) {
		t.Helper()
		if _, err := partner.API.Accounts.Update(t.Context(), child.ID, api.UpdateAccount{Status: &status}); err != nil {
			t.Fatal(err)
		}
	}
	setStatus("suspended")
	allRefusedWithinASecond(t, onB, api.ErrorCodeInsufficientPermissions)
	warm(t, clientOf(t, nodes[1], sibling.Key), clientOf(t, nodes[1], partner.Key).OnAccount(sibling.ID))
	setStatus("active")
	for what, c := range onB {
		eventually(t, 2*time.Second, func() error {
			if err := listOnce(t.Context(), c); err != nil {
				return fmt.Errorf("%s after reactivation: %w", what, err)
			}
			return nil
		})
	}
}

func TestRotationOverlapsOnEveryNode(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 2)
	tenant := nodes[0].NewTenant(t)
	scopes := []api.Scope{api.ScopeInstancesRead}
	key, err := tenant.API.APIKeys.Create(t.Context(), api.CreateAPIKey{Name: "to rotate", Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	rotate := func(overlap int) *api.APIKeyWithSecret {
		t.Helper()
		rotated, err := tenant.API.APIKeys.Rotate(t.Context(), key.ID, api.RotateAPIKey{OverlapSeconds: &overlap})
		if err != nil {
			t.Fatal(err)
		}
		return rotated
	}
	for _, node := range nodes {
		warm(t, clientOf(t, node, key.Key))
	}

	second := rotate(3600)
	for _, node := range nodes { // at once: whoever was given the new secret may use it on any node
		warm(t, clientOf(t, node, second.Key), clientOf(t, node, key.Key))
	}
	third := rotate(0)
	olds := map[string]*api.Client{}
	for i, node := range nodes {
		warm(t, clientOf(t, node, third.Key))
		for n, old := range []string{key.Key, second.Key} {
			olds[fmt.Sprintf("secret %d on node %d", n+1, i)] = clientOf(t, node, old)
		}
	}
	allRefusedWithinASecond(t, olds, api.ErrorCodeInvalidAPIKey)
}

// TestFirstTokensOfTwoNodes has two nodes make their first signing key at the same moment. Each must take
// the other's tokens at once.
func TestFirstTokensOfTwoNodes(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 2)
	tenant := nodes[0].NewTenant(t)
	tokens := make([]string, len(nodes))
	var mint errgroup.Group
	for i, node := range nodes {
		c := clientOf(t, node, tenant.Key)
		warm(t, c)
		mint.Go(func() error {
			token, err := c.Tokens.Create(t.Context(), api.CreateToken{})
			if err == nil {
				tokens[i] = token.Token
			}
			return err
		})
	}
	if err := mint.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, token := range tokens {
		for _, node := range nodes {
			warm(t, clientOf(t, node, token))
		}
	}
}

// TestManyNodesMigrateOnce starts ten nodes on an empty database at the same time.
func TestManyNodesMigrateOnce(t *testing.T) {
	t.Parallel()
	db := postgres(t).New(t)
	var open errgroup.Group
	for range 10 {
		open.Go(func() error {
			cfg := apitest.Config(db)
			cfg.MaxConns = 2
			node, err := app.Open(t.Context(), cfg, io.Discard)
			if err != nil {
				return err
			}
			return node.Close()
		})
	}
	if err := open.Wait(); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	var applied, versions int
	err = conn.QueryRow(t.Context(), "SELECT count(*), count(DISTINCT version_id) FROM goose_db_version WHERE version_id > 0").
		Scan(&applied, &versions)
	if err = errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	files, err := migrations.FS.ReadDir("postgres")
	if err != nil {
		t.Fatal(err)
	}
	if applied != len(files) || versions != len(files) {
		t.Errorf("%d migrations of %d versions were applied, want %d of each", applied, versions, len(files))
	}
}

// TestManyCommandsMigrateOnce is the same for SQLite, where one process serves but any number may operate.
func TestManyCommandsMigrateOnce(t *testing.T) {
	t.Parallel()
	cfg := apitest.Config(testkit.Database{Dir: t.TempDir()})
	var open errgroup.Group
	for range 10 {
		open.Go(func() error {
			o, err := app.OpenOperator(t.Context(), cfg, io.Discard)
			if err != nil {
				return err
			}
			_, err = o.CreateAccount(t.Context(), app.NewAccount{Name: "one of ten", Plan: "test"})
			return errors.Join(err, o.Close())
		})
	}
	if err := open.Wait(); err != nil {
		t.Fatal(err)
	}
	s := apitest.StartOn(t, testkit.Database{Dir: cfg.DataDir})
	if got := mustSend(t, s.HTTP(t), s.URL, request{method: http.MethodGet, path: "/readyz"}); got.status != http.StatusOK {
		t.Errorf("/readyz answered %d: %s", got.status, got.body)
	}
}
