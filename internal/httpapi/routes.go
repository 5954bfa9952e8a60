package httpapi

import (
	"net/http"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// access says what a caller must show.
type access int

const (
	public  access = iota // nothing
	bearer                // an API key or a token
	keyOnly               // an API key
)

// route is one operation of openapi.yaml. A test holds this table and that file equal.
type route struct {
	id, method, path string
	access           access
	scope            domain.ScopeSet
	group            string        // of rate limits, "" for none but the general ones
	creates          bool          // takes an Idempotency-Key
	acrossChildren   bool          // takes X-Account-Id: *
	ownAccount       bool          // takes no X-Account-Id
	patience         time.Duration // what its work may wait for others, beyond the time for every request
	do               endpoint
}

// The groups of rate limits.
const (
	groupInstances = "instances"
	groupWebhooks  = "webhooks"
)

// rateGroups lists them all, for who asks what applies.
var rateGroups = [...]string{groupInstances, groupWebhooks}

// routes is the index of the product.
func (s *Server) routes() []route {
	const (
		get, post, put, patch = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch
		del                   = http.MethodDelete
		read, write           = domain.ScopeInstancesRead, domain.ScopeInstancesWrite
		keys, accounts        = domain.ScopeKeysWrite, domain.ScopeAccountsWrite
		events                = domain.ScopeEventsRead
		readHooks, writeHooks = domain.ScopeWebhooksRead, domain.ScopeWebhooksWrite
		grp, hooks            = groupInstances, groupWebhooks
	)
	return []route{
		{id: "listInstances", method: get, path: "/v1/instances", access: bearer, scope: read, group: grp, acrossChildren: true, do: s.listInstances()},
		{id: "createInstance", method: post, path: "/v1/instances", access: bearer, scope: write, group: grp, creates: true, do: handle(s, http.StatusCreated, s.createInstance)},
		{id: "getInstance", method: get, path: "/v1/instances/:instanceId", access: bearer, scope: read, group: grp, do: handle(s, http.StatusOK, s.getInstance)},
		{id: "updateInstance", method: patch, path: "/v1/instances/:instanceId", access: bearer, scope: write, group: grp, do: handle(s, http.StatusOK, s.updateInstance)},
		{id: "deleteInstance", method: del, path: "/v1/instances/:instanceId", access: bearer, scope: write, group: grp, patience: commandPatience, do: handle(s, http.StatusOK, s.deleteInstance)},
		{id: "getInstanceStatus", method: get, path: "/v1/instances/:instanceId/status", access: bearer, scope: read, group: grp, do: handle(s, http.StatusOK, s.getInstanceStatus)},
		{id: "connectInstance", method: post, path: "/v1/instances/:instanceId/connect", access: bearer, scope: write, group: grp, patience: connectPatience, do: handle(s, http.StatusOK, s.connectInstance)},
		{id: "getInstanceQrCode", method: get, path: "/v1/instances/:instanceId/qrcode", access: bearer, scope: read, group: grp, do: s.getInstanceQRCode()},
		{id: "disconnectInstance", method: post, path: "/v1/instances/:instanceId/disconnect", access: bearer, scope: write, group: grp, patience: commandPatience, do: handle(s, http.StatusOK, s.disconnectInstance)},
		{id: "restartInstance", method: post, path: "/v1/instances/:instanceId/restart", access: bearer, scope: write, group: grp, patience: commandPatience, do: handle(s, http.StatusOK, s.restartInstance)},
		{id: "getInstanceProxy", method: get, path: "/v1/instances/:instanceId/proxy", access: bearer, scope: read, group: grp, do: handle(s, http.StatusOK, s.getInstanceProxy)},
		{id: "setInstanceProxy", method: put, path: "/v1/instances/:instanceId/proxy", access: bearer, scope: write, group: grp, do: handle(s, http.StatusOK, s.setInstanceProxy)},
		{id: "removeInstanceProxy", method: del, path: "/v1/instances/:instanceId/proxy", access: bearer, scope: write, group: grp, do: handle(s, http.StatusOK, s.removeInstanceProxy)},

		{id: "listEvents", method: get, path: "/v1/events", access: bearer, scope: events, do: handle(s, http.StatusOK, s.listEvents)},
		{id: "streamEvents", method: get, path: "/v1/events/stream", access: bearer, scope: events, do: s.streamEvents()},

		{id: "listWebhooks", method: get, path: "/v1/webhooks", access: bearer, scope: readHooks, group: hooks, do: handle(s, http.StatusOK, s.listWebhooks)},
		{id: "createWebhook", method: post, path: "/v1/webhooks", access: bearer, scope: writeHooks, group: hooks, creates: true, do: handle(s, http.StatusCreated, s.createWebhook)},
		{id: "listInboundWebhooks", method: get, path: "/v1/webhooks/inbound", access: bearer, scope: readHooks, group: hooks, do: handle(s, http.StatusOK, s.listInboundWebhooks)},
		{id: "createInboundWebhook", method: post, path: "/v1/webhooks/inbound", access: bearer, scope: writeHooks, group: hooks, creates: true, do: handle(s, http.StatusCreated, s.createInboundWebhook)},
		{id: "deleteInboundWebhook", method: del, path: "/v1/webhooks/inbound/:inboundId", access: bearer, scope: writeHooks, group: hooks, do: handle(s, http.StatusOK, s.deleteInboundWebhook)},
		{id: "getWebhook", method: get, path: "/v1/webhooks/:webhookId", access: bearer, scope: readHooks, group: hooks, do: handle(s, http.StatusOK, s.getWebhook)},
		{id: "replaceWebhook", method: put, path: "/v1/webhooks/:webhookId", access: bearer, scope: writeHooks, group: hooks, do: handle(s, http.StatusOK, s.replaceWebhook)},
		{id: "updateWebhook", method: patch, path: "/v1/webhooks/:webhookId", access: bearer, scope: writeHooks, group: hooks, do: handle(s, http.StatusOK, s.updateWebhook)},
		{id: "deleteWebhook", method: del, path: "/v1/webhooks/:webhookId", access: bearer, scope: writeHooks, group: hooks, do: handle(s, http.StatusOK, s.deleteWebhook)},
		{id: "rotateWebhookSecret", method: post, path: "/v1/webhooks/:webhookId/rotate", access: bearer, scope: writeHooks, group: hooks, creates: true, do: handle(s, http.StatusOK, s.rotateWebhookSecret)},
		{id: "testWebhook", method: post, path: "/v1/webhooks/:webhookId/test", access: bearer, scope: writeHooks, group: hooks, patience: domain.MaxWebhookTimeout, do: handle(s, http.StatusOK, s.testWebhook)},
		{id: "listWebhookLogs", method: get, path: "/v1/webhooks/:webhookId/logs", access: bearer, scope: readHooks, group: hooks, do: handle(s, http.StatusOK, s.listWebhookLogs)},
		{id: "getWebhookLog", method: get, path: "/v1/webhooks/:webhookId/logs/:logId", access: bearer, scope: readHooks, group: hooks, do: handle(s, http.StatusOK, s.getWebhookLog)},
		{id: "replayWebhookLog", method: post, path: "/v1/webhooks/:webhookId/logs/:logId/replay", access: bearer, scope: writeHooks, group: hooks, do: handle(s, http.StatusAccepted, s.replayWebhookLog)},
		{id: "replayWebhook", method: post, path: "/v1/webhooks/:webhookId/replay", access: bearer, scope: writeHooks, group: hooks, do: handle(s, http.StatusAccepted, s.replayWebhook)},

		{id: "listApiKeys", method: get, path: "/v1/api-keys", access: keyOnly, scope: keys, do: handle(s, http.StatusOK, s.listAPIKeys)},
		{id: "createApiKey", method: post, path: "/v1/api-keys", access: keyOnly, scope: keys, creates: true, do: handle(s, http.StatusCreated, s.createAPIKey)},
		{id: "revokeApiKey", method: del, path: "/v1/api-keys/:keyId", access: keyOnly, scope: keys, do: handle(s, http.StatusOK, s.revokeAPIKey)},
		{id: "rotateApiKey", method: post, path: "/v1/api-keys/:keyId/rotate", access: keyOnly, scope: keys, creates: true, do: handle(s, http.StatusOK, s.rotateAPIKey)},
		{id: "createToken", method: post, path: "/v1/tokens", access: keyOnly, creates: true, do: handle(s, http.StatusCreated, s.createToken)},

		{id: "listAccounts", method: get, path: "/v1/accounts", access: keyOnly, scope: accounts, ownAccount: true, do: handle(s, http.StatusOK, s.listAccounts)},
		{id: "createAccount", method: post, path: "/v1/accounts", access: keyOnly, scope: accounts, ownAccount: true, creates: true, do: handle(s, http.StatusCreated, s.createAccount)},
		{id: "getAccount", method: get, path: "/v1/accounts/:accountId", access: keyOnly, scope: accounts, ownAccount: true, do: handle(s, http.StatusOK, s.getAccount)},
		{id: "updateAccount", method: patch, path: "/v1/accounts/:accountId", access: keyOnly, scope: accounts, ownAccount: true, do: handle(s, http.StatusOK, s.updateAccount)},
		{id: "getLimits", method: get, path: "/v1/limits", access: bearer, do: handle(s, http.StatusOK, s.getLimits)},

		{id: "getLivez", method: get, path: "/livez", do: s.getLivez},
		{id: "getReadyz", method: get, path: "/readyz", do: s.getReadyz},
		{id: "getOpenApiJson", method: get, path: "/openapi.json", do: s.getOpenAPIJSON},
		{id: "getOpenApiYaml", method: get, path: "/openapi.yaml", do: s.getOpenAPIYAML},
		{id: "getJwks", method: get, path: "/.well-known/jwks.json", do: s.getJWKS},
		{id: "getDocs", method: get, path: "/docs", do: s.getDocs},
	}
}

// Operation is what a route promises, for tests that compare it with openapi.yaml.
type Operation struct {
	ID, Method, Path string
	Scopes           []string
}

// Operations lists every route in the spelling of OpenAPI.
func (s *Server) Operations() []Operation {
	var ops []Operation
	for _, rt := range s.routes() {
		ops = append(ops, Operation{ID: rt.id, Method: rt.method, Path: templatePath(rt.path), Scopes: rt.scope.Names()})
	}
	return ops
}
