package store

import (
	"encoding/binary"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// A delivery is known by its account, its webhook and its number, which grows with the position of its event. Its id, which
// callers see, is made of them and is not stored: a UUIDv7 of when the delivery was made, with the number after the time, and
// with the end of the webhook's id.

// numberBits are the bits of an id that have the number: 12 after the version, 38 after the variant.
const numberBits = 50

// deliveryID returns the id of a webhook's delivery.
func deliveryID(at time.Time, number int64, webhook domain.ID) domain.ID {
	var id domain.ID
	binary.BigEndian.PutUint64(id[:], uint64(at.UnixMilli())<<16|0x7000|uint64(number>>(numberBits-12))&0xfff)
	binary.BigEndian.PutUint64(id[8:], 0x2<<62|uint64(number)<<24&(1<<62-1))
	copy(id[13:], webhook[13:])
	return id
}

// numberOf returns the number in the id of a delivery.
func numberOf(id domain.ID) int64 {
	return int64(binary.BigEndian.Uint16(id[6:])&0xfff)<<(numberBits-12) | int64(binary.BigEndian.Uint64(id[8:])>>24&(1<<(numberBits-12)-1))
}

// numberIn returns the number in the id of a webhook's delivery, and -1, which none has, if the id cannot be one.
func numberIn(webhook, id domain.ID) int64 {
	number := numberOf(id)
	if made := deliveryID(madeAt(id).time(), number, webhook); made != id {
		return -1
	}
	return number
}

// madeAt returns when the object of an id was made.
func madeAt(id domain.ID) millis { return millis(binary.BigEndian.Uint64(id[:8]) >> 16) }

// firstID comes before all ids from a time, and after those from before it.
func firstID(at millis) (first exactID) {
	binary.BigEndian.PutUint64(first[:], uint64(at)<<16)
	return first
}
