// Package fakewa is a WhatsApp server without WhatsApp: it speaks the protocol of linked devices over
// WebSocket, with simulated phones that pair them, contacts that exchange end-to-end encrypted messages
// with them, a media host, and faults on demand. The real client library pairs with it, logs in, sends
// and receives, without the internet and without a phone.
//
// Clients reach it by dialling its address instead of web.whatsapp.com, in plain TCP, and by trusting
// RootKey(seed) instead of WhatsApp's root. It is for development and tests: nothing that serves
// customers may import it.
//
// One mutex, Server.mu, guards all state. Signal sessions have a mutex per person, which is locked
// before Server.mu, never after.
package fakewa
