package store

// DeliveryID is for tests that write deliveries by hand.
var DeliveryID = deliveryID

// LookThrough sets how many events a statement looks through, so that tests need not make thousands.
func (s *Store) LookThrough(n int64) { s.eventWindow = n }
