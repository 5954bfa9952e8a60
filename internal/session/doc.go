// Package session decides which node holds which instance, connects it, watches the connection and
// connects it again. It knows no protocol, no SQL and no HTTP.
//
// # Who holds what
//
// A node is alive while its row in the database is: it renews the row's expiry every third of the TTL. Other
// nodes remove a row that has expired, by the clock of the database, which frees everything that the node
// held. Free instances are claimed, and every claim makes the instance's epoch grow: what a node writes
// names the epoch under which it holds the instance, and is refused under an older one.
//
// # When the database does not answer
//
// A node cannot see whether only itself is cut off. It goes by the kind of the failure:
//   - The database says that it serves nobody, or its machine refuses the connection
//     (domain.ErrDatabaseDown): no node can take over anything, so connections are kept, for OutageGrace at
//     most. What is known is kept in memory and written later. New connections wait for the next renewal.
//   - Anything else (no answer, no route): the others may be able to take over, so all connections are
//     closed before that can happen, counted from the start of the last renewal that succeeded.
//
// When the database is back, every expiry has passed. So that nobody is buried alive, a node removes others
// only after it has itself reached the database for half a TTL, in which the others renew too. The
// price: instances of a node that dies during an outage wait that much longer. What remains is a node whose
// way to the database is refused while others get through. There WhatsApp is the judge: a second login ends
// the first one as replaced, so there are never two live connections for long.
//
// A single process that owns its database (SQLite) is never cut off from others: it keeps its connections.
//
// # What is shown
//
// A connection that is back within two seconds was never away: its status does not change. After that it is
// connecting, with the reason. Bans and refusals for an old version, which last, are shown as disconnected
// although they are tried again. Drops within a minute of the last one wait longer and longer.
//
// What no node holds, as its node has died and the others are full, is connecting soon after silentFor without a sign
// of life: any node writes that down.
package session
