package store

import (
	"errors"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/pombal-api/pombal/internal/domain"
)

// The account wall, second part (the first is that tenant rows are reached through bound handles only,
// the third that tables have composite keys): a GORM callback that refuses every statement on a tenant
// table unless it demands the bound account by an equality that no other condition can loosen. GORM has
// many calls that lose or widen conditions silently; here they are errors.

// errWall is what a statement without its account predicate fails with. It is always a bug in this package.
var errWall = errors.New("refused by the account wall")

// wall says whose rows a statement may touch: an account's, or those of a partner's children.
type wall struct {
	account domain.ID
	partner domain.ID
	pass    pass // lets one kind of statement cross accounts
}

// pass names a statement that crosses accounts on purpose. There are few, and a test lists them.
type pass string

const (
	passAccounts        pass = "the operator reads accounts"
	passOrigins         pass = "accounts that were found within the wall are completed with their origins"
	passKeyByLookup     pass = "authentication finds a key by its public part"
	passInstanceByToken pass = "authentication finds an instance by its token"
	passOriginAllowed   pass = "a preflight asks whether any account lists an origin"
	passSweep           pass = "the sweep finds and removes what has expired"
	passLinks           pass = "nodes find the connections to look after"
	passHeads           pass = "nodes ask which accounts have new events"
)

// covers reports whether the pass is meant for a statement on a table.
func (p pass) covers(kind statementKind, table string) bool {
	switch p {
	case passAccounts:
		return kind == kindQuery && table == "accounts"
	case passKeyByLookup:
		return kind == kindQuery && table == "api_keys"
	case passInstanceByToken:
		return kind == kindQuery && table == "instances"
	case passOrigins, passOriginAllowed:
		return kind == kindQuery && table == "account_origins"
	case passLinks:
		return kind == kindQuery && table == "instance_links"
	case passHeads:
		return kind == kindQuery && table == "event_heads"
	case passSweep:
		return (kind == kindQuery || kind == kindDelete) && table == "idempotency_keys" ||
			kind == kindQuery && (table == "events" || table == "webhooks")
	}
	return false
}

type statementKind string

const (
	kindQuery  statementKind = "query"
	kindCreate statementKind = "create"
	kindUpdate statementKind = "update"
	kindDelete statementKind = "delete"
	kindRaw    statementKind = "raw"
)

// bindings returns the columns by which a table's rows belong to an account and to a partner; both are
// empty for the tables that belong to nobody. The last result is false for unknown tables.
func bindings(table string) (account, partner string, known bool) {
	switch table {
	case "accounts":
		return "id", "parent_id", true
	case "instances":
		return "account_id", "partner_id", true
	case "account_origins", "api_keys", "idempotency_keys", "instance_counts", "instance_links",
		"event_heads", "events", "ordered_events", "webhooks", "webhook_lanes", "deliveries", "delivery_attempts", "inbound_webhooks":
		return "account_id", "", true
	case "partner_counts":
		return "", "partner_id", true
	case "auth_version", "auth_changes", "signing_keys", "rate_windows", "nodes":
		return "", "", true
	}
	return "", "", false
}

// binding returns the column and the id that a statement on a table must demand under this wall.
func (w wall) binding(table string) (bound, bool) {
	account, partner, _ := bindings(table)
	switch {
	case account != "" && !w.account.IsZero():
		return bound{account, w.account}, true
	case partner != "" && !w.partner.IsZero():
		return bound{partner, w.partner}, true
	}
	return bound{}, false
}

// bound is the predicate that keeps a statement within an account or a partner's children.
type bound struct {
	column string
	id     domain.ID
}

// Build writes the predicate. It is part of GORM's clause.Expression.
func (b bound) Build(builder clause.Builder) {
	builder.WriteQuoted(clause.Column{Table: clause.CurrentTable, Name: b.column})
	_, _ = builder.WriteString(" = ")
	builder.AddVar(builder, uid(b.id))
}

// wallKey is where a statement carries its wall.
const wallKey = "pombal:wall"

// installWall makes GORM refuse what the wall does not allow.
func installWall(db *gorm.DB) error {
	on := db.Callback()
	return errors.Join(
		on.Query().Before("*").Register("pombal:wall_query", guard(kindQuery)),
		on.Row().Before("*").Register("pombal:wall_row", guard(kindQuery)),
		on.Create().Before("*").Register("pombal:wall_create", guard(kindCreate)),
		on.Update().Before("*").Register("pombal:wall_update", guard(kindUpdate)),
		on.Delete().Before("*").Register("pombal:wall_delete", guard(kindDelete)),
		on.Raw().Before("*").Register("pombal:wall_raw", guard(kindRaw)),
	)
}

func guard(kind statementKind) func(*gorm.DB) {
	return func(db *gorm.DB) {
		if err := db.Statement.Context.Err(); err != nil {
			_ = db.AddError(err)
			return
		}
		if err := checkStatement(kind, db.Statement); err != nil {
			_ = db.AddError(fmt.Errorf("%w: %s on %q: %w", errWall, kind, db.Statement.Table, err))
		}
	}
}

// checkStatement decides about one statement before it is built.
func checkStatement(kind statementKind, stmt *gorm.Statement) error {
	if kind == kindRaw || stmt.SQL.Len() > 0 {
		return errors.New("SQL written by hand must not go through GORM")
	}
	account, partner, known := bindings(stmt.Table)
	if !known || stmt.TableExpr != nil {
		return errors.New("not a table of this package")
	}
	if err := checkShape(stmt); err != nil {
		return err
	}
	if account == "" && partner == "" {
		return nil
	}
	value, _ := stmt.Get(wallKey)
	w, _ := value.(wall)
	if w.pass != "" {
		if w.pass.covers(kind, stmt.Table) {
			return nil
		}
		return fmt.Errorf("the pass %q is not for this", w.pass)
	}
	want, ok := w.binding(stmt.Table)
	if !ok {
		return errors.New("no account is bound")
	}
	return checkBound(kind, stmt, want)
}

// checkBound holds a statement on a tenant table against its wall.
func checkBound(kind statementKind, stmt *gorm.Statement, want bound) error {
	if kind == kindCreate {
		return checkCreate(stmt, want)
	}
	if kind == kindUpdate {
		if err := checkAssignments(stmt); err != nil {
			return err
		}
	}
	return checkWhere(stmt, want)
}
