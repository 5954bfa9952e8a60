package store

import (
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/pombal-api/pombal/internal/domain"
)

// filtered adds the conditions of a shape, whose values it takes from value.
func filtered(query *gorm.DB, shape pageShape, postgres bool, value func(slot) any) *gorm.DB {
	for _, f := range []struct {
		used   bool
		column string
		slot   slot
	}{
		{shape.status, "status", slotStatus},
		{shape.externalID, "external_id", slotExternalID},
		{shape.name, "name", slotName},
		{shape.phone, "phone", slotPhone},
	} {
		if f.used {
			query = query.Where(eq(f.column, value(f.slot)))
		}
	}
	if shape.search {
		query = query.Where(contains(postgres, value(slotSearch)))
	}
	if shape.ids > 0 {
		query = query.Where(oneOf(shape.ids, value))
	}
	return query
}

// contains finds text as it is: unlike LIKE, neither function has wildcards.
func contains(postgres bool, text any) condition {
	if postgres {
		return condition{"strpos(search_text, ?) > 0", []any{text}}
	}
	return condition{"instr(search_text, ?) > 0", []any{text}}
}

// oneOf compares the id with n values, or with the elements of one array.
func oneOf(n int, value func(slot) any) clause.Expression {
	if n == anArray {
		return condition{"id = ANY(?)", []any{value(slotIDs)}}
	}
	values := make([]any, n)
	for i := range values {
		values[i] = value(slotIDs + slot(i))
	}
	return in("id", values)
}

// condition is a piece of SQL that this package wrote, with its parameters. It stands in parentheses, so
// it cannot loosen its neighbours.
type condition struct {
	sql  string
	vars []any
}

// Build writes the condition. It is part of GORM's clause.Expression.
func (c condition) Build(builder clause.Builder) {
	_ = builder.WriteByte('(')
	clause.Expr{SQL: c.sql, Vars: c.vars}.Build(builder)
	_ = builder.WriteByte(')')
}

// after is the condition that a row comes after a position in the order of creation.
func after(created, id any) condition {
	return condition{"(created_at, id) > (?, ?)", []any{created, id}}
}

// afterCursor is after with the values of a cursor, which are never NULL.
func afterCursor(c *domain.Cursor) condition { return after(c.CreatedAt.UTC(), exactID(c.ID)) }

// pageOrder is the order of a page with its bounds, which GORM would write as numbers on SQLite.
type pageOrder struct {
	offset   bool
	postgres bool
}

// Build writes the clause. It is part of GORM's clause.Expression.
func (o pageOrder) Build(builder clause.Builder) {
	_, _ = builder.WriteString("created_at, id LIMIT ")
	builder.AddVar(builder, slotLimit)
	if !o.postgres {
		// SQLite looks at the value of a bare parameter when it plans, and so would plan again for each page.
		_, _ = builder.WriteString("+0")
	}
	if o.offset {
		_, _ = builder.WriteString(" OFFSET ")
		builder.AddVar(builder, slotOffset)
	}
}
