package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/seal"
	"github.com/pombal-api/pombal/internal/webhook"
)

// Database says where the data is. Every command takes it.
type Database struct {
	DatabaseURL    Secret        `env:"POMBAL_DATABASE_URL" help:"PostgreSQL, such as postgres://user:password@host/db. Without it the data lives in SQLite in the data directory." placeholder:"URL"`
	DataDir        string        `env:"POMBAL_DATA_DIR" default:"./pombal-data" help:"Directory of the SQLite database."`
	MaxConns       int           `env:"POMBAL_DB_MAX_CONNS" default:"0" help:"PostgreSQL connections of this node, at least 2; 0 for a default by the number of cores."`
	EventRetention time.Duration `env:"POMBAL_EVENT_RETENTION" default:"720h" help:"How long events and the logs of webhooks are kept."`
}

// Secrets are what the operator must keep: they protect keys and sealed data at rest.
type Secrets struct {
	Secret         Secret `env:"POMBAL_SECRET" help:"At least 32 random bytes in base64. Seals data at rest; the same on every node. Make one: openssl rand -base64 32" placeholder:"BASE64"`
	PreviousSecret Secret `env:"POMBAL_SECRET_PREVIOUS" help:"The secret before a change: still opens what it sealed." placeholder:"BASE64"`
}

// Config is everything that a serving node can be told. Each field is an environment variable and a
// flag of the same name.
type Config struct {
	Database
	Secrets
	Addr            string         `env:"POMBAL_ADDR" default:":8080" help:"Address of the API; port 0 picks a free one."`
	AdminAddr       string         `env:"POMBAL_ADMIN_ADDR" default:"127.0.0.1:9090" help:"Address of /metrics and health checks. Keep it off the public network."`
	PublicURL       string         `env:"POMBAL_PUBLIC_URL" help:"How clients reach the API, such as https://api.example.com." placeholder:"URL"`
	AllowedOrigins  []string       `env:"POMBAL_ALLOWED_ORIGINS" help:"Browser origins that every account's front ends may call from, separated by commas. Accounts list further ones of their own." placeholder:"ORIGIN"`
	Plans           Plans          `env:"POMBAL_PLANS" help:"Plans as JSON that replaces the built-in ones: [{name, requestsPerMinute, groups, maxInstances}]." placeholder:"JSON"`
	TokenIssuer     string         `env:"POMBAL_TOKEN_ISSUER" default:"pombal" help:"The iss and aud of tokens; the same on every node."`
	RequestTimeout  time.Duration  `env:"POMBAL_REQUEST_TIMEOUT" default:"10s" help:"How long one request may work."`
	DrainDelay      time.Duration  `env:"POMBAL_DRAIN_DELAY" default:"0s" help:"How long /readyz fails before the API stops accepting, so that load balancers notice."`
	ShutdownGrace   time.Duration  `env:"POMBAL_SHUTDOWN_GRACE" default:"15s" help:"How long requests may take to finish after SIGTERM."`
	NodeCapacity    int            `env:"POMBAL_NODE_CAPACITY" default:"1500" help:"How many instances this node keeps connected at most; 0 for 1500."`
	WebhookNetworks []netip.Prefix `env:"POMBAL_WEBHOOK_NETWORKS" help:"Networks beside the public Internet that webhooks of customers may lead to, such as 10.20.0.0/16." placeholder:"CIDR"`
	LogLevel        slog.Level     `env:"POMBAL_LOG_LEVEL" default:"INFO" help:"DEBUG, INFO, WARN or ERROR."`

	// Loopback lets webhooks and proxies point at this machine. Only dev and tests set it.
	Loopback bool `kong:"-"`

	// AccountStreams is how many streams of events an account may have at this node; 0 for the documented limit. Only
	// tests set it.
	AccountStreams int `kong:"-"`

	// Sandbox is connected to instead of WhatsApp. Only dev and tests set it: no flag and no variable can.
	Sandbox *Sandbox `kong:"-"`
}

// thisMachine lists the networks that lead nowhere else, if webhooks and proxies may point at them.
func (c *Config) thisMachine() []netip.Prefix {
	if !c.Loopback {
		return nil
	}
	return webhook.Loopback()
}

// Secret is text that never shows itself in logs or errors.
type Secret string

// String hides the value.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[redacted]"
}

// LogValue hides the value from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the value from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Plans is the price list. In the environment it is JSON.
type Plans []domain.Plan

// UnmarshalText reads JSON. It refuses fields that no plan has: a mistyped limit would be none.
func (p *Plans) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode((*[]domain.Plan)(p)); err != nil {
		return fmt.Errorf("not a JSON list of plans: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the JSON list of plans")
	}
	return nil
}

// DefaultPlan is the plan of accounts that name none.
const DefaultPlan = "free"

// defaultPlans are the documented limits of the contract.
func defaultPlans() Plans {
	return Plans{
		{Name: DefaultPlan, RequestsPerMinute: 500, Groups: map[string]int{"messages": 100, "instances": 50, "webhooks": 100}},
		{Name: "starter", RequestsPerMinute: 2_000},
		{Name: "pro", RequestsPerMinute: 10_000},
		{Name: "enterprise", RequestsPerMinute: 100_000},
	}
}

// byName indexes the plans, the built-in ones when none are configured.
func (p Plans) byName() map[string]domain.Plan {
	if len(p) == 0 {
		p = defaultPlans()
	}
	plans := make(map[string]domain.Plan, len(p))
	for _, plan := range p {
		plans[plan.Name] = plan
	}
	return plans
}

// Validate lists everything that is wrong with the configuration at once.
func (c *Config) Validate() error {
	var problems []error
	add := func(name string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
	}
	add("POMBAL_SECRET", checkSecret(c.Secret))
	if c.PreviousSecret != "" {
		add("POMBAL_SECRET_PREVIOUS", checkSecret(c.PreviousSecret))
	}
	add("POMBAL_PUBLIC_URL", checkURL(c.PublicURL))
	for _, origin := range c.AllowedOrigins {
		if origin != "*" && !domain.IsOrigin(origin) {
			add("POMBAL_ALLOWED_ORIGINS", fmt.Errorf("%q is no origin; write it like https://app.example.com", origin))
		}
	}
	plans := c.Plans.byName()
	if _, ok := plans[DefaultPlan]; !ok {
		add("POMBAL_PLANS", fmt.Errorf("there must be a plan named %q: accounts without a plan get it", DefaultPlan))
	}
	if len(plans) < len(c.Plans) {
		add("POMBAL_PLANS", errors.New("two plans have the same name"))
	}
	for name, plan := range plans {
		if name == "" || plan.RequestsPerMinute <= 0 || plan.MaxInstances < 0 {
			add("POMBAL_PLANS", fmt.Errorf("plan %q needs a name, requestsPerMinute above 0 and maxInstances 0 or more", name))
		}
	}
	if c.EventRetention < 0 {
		add("POMBAL_EVENT_RETENTION", errors.New("must not be below 0"))
	}
	if c.RequestTimeout <= 0 {
		add("POMBAL_REQUEST_TIMEOUT", errors.New("must be above 0, such as 10s"))
	}
	if c.NodeCapacity < 0 {
		add("POMBAL_NODE_CAPACITY", errors.New("must not be below 0"))
	}
	return errors.Join(problems...)
}

func checkSecret(s Secret) error {
	_, err := seal.ParseSecret(string(s))
	return err
}

func checkURL(raw string) error {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.HasSuffix(raw, "/") {
		return fmt.Errorf("%q is not an http or https address without a slash at its end", raw)
	}
	return nil
}
