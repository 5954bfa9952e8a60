package store

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// Ids of deliveries say which one they mean, sort as they are made, and mean nothing under another webhook.
func TestDeliveryID(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_777_863_721_123)
	webhook, other := domain.NewID(now), domain.NewID(now)
	var before domain.ID
	for _, number := range []int64{0, 1, 63, 64, 1 << 37, 1<<38 - 1, 1 << 38, 1<<numberBits - 1} {
		id := deliveryID(now, number, webhook)
		if numberOf(id) != number || numberIn(webhook, id) != number || madeAt(id).time().UnixMilli() != now.UnixMilli() {
			t.Errorf("%d becomes %v, and that %d of %v", number, id, numberOf(id), madeAt(id).time())
		}
		if id[6]>>4 != 7 || id[8]>>6 != 2 {
			t.Errorf("%v is no UUIDv7", id)
		}
		if bytes.Compare(before[:], id[:]) >= 0 {
			t.Errorf("%v comes after %v", before, id)
		}
		if later := deliveryID(now.Add(time.Millisecond), 0, webhook); bytes.Compare(id[:], later[:]) >= 0 {
			t.Errorf("%v is later than %v", id, later)
		}
		if got := numberIn(other, id); got != -1 {
			t.Errorf("another webhook's id is taken for number %d", got)
		}
		before = id
	}
	for range 1000 { // whatever comes in as an id
		var id domain.ID
		for i := range id {
			id[i] = byte(rand.Int())
		}
		if n := numberIn(webhook, id); n != -1 && deliveryID(madeAt(id).time(), n, webhook) != id {
			t.Errorf("%v is taken for number %d", id, n)
		}
	}
}
