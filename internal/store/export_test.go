package store

// DeliveryID is for tests that write deliveries by hand.
var DeliveryID = deliveryID
