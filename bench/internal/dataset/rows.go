package dataset

import (
	"fmt"
	"strings"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// engine spells values as a database takes them.
type engine struct {
	id   func(domain.ID) any // the zero id is NULL
	time func(ms int64) any
}

// table is rows of one table, one after the other.
type table struct {
	name    string
	columns []string
	rows    int
	row     func(i int) []any
}

// tables returns everything that there is to load, in an order that satisfies the foreign keys.
func (d *Data) tables(e engine) []table {
	created := e.time(d.shape.CreatedFrom.UnixMilli())
	counts := d.count()
	children := partners(counts)
	return []table{
		{"accounts", strings.Fields("id parent_id created_at updated_at request_limit partner status plan name"), len(d.accounts),
			func(i int) []any {
				a := d.accounts[i]
				return []any{e.id(a.ID), e.id(a.Parent), created, created, int32(0), a.partner, string(domain.AccountActive),
					PlanName, fmt.Sprintf("Account %d", i)}
			}},
		{"api_keys", strings.Fields("account_id id created_at scopes name last_four lookup digest"), len(d.keyed),
			func(i int) []any {
				a := d.keyed[i]
				return []any{e.id(a.ID), e.id(newID(generator(3, uint64(i)), d.shape.CreatedFrom.UnixMilli())), created, int32(domain.AllScopes),
					"bench", a.secret.LastFour, a.secret.Lookup, a.secret.Digest}
			}},
		{"instance_counts", strings.Fields("account_id status n"), len(counts) * len(domain.Statuses()),
			func(i int) []any {
				c := counts[i/len(domain.Statuses())]
				status := i % len(domain.Statuses())
				return []any{e.id(c.account.ID), string(domain.Statuses()[status]), c.n[status]}
			}},
		{"partner_counts", strings.Fields("partner_id slot status n"), len(children) * len(domain.Statuses()),
			func(i int) []any {
				c := children[i/len(domain.Statuses())]
				status := i % len(domain.Statuses())
				return []any{e.id(c.account.Parent), int16(slotOf(c.account)), string(domain.Statuses()[status]), c.n[status]}
			}},
		{"instances", instanceColumns(), len(d.order), func(i int) []any { return d.instance(e, d.order[i]) }},
	}
}

// count is how many instances an account has in each status, in the order of domain.Statuses.
type count struct {
	account *Account
	n       [3]int64
}

func (d *Data) count() []count {
	counts := make([]count, len(d.accounts))
	for i, a := range d.accounts {
		counts[i].account = a
	}
	for _, s := range d.order {
		counts[s.account].n[statusOf(s)]++
	}
	return counts
}

// slots is over how many rows the store spreads a partner's counters, by the last byte of the child's id.
const slots = 16

func slotOf(a *Account) int { return int(a.ID[len(a.ID)-1] % slots) }

// partners adds up the counters of children as the store keeps them.
func partners(counts []count) []count {
	type place struct {
		parent domain.ID
		slot   int
	}
	index := map[place]int{}
	var sums []count
	for _, c := range counts {
		if c.account.Parent.IsZero() {
			continue
		}
		at, ok := index[place{c.account.Parent, slotOf(c.account)}]
		if !ok {
			at = len(sums)
			index[place{c.account.Parent, slotOf(c.account)}] = at
			sums = append(sums, count{account: c.account})
		}
		for status, n := range c.n {
			sums[at].n[status] += n
		}
	}
	return sums
}

func instanceColumns() []string {
	return strings.Fields(`account_id id partner_id created_at updated_at connected_at last_seen_at version webhook_events
		auto_read auto_typing integration desired status name search_text external_id reason phone profile_name
		profile_pic_url profile_status webhook_url token_digest token_sealed`)
}

// statusOf returns an index of domain.Statuses: 70 % connected, 10 % connecting, 20 % disconnected.
func statusOf(s slot) int {
	switch n := generator(4, uint64(s.account)<<32|uint64(s.nth)).IntN(10); {
	case n < 7:
		return 0
	case n < 8:
		return 1
	default:
		return 2
	}
}

// sealedToken is how long the sealed form of an instance's token is.
const sealedToken = 36 + 45

// instance makes up a row. Of what may be NULL, about as much is as in life.
func (d *Data) instance(e engine, s slot) []any {
	a := d.accounts[s.account]
	random := generator(5, uint64(s.account)<<32|uint64(s.nth))
	status := domain.Statuses()[statusOf(s)]
	name := fmt.Sprintf("%s %d", names()[random.IntN(len(names()))], s.nth+1)
	phone := fmt.Sprintf("55%02d9%08d", 11+random.IntN(88), random.IntN(100_000_000))
	updated := s.created + random.Int64N(int64(30*24*time.Hour/time.Millisecond))
	seen := updated + random.Int64N(int64(24*time.Hour/time.Millisecond))
	var reason, connected, externalID, webhook any
	desired := domain.DesiredConnected
	if status == domain.StatusDisconnected {
		reason, desired = string(domain.ReasonLoggedOut), domain.DesiredDisconnected
	}
	if status == domain.StatusConnected {
		connected = e.time(updated)
	}
	if random.IntN(4) == 0 {
		externalID = fmt.Sprintf("crm-%d", s.nth)
	}
	if random.IntN(2) == 0 {
		webhook = "https://hooks.example.com/whatsapp/" + a.ID.String()[24:]
	}
	token := make([]byte, 32+sealedToken)
	for i := range token {
		token[i] = byte(random.Uint32())
	}
	events := domain.AllEvents
	if random.IntN(10) == 0 {
		events &= domain.EventSet(random.Uint32())
	}
	return []any{
		e.id(a.ID), e.id(newID(random, s.created)), e.id(a.Parent), e.time(s.created), e.time(updated), connected, e.time(seen),
		int64(1 + random.IntN(9)), int32(events), random.IntN(2) == 0, true, string(domain.IntegrationWeb), string(desired),
		string(status), name, strings.ToLower(name) + "\n" + phone, externalID, reason, phone, "Equipe " + name,
		fmt.Sprintf("https://pps.example.net/v/t61.24694-24/%d_%d_n.jpg?ccb=11-4&oh=%016x", random.Uint32(), s.created, random.Uint64()),
		nil, webhook, token[:32], token[32:],
	}
}

func names() []string {
	return []string{"Sales WhatsApp", "Suporte São Paulo", "Marketing", "Loja \"Centro\"", "Recepção", "Billing", "Atendimento 24h"}
}
