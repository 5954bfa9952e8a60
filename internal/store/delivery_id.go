package store

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// A delivery is known by its webhook and the position of its event. Its id, which callers see, is made of them and is not
// stored: a UUIDv7 of when the delivery was made, with the position after the time, so that ids sort like events, and with the
// end of the webhook's id, so that those of one event differ.

// positionBits are the bits of an id that have the position: 12 after the version, 38 after the variant.
const positionBits = 50

// deliveryID returns the id of a webhook's delivery of the event at a position.
func deliveryID(at time.Time, position int64, webhook domain.ID) domain.ID {
	id := domain.NewID(at)
	binary.BigEndian.PutUint16(id[6:], 0x7000|uint16(position>>(positionBits-12))&0xfff)
	binary.BigEndian.PutUint64(id[8:], 0x2<<62|uint64(position)<<24&(1<<62-1))
	copy(id[13:], webhook[13:])
	return id
}

// positionOf returns the position in the id of a delivery.
func positionOf(id domain.ID) int64 {
	return int64(binary.BigEndian.Uint16(id[6:])&0xfff)<<(positionBits-12) | int64(binary.BigEndian.Uint64(id[8:])>>24&(1<<38-1))
}

// positionIn returns the position in the id of a webhook's delivery, and -1, where there is no event, if the id cannot be one.
func positionIn(webhook, id domain.ID) int64 {
	position := positionOf(id)
	if made := deliveryID(time.Time{}, position, webhook); !bytes.Equal(made[6:], id[6:]) {
		return -1
	}
	return position
}

// madeAt returns when the object of an id was made.
func madeAt(id domain.ID) millis { return millis(binary.BigEndian.Uint64(id[:8]) >> 16) }
