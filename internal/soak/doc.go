// Package soak kills, freezes and cuts off whole nodes, and holds what is left against what was promised.
// It consists of tests only.
//
// Each node is a process of its own: this package's test binary, which runs itself again. The fake WhatsApp
// runs in the test's process, which therefore knows at any moment who is logged in, and from which node.
// docs/reliability.md says what came out.
package soak
