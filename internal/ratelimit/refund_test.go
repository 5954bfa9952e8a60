package ratelimit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
)

func TestRefund(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := node(newDatabase(), 0)
		key, account := bucket("k", 10), domain.RateBucket{Name: "account", ID: "account:a", Limit: 20}
		for range 1_000 { // far more than the limit: they cost nothing
			if d := mustTake(t, l, key, account); !d.Allowed || d.Remaining != 9 {
				t.Fatalf("%+v, want allowed with 9 left", d)
			}
			l.Refund(key, account)
		}
		if n := takeUp(t, l, key, account); n != 10 {
			t.Errorf("allowed %d, want 10", n)
		}
		l.Refund(key, account)
		if n := takeUp(t, l, key, account); n != 1 {
			t.Errorf("allowed %d after one refund at the limit, want 1", n)
		}
	})
}

func TestRefund_OfNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := node(newDatabase(), 0)
		for range 5 {
			l.Refund(bucket("a", 10), bucket("b", 0))
		}
		mustTake(t, l, bucket("a", 10))
		for range 5 {
			l.Refund(bucket("a", 10))
		}
		if n := takeUp(t, l, bucket("a", 10)); n != 10 {
			t.Errorf("allowed %d, want 10", n)
		}
	})
}

// What was taken before the turn of a window must not be given back after it.
func TestRefund_NotIntoTheNextWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := node(newDatabase(), 0)
		b := bucket("a", 10)
		time.Sleep(59 * time.Second)
		for range 3 {
			mustTake(t, l, b)
		}
		time.Sleep(time.Second)
		l.Refund(b) // the window has turned, this node has not noticed yet
		if n := takeUp(t, l, b); n != 10 {
			t.Errorf("allowed %d in the new window, want 10", n)
		}
		l.Refund(b) // may still be of the window before
		l.Refund(b)
		if n := takeUp(t, l, b); n != 0 {
			t.Errorf("the window was spent twice: %d more", n)
		}
		time.Sleep(5 * time.Second)
		l.Refund(b) // surely of this window
		if n := takeUp(t, l, b); n != 1 {
			t.Errorf("allowed %d after a refund, want 1", n)
		}
	})
}

func TestPeek(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		l, other := node(db, 0), node(db, time.Hour)
		end := time.Now().Truncate(time.Minute).Add(time.Minute).UTC()
		for range 3 {
			mustTake(t, l, bucket("a", 100))
		}
		takeUp(t, other, bucket("full", 7))

		want := []domain.RateDecision{
			{Allowed: true, Bucket: "key", Limit: 100, Remaining: 97, Reset: end},
			{Allowed: true, Bucket: "key"},
			{Allowed: true, Bucket: "key", Limit: 40, Remaining: 40, Reset: end},
			{Allowed: false, Bucket: "key", Limit: 7, Remaining: 0, Reset: end},
		}
		for range 3 { // looking changes nothing
			got, err := l.Peek(t.Context(), bucket("a", 100), bucket("free", 0), bucket("new", 40), bucket("full", 7))
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				got[i].RetryAfter = 0
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		if n := takeUp(t, l, bucket("new", 40)); n != 40 {
			t.Errorf("allowed %d after looking, want 40", n)
		}
	})
}

func TestPeek_TheSourceFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		db.fail(domain.Unavailable(nil))
		if _, err := node(db, 0).Peek(t.Context(), bucket("a", 1)); domain.CodeOf(err) != domain.CodeUnavailable {
			t.Errorf("error %v, want unavailable", err)
		}
	})
}
