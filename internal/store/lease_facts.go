package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// SaveLinkFacts records what a node has learned, in one transaction with the events that tell of it, at most one
// fact for each instance. It returns the leases that the node does not hold (any more): of those nothing was
// recorded.
//
// Locks are taken kind by kind, each in the order of accounts and instances: totals of accounts, instances,
// links, event heads and the lanes of webhooks, totals of partners. Whoever takes fewer of them takes them in the
// same order.
func (s *Store) SaveLinkFacts(ctx context.Context, node domain.ID, facts []domain.LinkFact) ([]domain.Lease, error) {
	if len(facts) == 0 {
		return nil, nil
	}
	pictures := s.drawCodes(facts)
	lost, err := change(ctx, s, wall{}, func(sc scope) (lost []domain.Lease, err error) {
		batch, err := s.recordFacts(sc, node, facts, pictures)
		for _, a := range batch {
			lost = append(lost, a.lost...)
		}
		return lost, err
	})
	return lost, marked(err)
}

// recordFacts records facts about instances that a node holds, or nobody for a zero node.
func (s *Store) recordFacts(sc scope, node domain.ID, facts []domain.LinkFact, pictures map[string]string) ([]*accountFacts, error) {
	batch := s.byAccount(sc, facts)
	for _, step := range []func(*accountFacts) error{
		(*accountFacts).lockTotals, (*accountFacts).lockInstances,
		func(a *accountFacts) error { return a.lockLinks(node) },
		(*accountFacts).save,
		func(a *accountFacts) error { return a.publish(pictures) },
	} {
		for _, a := range batch {
			if err := step(a); err != nil {
				return nil, err
			}
		}
	}
	return batch, changePartners(sc, batch)
}

// accountFacts is what a batch has to record about the instances of one account.
type accountFacts struct {
	s     *Store
	sc    scope // bound to the account
	facts []domain.LinkFact
	rows  []instanceRow
	links map[uid]linkRow
	lost  []domain.Lease

	by      deltas
	partner domain.ID
	changed []instanceRow      // of rows, as they are now
	codes   []*domain.LinkFact // whose code is new
}

// drawCodes draws the QR codes of facts, before anything is locked.
func (s *Store) drawCodes(facts []domain.LinkFact) map[string]string {
	pictures := map[string]string{}
	for _, f := range facts {
		if c := f.Code; s.cfg.DrawQR != nil && c != nil && c.Text != "" && c.Method == domain.PairByQR {
			pictures[c.Text] = s.cfg.DrawQR(c.Text)
		}
	}
	return pictures
}

// byAccount groups and sorts facts.
func (s *Store) byAccount(sc scope, facts []domain.LinkFact) (batch []*accountFacts) {
	sorted := slices.SortedFunc(slices.Values(facts), func(a, b domain.LinkFact) int {
		return cmp.Or(bytes.Compare(a.Account[:], b.Account[:]), bytes.Compare(a.Instance[:], b.Instance[:]))
	})
	for i, f := range sorted {
		if i == 0 || sorted[i-1].Account != f.Account {
			batch = append(batch, &accountFacts{s: s, sc: sc.with(wall{account: f.Account})})
		}
		f.State.ID = f.Instance
		f.State = storableState(f.State)
		last := batch[len(batch)-1]
		last.facts = append(last.facts, f)
	}
	return batch
}

// storableState leaves out what no database takes: profiles are written by strangers.
func storableState(st domain.InstanceState) domain.InstanceState {
	for _, field := range []**string{&st.Phone, &st.ProfileName, &st.ProfilePicURL, &st.ProfileStatus} {
		if text := *field; text != nil && !isText(*text) {
			clean := strings.ReplaceAll(strings.ToValidUTF8(*text, "\uFFFD"), "\x00", "")
			*field = &clean
		}
	}
	if st.Phone != nil && len(*st.Phone) > maxText {
		st.Phone = nil
	}
	return st
}

func (a *accountFacts) lockTotals() error {
	if !slices.ContainsFunc(a.facts, func(f domain.LinkFact) bool { return f.State.Status != nil }) {
		return nil
	}
	_, err := lockCounts(a.sc)
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil // no account, so no instance and no lease either
	}
	return err
}

func (a *accountFacts) lockInstances() (err error) {
	var states []domain.InstanceState
	for _, f := range a.facts {
		if touchesInstance(f) {
			states = append(states, f.State)
		}
	}
	a.rows, err = a.s.lockedInstances(a.sc, states)
	return err
}

// touchesInstance reports whether a fact says something about the instance's own row.
func touchesInstance(f domain.LinkFact) bool {
	st := f.State
	st.ID, st.At = domain.ID{}, time.Time{}
	return f.Ended || st != domain.InstanceState{}
}

// lockLinks reads the links and drops the facts whose lease is lost.
func (a *accountFacts) lockLinks(node domain.ID) error {
	ids := make(uidArray, len(a.facts))
	for i, f := range a.facts {
		ids[i] = uid(f.Instance)
	}
	var rows []linkRow
	query := a.sc.rows(&linkRow{}).Where(a.s.oneOf("instance_id", ids)).Clauses(ascending("instance_id"), forUpdate())
	if err := query.Find(&rows).Error; err != nil {
		return err
	}
	a.links = make(map[uid]linkRow, len(rows))
	for _, r := range rows {
		a.links[r.InstanceID] = r
	}
	a.facts = slices.DeleteFunc(a.facts, func(f domain.LinkFact) bool {
		link, ok := a.links[uid(f.Instance)]
		ours := ok && domain.ID(link.NodeID) == node && link.Epoch == f.Epoch
		if !ours {
			a.lost = append(a.lost, f.Lease)
		}
		return !ours
	})
	return nil
}

// save writes what is left.
func (a *accountFacts) save() error {
	states := make([]domain.InstanceState, len(a.facts))
	for i, f := range a.facts {
		states[i] = f.State
	}
	a.changed, a.by, a.partner = applyStates(a.rows, states)
	if len(a.changed) > 0 {
		if err := a.s.saveStates(a.sc, a.changed); err != nil {
			return err
		}
		if err := changeCounts(a.sc, domain.ID{}, a.by); err != nil {
			return err
		}
	}
	for i := range a.facts {
		if err := a.saveLink(&a.facts[i]); err != nil {
			return err
		}
	}
	return nil
}

// publish tells of what has changed.
func (a *accountFacts) publish(pictures map[string]string) error {
	var events []domain.Event
	told := make(map[domain.ID]time.Time, len(a.facts))
	for _, f := range a.facts {
		told[f.Instance] = f.State.At
	}
	before := make(map[uid]*instanceRow, len(a.rows))
	for i := range a.rows {
		before[a.rows[i].ID] = &a.rows[i]
	}
	for i := range a.changed {
		was, is := before[a.changed[i].ID].domain(), a.changed[i].domain()
		events = changeEvent(events, &was, &is, told[is.ID])
	}
	for _, f := range a.codes {
		events = append(events, codeEvent(f.Instance, f.Code, pictures[f.Code.Text], f.State.At))
	}
	return publish(a.sc, events)
}

// saveLink writes what a fact changes in its link.
func (a *accountFacts) saveLink(f *domain.LinkFact) error {
	link := a.links[uid(f.Instance)]
	changes := linkChanges(&link, f)
	if text, given := changes["code"]; given && text != optional("") && text != link.Code {
		a.codes = append(a.codes, f)
	}
	if len(changes) > 0 {
		if err := a.sc.rows(&linkRow{}).Where(eq("instance_id", link.InstanceID)).Updates(changes).Error; err != nil {
			return err
		}
	}
	if _, given := changes["desired"]; given {
		return saveDesired(a.sc, f.Instance, domain.DesiredDisconnected)
	}
	return nil
}

// linkChanges returns the columns that a fact changes.
func linkChanges(r *linkRow, f *domain.LinkFact) map[string]any {
	set := map[string]any{}
	if c := f.Code; c != nil && (c.Text == "" || string(c.Method) == r.Method) && (optional(c.Text) != r.Code || millisOf(c.ExpiresAt) != r.CodeExpires) {
		set["code"], set["code_expires_at"] = optional(c.Text), millisOf(c.ExpiresAt)
	}
	if f.JID != nil && optional(*f.JID) != r.DeviceJID {
		set["device_jid"] = optional(*f.JID)
	}
	if f.RetryAt != nil && millisOf(*f.RetryAt) != r.RetryAt {
		set["retry_at"] = millisOf(*f.RetryAt)
	}
	if ms := f.Latency.Milliseconds(); f.Latency > 0 && max(1, ms) != r.LatencyMS {
		set["latency_ms"] = max(1, ms)
	}
	if f.Seq > r.Acted {
		set["acted"] = f.Seq
	}
	if f.Ended && f.Seq == r.Wish {
		set["wanted"], set["desired"] = false, string(domain.DesiredDisconnected)
	}
	if f.Release {
		set["node_id"] = uid{}
	}
	return set
}

// saveDesired writes the wish into the instance's own row.
func saveDesired(sc scope, instance domain.ID, desired domain.Desired) error {
	return sc.rows(&instanceRow{}).Where(eq("id", uid(instance))).Updates(map[string]any{"desired": string(desired)}).Error
}

// changePartners applies the differences to the partners' totals, last and in order.
func changePartners(sc scope, batch []*accountFacts) error {
	slices.SortFunc(batch, func(a, b *accountFacts) int {
		return cmp.Or(bytes.Compare(a.partner[:], b.partner[:]), cmp.Compare(countSlot(a.sc.wall.account), countSlot(b.sc.wall.account)))
	})
	for _, a := range batch {
		for _, status := range domain.Statuses() {
			if a.partner.IsZero() || a.by[status] == 0 {
				continue
			}
			update := sc.with(wall{partner: a.partner}).rows(&partnerCountRow{}).
				Where(eq("slot", countSlot(a.sc.wall.account))).Where(eq("status", string(status))).
				Updates(map[string]any{"n": increment{"n", a.by[status]}})
			if err := oneRow(update.Error, update.RowsAffected); err != nil {
				return err
			}
		}
	}
	return nil
}
