package httpapi_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

// canary is in every text that a stranger has written. No answer to anybody else may hold it.
const canary = "canary-7c1e5b"

// listening fails the test when the canary sings in an answer.
type listening struct {
	tb   testing.TB
	base http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (l listening) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := l.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	var answered io.Reader = res.Body
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		answered = io.LimitReader(answered, 1) // it has no end
	}
	body, err := io.ReadAll(answered)
	_ = res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(body))
	var header bytes.Buffer
	_ = res.Header.Write(&header) // a buffer takes everything
	if strings.Contains(header.String(), canary) || bytes.Contains(body, []byte(canary)) {
		l.tb.Errorf("%s %s shows what belongs to another account:\n%s\n%s", req.Method, req.URL, &header, body)
	}
	return res, err
}

// guarded returns the asker under the ears of the canary's listener.
func (c *asker) guarded(tb testing.TB) *asker {
	client := *c.client
	client.Transport = listening{tb, client.Transport}
	other := *c
	other.client = &client
	return &other
}

// household is a tenant as others must not see it.
type household struct {
	name   string
	tenant *apitest.Tenant
	asker  *asker
	looker *asker
	ids    map[string]string
	more   []string // paths that show the rest of it
}

// newHousehold fills the tenant with one of each object, the canary in every text.
func newHousehold(tb testing.TB, name string, tenant *apitest.Tenant) *household {
	tb.Helper()
	h := &household{name: name, tenant: tenant, asker: bearer(tb, tenant.Server, tenant.Key), looker: looker(tb, tenant.Server, tenant.Key)}
	var instance, key struct{ ID string }
	h.asker.do(tb, "POST", "/v1/instances", []byte(`{"name":"`+canary+`","externalId":"`+canary+
		`","webhookUrl":"https://`+canary+`.invalid/"}`)).decode(tb, &instance)
	h.asker.do(tb, "POST", "/v1/api-keys", []byte(`{"name":"`+canary+`","scopes":["instances:read"]}`)).decode(tb, &key)
	h.ids = map[string]string{"Instance": instance.ID, "ApiKey": key.ID, "Account": tenant.ID}
	maps.Copy(h.ids, furnish(tb, h.looker, tenant, instance.ID, canary))
	if tenant.Account.Partner {
		h.more = []string{"/v1/accounts?limit=100"}
	}
	return h
}

func (h *household) look(tb testing.TB) map[string]any {
	tb.Helper()
	return stateOf(tb, h.looker, append([]string{
		"/v1/instances?limit=100", "/v1/instances?limit=1&status=disconnected", "/v1/instances/" + h.ids["Instance"],
		"/v1/api-keys?limit=100", "/v1/accounts/" + h.tenant.ID, "/v1/webhooks?limit=100", "/v1/webhooks/inbound?limit=100", "/v1/events?limit=500",
	}, h.more...)...)
}

func canaryAccount(n *app.NewAccount) { n.Name = canary }

// neighbourhood is who lives beside whom: a partner and its two children, another partner with a child,
// and a plain account.
type neighbourhood struct {
	*world    // a partner, whose child is the one of w.child
	sibling   *household
	plain     *household
	rival     *household
	rivalsOwn *household // its child
}

func newNeighbourhood(tb testing.TB, s *apitest.Server) *neighbourhood {
	tb.Helper()
	n := &neighbourhood{world: newWorld(tb, s)}
	rival := s.NewTenant(tb, canaryAccount, func(a *app.NewAccount) { a.Partner = true })
	childOf := func(parent *apitest.Tenant) *apitest.Tenant {
		return s.NewTenant(tb, canaryAccount, func(a *app.NewAccount) { a.Parent = parent.ID })
	}
	n.rivalsOwn = newHousehold(tb, "another partner's child", childOf(rival))
	n.rival = newHousehold(tb, "another partner", rival)
	n.plain = newHousehold(tb, "a plain account", s.NewTenant(tb, canaryAccount))
	n.sibling = newHousehold(tb, "a sibling", childOf(n.Tenant))
	return n
}

// intruder is who asks for what is not theirs.
type intruder struct {
	name    string
	bearer  string            // key or token
	apikey  string            // for the routes with that header
	account string            // X-Account-Id, where the operation takes it
	ids     map[string]string // own objects, for the other places of the request
	victims []*household
	narrow  bool // may be refused the operation or the header as such
}

func (n *neighbourhood) intruders(tb testing.TB) []intruder {
	tb.Helper()
	child, onChild := n.child, map[string]string{"Instance": n.child.NewInstance(tb, "mine").ID}
	maps.Copy(onChild, furnish(tb, looker(tb, child.Server, child.Key), child, onChild["Instance"], "child"))
	onChild["Account"], onChild["ApiKey"] = child.ID, n.ids["ApiKey"]
	token := mint(tb, n.asker, `{}`)
	strangers := []*household{n.plain, n.rival, n.rivalsOwn}
	family := append([]*household{n.sibling}, strangers...)
	restricted, reader := n.restrictedKey(tb)
	above := maps.Clone(n.ids)
	above["Account"] = n.ID
	partner := &household{name: "the partner", ids: above, tenant: n.Tenant, asker: n.asker, looker: n.looker}
	own := &household{name: "the same account", ids: map[string]string{"Instance": n.NewInstance(tb, canary).ID}, tenant: n.Tenant, asker: n.asker, looker: n.looker}
	others := append([]*household{own}, strangers...)
	childToken := mint(tb, n.with("X-Account-Id", child.ID), `{}`)
	childInstance := instanceToken(tb, n.Server, child)
	return []intruder{
		{name: "partner's key", bearer: n.Key, apikey: n.Key, ids: n.ids, victims: strangers},
		{name: "partner's key on its child", bearer: n.Key, apikey: n.Key, account: child.ID, ids: onChild, victims: strangers},
		{name: "partner's token", bearer: token, apikey: n.Key, ids: n.ids, victims: strangers, narrow: true},
		{name: "partner's token for its child", bearer: childToken, apikey: child.Key, ids: onChild, victims: family, narrow: true},
		{name: "child's key", bearer: child.Key, apikey: child.Key, ids: onChild, victims: append(family, partner), narrow: true},
		{name: "instance's token", bearer: child.Key, apikey: childInstance, ids: onChild, victims: family, narrow: true},
		{name: "restricted key", bearer: restricted, apikey: restricted, ids: n.ids, victims: others, narrow: true},
		{name: "restricted token", bearer: mint(tb, bearer(tb, n.Server, reader), `{}`), apikey: reader, ids: n.ids, victims: others, narrow: true},
	}
}

// restrictedKey makes keys that see one instance only: one of all scopes, and a reader.
func (n *neighbourhood) restrictedKey(tb testing.TB) (all, reader string) {
	tb.Helper()
	create := func(scopes []string) string {
		body, err := json.Marshal(map[string]any{"name": "restricted", "scopes": scopes, "instanceIds": []string{n.ids["Instance"]}})
		if err != nil {
			tb.Fatal(err)
		}
		var key struct{ Key string }
		n.do(tb, "POST", "/v1/api-keys", body).decode(tb, &key)
		return key.Key
	}
	return create(domain.ScopeNames()), create([]string{"instances:read"})
}

func mint(tb testing.TB, c *asker, body string) string {
	tb.Helper()
	var token struct{ Token string }
	c.do(tb, "POST", "/v1/tokens", []byte(body)).decode(tb, &token)
	return token.Token
}

func instanceToken(tb testing.TB, s *apitest.Server, tenant *apitest.Tenant) string {
	tb.Helper()
	var list []struct{ APIKey string }
	a := newAsker(tb, s, "apikey", tenant.Key).do(tb, "GET", "/instance/fetchInstances", nil)
	if err := json.Unmarshal(a.Body, &list); err != nil || len(list) == 0 {
		tb.Fatalf("%v in %s", err, a.Body)
	}
	return list[0].APIKey
}

// TestEveryID_OfAnotherAccount asks with ids of others in every place that openapi.yaml has for one. The
// answer must be that to an id which nobody has, and nothing of the others may change or show.
func TestEveryID_OfAnotherAccount(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		n := newNeighbourhood(t, s)
		for _, in := range n.intruders(t) {
			t.Run(in.name, func(t *testing.T) { n.intrude(t, in) })
		}
	})
}

func (n *neighbourhood) intrude(t *testing.T, in intruder) {
	var homes []*watch
	for _, victim := range in.victims {
		homes = append(homes, newWatch(func() map[string]any { return victim.look(t) }))
	}
	asBearer, asKey := bearer(t, n.Server, in.bearer).guarded(t), newAsker(t, n.Server, "apikey", in.apikey).guarded(t)
	for _, op := range n.Server.Contract.Operations() {
		from := asBearer
		if slices.Contains(op.Schemes, "apikey") {
			from = asKey
		}
		for _, position := range op.IDs {
			nobody := unknownIDs()[position.Object]
			if nobody == "" {
				t.Errorf("%s: the tests have no %s to put into the %s %s", op.ID, position.Object, position.In, position.Name)
				continue
			}
			nobodys := n.ask(t, from, in, op, position, nobody)
			for _, victim := range in.victims {
				if victim.ids[position.Object] == "" {
					continue // it has none
				}
				t.Run(op.ID+" "+position.In+" "+position.Name+" of "+victim.name, func(t *testing.T) {
					theirs := n.ask(t, from, in, op, position, victim.ids[position.Object])
					if diff := cmp.Diff(nobodys, theirs); diff != "" {
						t.Errorf("another account's %s can be told from one that nobody has:\n%s", position.Object, diff)
					}
					checkIntrusion(t, in, op, position, theirs)
				})
			}
		}
	}
	for _, home := range homes {
		home.unchanged(t)
	}
}

// checkIntrusion holds an answer against what is documented for ids that nobody has.
func checkIntrusion(t *testing.T, in intruder, op testkit.Operation, position testkit.IDPosition, a plainAnswer) {
	t.Helper()
	codes := map[string]string{"Instance": "instance_not_found", "ApiKey": "api_key_not_found", "Account": "account_not_found",
		"Webhook": "webhook_not_found", "InboundWebhook": "webhook_not_found", "Log": "delivery_not_found", "Event": "event_not_found"}
	switch {
	case slices.Contains(mountedElsewhere(), op.ID): // a list: nothing matches
		if a.Status != http.StatusOK || a.Body != "[]" {
			t.Errorf("answered %d %s", a.Status, a.Body)
		}
	case in.narrow && a.Status == http.StatusForbidden:
	case a.Status != http.StatusNotFound || !strings.Contains(a.Body, codes[position.Object]):
		t.Errorf("answered %d %s", a.Status, a.Body)
	}
}

// plainAnswer is an answer without what differs each time.
type plainAnswer struct {
	Status int
	Header http.Header
	Body   string
}

var requestID = regexp.MustCompile(`req_[0-9a-z]{26}`)

func plain(a *answer) plainAnswer {
	p := plainAnswer{a.Status, a.Header.Clone(), requestID.ReplaceAllString(string(a.Body), "req_")}
	for _, name := range []string{"Date", "X-Request-Id", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "Ratelimit"} {
		p.Header.Del(name)
	}
	return p
}

// ask calls the operation as the intruder, well but for one id.
func (n *neighbourhood) ask(t *testing.T, from *asker, in intruder, op testkit.Operation, position testkit.IDPosition, id string) plainAnswer {
	t.Helper()
	ids, query := maps.Clone(in.ids), ""
	body, _ := validBodies(t, n.Server.Contract, op, in.ids)
	account := in.account
	switch position.In {
	case "path":
		ids[position.Object] = id
	case "query":
		if slices.Contains(mountedElsewhere(), op.ID) {
			id = spelled(t, id)
		}
		query = "?" + position.Name + "=" + id
	case "header":
		if position.Object == "Account" {
			account = id
		} else {
			from = from.with(position.Name, id)
		}
	case "body":
		body = withID(t, op, body, position.Name, id)
	default:
		t.Fatalf("%s: no test puts ids into the %s", op.ID, position.In)
	}
	takesAccount := slices.ContainsFunc(op.IDs, func(p testkit.IDPosition) bool { return p.Name == "X-Account-Id" })
	if account != "" && takesAccount {
		from = from.with("X-Account-Id", account)
	}
	return plain(from.do(t, op.Method, target(t, op, ids)+query, body))
}

// spelled returns the id as the Evolution-compatible routes spell it.
func spelled(t *testing.T, id string) string {
	t.Helper()
	parsed, err := domain.ParsePrefixed(domain.PrefixInstance, id)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.String()
}

// withID puts an id into a body, which must have a place for it in its example.
func withID(t *testing.T, op testkit.Operation, body []byte, name, id string) []byte {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		t.Fatal(err)
	}
	switch object[name].(type) {
	case []any:
		object[name] = []any{id}
	case string:
		object[name] = id
	default:
		t.Fatalf("%s: the largest example has no %s; the tests cannot tell how to send one", op.ID, name)
	}
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// Whatever a tenant asks for well shows nothing of the others.
func TestEveryOperation_ShowsNothingOfOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		n := newNeighbourhood(t, s)
		homes := newWatch(func() map[string]any {
			return map[string]any{"plain": n.plain.look(t), "rival": n.rival.look(t), "rival's": n.rivalsOwn.look(t), "sibling": n.sibling.look(t)}
		})
		for _, op := range s.Contract.Operations() {
			w := newWorld(t, s)
			body, _ := validBodies(t, s.Contract, op, w.ids)
			w.prepare(t, op)
			a := w.as(t, op, w.Key).guarded(t).do(t, op.Method, target(t, op, w.ids), body)
			if a.Status/100 != 2 {
				t.Errorf("%s answered %d %s", op.ID, a.Status, a.Body)
			}
			if slices.Contains(op.QueryParams, "search") {
				w.guarded(t).do(t, op.Method, op.Path+"?search="+canary[:8], nil)
				w.guarded(t).do(t, op.Method, op.Path+"?externalId="+canary, nil)
				w.guarded(t).do(t, op.Method, op.Path, nil, "X-Account-Id", "*")
			}
		}
		homes.unchanged(t)
	})
}

// The cursor of another account's list is as good as a made-up one.
func TestEveryCursor_OfAnotherAccount(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		n := newNeighbourhood(t, s)
		n.rival.tenant.NewInstance(t, canary)
		furnish(t, n.rival.looker, n.rival.tenant, n.rival.ids["Instance"], canary+"2")
		newHousehold(t, "its other child", s.NewTenant(t, canaryAccount, func(a *app.NewAccount) { a.Parent = n.rival.tenant.ID }))
		lists := 0
		for _, op := range s.Contract.Operations() {
			if !slices.Contains(op.QueryParams, "cursor") {
				continue
			}
			lists++
			for _, who := range []string{"", "*"} {
				var page struct{ Pagination struct{ NextCursor *string } }
				a := n.rival.asker.do(t, op.Method, target(t, op, n.rival.ids)+"?limit=1", nil, accountHeader(op, who)...)
				if err := json.Unmarshal(a.Body, &page); err != nil || page.Pagination.NextCursor == nil {
					t.Fatalf("%s: %v in %s", op.ID, err, a.Body)
				}
				theirs := *page.Pagination.NextCursor
				madeUp := strings.Repeat("A", len(theirs))
				path := target(t, op, n.ids)
				got := plain(n.guarded(t).do(t, op.Method, path+"?cursor="+theirs, nil, accountHeader(op, who)...))
				want := plain(n.guarded(t).do(t, op.Method, path+"?cursor="+madeUp, nil, accountHeader(op, who)...))
				if diff := cmp.Diff(want, got); diff != "" || got.Status != http.StatusBadRequest {
					t.Errorf("%s: another account's cursor is answered with %d, or unlike a made-up one:\n%s", op.ID, got.Status, diff)
				}
			}
		}
		if lists < 3 {
			t.Errorf("%d operations take a cursor", lists)
		}
	})
}

// accountHeader asks for all children where the operation can.
func accountHeader(op testkit.Operation, who string) []string {
	if who == "*" && op.ID == "listInstances" {
		return []string{"X-Account-Id", who}
	}
	return nil
}

// An Idempotency-Key means something within one account only: the same key and request of another account
// is new work, and its answer is nobody else's.
func TestEveryIdempotencyKey_OfAnotherAccount(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		n := newNeighbourhood(t, s)
		for _, op := range s.Contract.Operations() {
			if !slices.Contains(op.Statuses, http.StatusUnprocessableEntity) {
				continue
			}
			const key = "the-same-key"
			theirs := n.rival.asker.do(t, op.Method, target(t, op, n.rival.ids), idempotentBody(t, s, op, n.rival.ids), "Idempotency-Key", key+op.ID)
			mine := n.guarded(t).do(t, op.Method, target(t, op, n.ids), idempotentBody(t, s, op, n.ids), "Idempotency-Key", key+op.ID)
			for _, a := range []*answer{theirs, mine} {
				if a.Status/100 != 2 || a.Header.Get("Idempotent-Replayed") != "" {
					t.Errorf("%s answered %d, replayed %q: %s", op.ID, a.Status, a.Header.Get("Idempotent-Replayed"), a.Body)
				}
			}
			if bytes.Equal(theirs.Body, mine.Body) {
				t.Errorf("%s gave two accounts the same answer: %s", op.ID, mine.Body)
			}
		}
	})
}

// idempotentBody is a valid body that is equal for all accounts.
func idempotentBody(t *testing.T, s *apitest.Server, op testkit.Operation, ids map[string]string) []byte {
	t.Helper()
	body, _ := validBodies(t, s.Contract, op, ids)
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		t.Fatal(err)
	}
	delete(object, "instanceIds")
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// A burst of calls of two accounts at once, whose requests share buffers and caches, mixes nothing up.
func TestConcurrentTenants_AreNotMixedUp(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenants := []*apitest.Tenant{s.NewTenant(t), s.NewTenant(t), s.NewTenant(t)}
		var wg sync.WaitGroup
		for i, tenant := range tenants {
			tenant.NewInstance(t, strings.Repeat(string(rune('a'+i)), 50+i))
			for range 4 {
				from := bearer(t, s, tenant.Key)
				wg.Go(func() {
					for range 25 {
						var list []struct{ Name string }
						from.do(t, "GET", "/v1/instances", nil).decode(t, &list)
						if len(list) != 1 || strings.Trim(list[0].Name, string(rune('a'+i))) != "" {
							t.Errorf("tenant %d got %v", i, list)
						}
					}
				})
			}
		}
		wg.Wait()
	})
}
