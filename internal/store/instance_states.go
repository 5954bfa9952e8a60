package store

import (
	"bytes"
	"context"
	"slices"
	"time"

	"gorm.io/gorm/clause"

	"github.com/pombal-api/pombal/internal/domain"
)

// SetInstanceStates records what became known about connections, in one transaction. Instances that do not
// exist (any more) are passed over.
func (a *Account) SetInstanceStates(ctx context.Context, states []domain.InstanceState) error {
	latest, err := mergeStates(states)
	if err != nil || len(latest) == 0 {
		return err
	}
	return a.s.write(ctx, a.wall(), func(sc scope) error {
		if slices.ContainsFunc(latest, func(st domain.InstanceState) bool { return st.Status != nil }) {
			if _, err := lockCounts(sc); err != nil {
				return orNotFound(err, domain.AccountNotFound)
			}
		}
		rows, err := a.s.lockedInstances(sc, latest)
		if err != nil {
			return err
		}
		changed, by, partner := applyStates(rows, latest)
		if len(changed) == 0 {
			return nil
		}
		if err := a.s.saveStates(sc, changed); err != nil {
			return err
		}
		return changeCounts(sc, partner, by)
	})
}

// mergeStates makes one state of several about the same instance, and sorts them by id: two batches that
// lock their rows in the same order do not wait for each other in a circle.
func mergeStates(states []domain.InstanceState) ([]domain.InstanceState, error) {
	merged := slices.SortedStableFunc(slices.Values(states), func(a, b domain.InstanceState) int {
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	n := 0
	for _, st := range merged {
		var in domain.Instance
		patchState(&in, st)
		if err := checkInstanceTexts(&in); err != nil {
			return nil, err
		}
		if n > 0 && merged[n-1].ID == st.ID {
			merged[n-1] = overlay(merged[n-1], st)
			continue
		}
		merged[n] = st
		n++
	}
	return merged[:n], nil
}

// overlay returns st with what later says.
func overlay(st, later domain.InstanceState) domain.InstanceState {
	pick(&st.Status, later.Status)
	pick(&st.Reason, later.Reason)
	pick(&st.Phone, later.Phone)
	pick(&st.ProfileName, later.ProfileName)
	pick(&st.ProfilePicURL, later.ProfilePicURL)
	pick(&st.ProfileStatus, later.ProfileStatus)
	pickTime(&st.ConnectedAt, later.ConnectedAt)
	pickTime(&st.LastSeenAt, later.LastSeenAt)
	pickTime(&st.At, later.At)
	return st
}

func pick[T any](field **T, value *T) {
	if value != nil {
		*field = value
	}
}

func pickTime(field *time.Time, value time.Time) {
	if !value.IsZero() {
		*field = truncated(value)
	}
}

// lockChunk bounds the parameters of a statement.
const lockChunk = 500

// lockedInstances reads and locks the instances in the order of the states, which is that of their ids.
func (s *Store) lockedInstances(sc scope, states []domain.InstanceState) (rows []instanceRow, err error) {
	for chunk := range slices.Chunk(states, lockChunk) {
		ids := make(uidArray, len(chunk))
		for i, st := range chunk {
			ids[i] = uid(st.ID)
		}
		var some []instanceRow
		query := sc.rows(&instanceRow{}).Where(s.oneOf("id", ids)).Clauses(ascending("id"), forUpdate())
		if err := query.Find(&some).Error; err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

// oneOf is the condition that a column is one of the list: one parameter on PostgreSQL, so that one prepared
// statement serves lists of any length.
func (s *Store) oneOf(column string, ids uidArray) clause.Expression {
	if s.pool != nil {
		return condition{column + " = ANY(?)", []any{ids}}
	}
	return in(column, listOf(ids, func(id *uid) any { return *id }))
}

// applyStates returns the rows that the states change, changed, and what that does to the totals.
func applyStates(rows []instanceRow, states []domain.InstanceState) (changed []instanceRow, by deltas, partner domain.ID) {
	byID := make(map[uid]domain.InstanceState, len(states))
	for _, st := range states {
		byID[uid(st.ID)] = st
	}
	by = deltas{}
	for i := range rows {
		st := byID[rows[i].ID]
		before, after := rows[i].domain(), rows[i].domain()
		partner = before.PartnerID // the same for all of an account
		patchState(&after, st)
		if !sameState(&before, &after) {
			after.Version++
			pickTime(&after.UpdatedAt, st.At)
		} else if before.LastSeenAt.Equal(after.LastSeenAt) {
			continue
		}
		by[before.Status]--
		by[after.Status]++
		changed = append(changed, newInstanceRow(&after))
	}
	return changed, by, partner
}

func patchState(in *domain.Instance, st domain.InstanceState) {
	set(&in.Status, st.Status)
	set(&in.Reason, st.Reason)
	set(&in.Phone, st.Phone)
	set(&in.ProfileName, st.ProfileName)
	set(&in.ProfilePicURL, st.ProfilePicURL)
	set(&in.ProfileStatus, st.ProfileStatus)
	if st.Status != nil && *st.Status != domain.StatusConnected {
		in.ConnectedAt = time.Time{}
	}
	pickTime(&in.ConnectedAt, st.ConnectedAt)
	pickTime(&in.LastSeenAt, st.LastSeenAt)
}

func sameState(a, b *domain.Instance) bool {
	return a.Status == b.Status && a.Reason == b.Reason && a.Phone == b.Phone && a.ProfileName == b.ProfileName &&
		a.ProfilePicURL == b.ProfilePicURL && a.ProfileStatus == b.ProfileStatus && a.ConnectedAt.Equal(b.ConnectedAt)
}

// saveStates writes rows that are locked.
func (s *Store) saveStates(sc scope, rows []instanceRow) error {
	if s.pool != nil {
		return saveStatesPostgres(sc, rows)
	}
	for _, r := range rows {
		err := sc.rows(&instanceRow{}).Where(eq("id", r.ID)).Updates(map[string]any{
			"status": r.Status, "reason": r.Reason, "phone": r.Phone, "search_text": r.SearchText,
			"profile_name": r.ProfileName, "profile_pic_url": r.ProfilePicURL, "profile_status": r.ProfileStatus,
			"connected_at": r.Connected, "last_seen_at": r.LastSeen, "updated_at": r.Updated, "version": r.Version,
		}).Error
		if err != nil {
			return err
		}
	}
	return nil
}
