package store_test

import (
	"testing"

	"github.com/pombal-api/pombal/internal/domain"
)

// An instance exists for its own account only.
func TestDeleted(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		there := []domain.LinkTarget{{Account: f.otherAccount.ID, Instance: f.otherRow.ID}}
		for range 3 {
			there = append(there, domain.LinkTarget{Account: f.account.ID, Instance: wanted(t, f, f.account, f.mine)})
		}
		removed := wanted(t, f, f.account, f.mine)
		if err := f.RemoveInstance(t.Context(), f.account.ID, removed); err != nil {
			t.Fatal(err)
		}
		mine := there[1].Instance
		gone := []domain.LinkTarget{
			{Account: f.account.ID, Instance: removed, JID: "jid"}, {Account: f.account.ID, Instance: f.otherRow.ID},
			{Account: f.otherAccount.ID, Instance: mine}, {Account: domain.NewID(at(0)), Instance: mine},
		}
		got := must[[]domain.LinkTarget](t)(f.Deleted(t.Context(), append(gone, there...)))
		names := func(list []domain.LinkTarget) map[string]int {
			names := map[string]int{}
			for _, t := range list {
				names[t.Account.String()+t.Instance.String()+t.JID]++
			}
			return names
		}
		same(t, "gone", names(got), names(gone))
		same(t, "of nothing", len(must[[]domain.LinkTarget](t)(f.Deleted(t.Context(), nil))), 0)
	})
}
