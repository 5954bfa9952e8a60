package store

import (
	"github.com/pombal-api/pombal/internal/domain"
)

// news is what a transaction has done that others wait for, to be told after its commit.
type news struct {
	published bool // there are events
	due       []domain.Delivery
	taken     []domain.LaneKey // see Config.OnTake
}

// take notes that a locked lane is taken from its worker, and returns the lane's next epoch.
func (n *news) take(lane *laneRow) (epoch int64) {
	key := domain.LaneKey{Account: domain.ID(lane.AccountID), Webhook: domain.ID(lane.WebhookID), Epoch: lane.Epoch + 1}
	n.taken = append(n.taken, key)
	return key.Epoch
}

// tell tells what was committed.
func (s *Store) tell(n *news) {
	if len(n.taken) > 0 && s.cfg.OnTake != nil {
		s.cfg.OnTake(n.taken)
	}
	if n.published && s.cfg.OnPublish != nil {
		s.cfg.OnPublish(n.due)
	}
}

// eventPlace names an event.
type eventPlace struct {
	account  uid
	position int64
}

func eventsByPlace(events []domain.Event) map[eventPlace]*domain.Event {
	byPlace := make(map[eventPlace]*domain.Event, len(events))
	for i := range events {
		byPlace[eventPlace{uid(events[i].AccountID), events[i].Position}] = &events[i]
	}
	return byPlace
}

// scan takes a new delivery of one of the events on PostgreSQL: its account, its webhook, its event's position, which is its
// number, too, and when it was made, which is when it is due.
func (n *news) scan(row scanned, events map[eventPlace]*domain.Event) error {
	var account, webhook uid
	var position int64
	var at millis
	if err := row.Scan(&account, &webhook, &position, &at); err != nil {
		return err
	}
	n.due = append(n.due, domain.Delivery{
		AccountID: domain.ID(account), ID: deliveryID(at.time(), position, domain.ID(webhook)), WebhookID: domain.ID(webhook),
		Event: *events[eventPlace{account, position}],
		State: domain.DeliveryWaiting, NextAt: at.time(), CreatedAt: at.time(),
	})
	return nil
}
