package store

import (
	"fmt"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// Totals are kept, not counted: see the migration of instances. Whoever changes them locks the account's
// three rows first, which makes changes of one account's totals take turns, and touches the partner's
// rows last. So no two transactions wait for each other in a circle.

const (
	sumOfCounts = "CAST(COALESCE(SUM(n), 0) AS bigint)"
	countOfRows = "COUNT(*)"
)

// countSlots is how many rows a partner's total of one status is spread over.
const countSlots = 16

// countSlot returns the slot of an account: the last four bits, which are random in a UUIDv7.
func countSlot(account domain.ID) int { return int(account[len(account)-1] % countSlots) }

// deltas is by how much the number of instances in each status changes.
type deltas map[domain.Status]int64

// openCounts makes the rows that count the instances of a new account.
func openCounts(sc scope, account, partner domain.ID) error {
	var rows []countRow
	for _, status := range domain.Statuses() {
		rows = append(rows, countRow{AccountID: uid(account), Status: string(status)})
	}
	if err := sc.with(wall{account: account}).all(&countRow{}).Create(&rows).Error; err != nil || partner.IsZero() {
		return err
	}
	var shared []partnerCountRow
	for _, status := range domain.Statuses() {
		shared = append(shared, partnerCountRow{PartnerID: uid(partner), Slot: countSlot(account), Status: string(status)})
	}
	return sc.with(wall{partner: partner}).all(&partnerCountRow{}).Clauses(keepExisting("partner_id", "slot", "status")).Create(&shared).Error
}

// lockCounts makes the transaction the only one that changes the account's totals, and returns how many
// instances the account has. Without any row it is gorm.ErrRecordNotFound: there is no such account.
func lockCounts(sc scope) (total int64, err error) {
	var rows []countRow
	if err := sc.rows(&countRow{}).Clauses(ascending("status"), forUpdate()).Find(&rows).Error; err != nil {
		return 0, err
	}
	if len(rows) == 0 {
		return 0, gorm.ErrRecordNotFound
	}
	for _, r := range rows {
		total += r.N
	}
	return total, nil
}

// changeCounts applies the deltas of the bound account, and of its partner when it has one.
func changeCounts(sc scope, partner domain.ID, by deltas) error {
	for _, status := range domain.Statuses() {
		if by[status] == 0 {
			continue
		}
		set := map[string]any{"n": increment{"n", by[status]}}
		update := sc.rows(&countRow{}).Where(eq("status", string(status))).Updates(set)
		if err := oneRow(update.Error, update.RowsAffected); err != nil {
			return err
		}
	}
	if partner.IsZero() {
		return nil
	}
	shared := sc.with(wall{partner: partner})
	for _, status := range domain.Statuses() {
		if by[status] == 0 {
			continue
		}
		set := map[string]any{"n": increment{"n", by[status]}}
		update := shared.rows(&partnerCountRow{}).Where(eq("slot", countSlot(sc.wall.account))).
			Where(eq("status", string(status))).Updates(set)
		if err := oneRow(update.Error, update.RowsAffected); err != nil {
			return err
		}
	}
	return nil
}

// oneRow turns the absence of a counter into an error: totals would be wrong from then on.
func oneRow(err error, affected int64) error {
	if err == nil && affected != 1 {
		return fmt.Errorf("a counter is missing: %d rows instead of 1", affected)
	}
	return err
}
