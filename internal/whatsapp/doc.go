// Package whatsapp connects instances to WhatsApp as linked devices, through the whatsmeow library. It is
// the only production package that knows the library.
//
// A Driver holds the device store and opens Links. A Link is one attempt to connect one instance: it lives
// until it is down and never comes back by itself, except for the reconnection that WhatsApp wants after a
// pairing. Each link has one goroutine, which owns its state and alone calls its sink; what the library
// reports, from whatever goroutine, is handed over to it. The library's own logic of reconnecting is off.
//
// The device store knows which instance each device belongs to before WhatsApp is told that a pairing is accepted.
// So a pairing outlives a process that ends before anybody else has recorded it: the next link of the instance,
// though opened as one without a pairing, finds the device and logs in with it.
//
// There is no receiver of messages yet. Messages and receipts are therefore never acknowledged: WhatsApp keeps
// them and delivers them again at a later connection, when there is something that stores them.
package whatsapp
