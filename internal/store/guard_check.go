package store

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/pombal-api/pombal/internal/domain"
)

// checkShape refuses what could smuggle SQL text or other tables into a statement.
func checkShape(stmt *gorm.Statement) error {
	switch {
	case len(stmt.Joins) > 0:
		return errors.New("joins are composed in instance_query.go only")
	case len(stmt.Preloads) > 0:
		return errors.New("preloading is not used")
	case stmt.Unscoped || stmt.AllowGlobalUpdate:
		return errors.New("Unscoped and AllowGlobalUpdate are not used")
	case stmt.Distinct:
		return errors.New("Distinct is not used")
	case stmt.Schema == nil:
		return errors.New("the statement has no row type")
	}
	for _, name := range stmt.Selects {
		if stmt.Schema.LookUpField(name) == nil && name != sumOfCounts && name != countOfRows {
			return fmt.Errorf("%q is not a column", name)
		}
	}
	for name, c := range stmt.Clauses {
		if err := checkClause(name, c); err != nil {
			return err
		}
	}
	return nil
}

// checkClause lets through the clauses that this package uses, in the forms that hold no SQL text.
func checkClause(name string, c clause.Clause) error {
	switch e := c.Expression.(type) {
	case clause.Where:
		return checkConditions(e.Exprs)
	case clause.OrderBy:
		return checkOrder(e)
	case clause.Limit, clause.Locking, clause.Returning, clause.OnConflict:
		return nil
	case nil:
		return nil
	}
	return fmt.Errorf("the clause %s is not used in this form", name)
}

// checkConditions refuses every condition that could be read as SQL text, and every OR: the conditions
// that remain are joined by AND and cannot loosen each other.
func checkConditions(conditions []clause.Expression) error {
	for _, c := range conditions {
		var value any
		switch c := c.(type) {
		case bound, condition:
		case clause.Eq:
			value = c.Value
		case clause.Neq:
			value = c.Value
		case clause.Lt:
			value = c.Value
		case clause.Lte:
			value = c.Value
		case clause.Gt:
			value = c.Value
		case clause.IN:
			for _, v := range c.Values {
				if isSQL(v) {
					return errors.New("a condition compares with SQL")
				}
			}
		default:
			return fmt.Errorf("conditions of type %T are not used", c)
		}
		if isSQL(value) {
			return errors.New("a condition compares with SQL")
		}
	}
	return nil
}

// isSQL reports whether GORM would write the value as SQL rather than bind it as a parameter.
func isSQL(value any) bool {
	switch value.(type) {
	case clause.Expression, clause.Interface, gorm.Valuer, *gorm.DB, gorm.DB, clause.Column, clause.Table:
		return true
	}
	return false
}

func checkOrder(order clause.OrderBy) error {
	if order.Expression != nil {
		if _, ours := order.Expression.(pageOrder); !ours {
			return errors.New("an order is SQL text")
		}
	}
	for _, c := range order.Columns {
		if c.Column.Raw {
			return errors.New("an order is SQL text")
		}
	}
	return nil
}

// checkWhere demands the bound predicate among the conditions, which checkShape has found to be ANDed.
func checkWhere(stmt *gorm.Statement, want bound) error {
	where, _ := stmt.Clauses["WHERE"].Expression.(clause.Where)
	if !slices.ContainsFunc(where.Exprs, func(c clause.Expression) bool { return c == clause.Expression(want) }) {
		return fmt.Errorf("no predicate on the bound %s", want.column)
	}
	return nil
}

// checkCreate demands that every new row belongs to the bound account, and that a conflict with an
// existing row changes nothing.
func checkCreate(stmt *gorm.Statement, want bound) error {
	if c, ok := stmt.Clauses["ON CONFLICT"].Expression.(clause.OnConflict); ok && !c.DoNothing {
		return errors.New("a conflict must not change the existing row")
	}
	field := stmt.Schema.LookUpField(want.column)
	rows := stmt.ReflectValue
	if rows.Kind() != reflect.Slice {
		return checkOwner(field.ReflectValueOf(stmt.Context, rows), want)
	}
	for i := range rows.Len() {
		if err := checkOwner(field.ReflectValueOf(stmt.Context, rows.Index(i)), want); err != nil {
			return err
		}
	}
	return nil
}

func checkOwner(value reflect.Value, want bound) error {
	if id, ok := value.Interface().(uid); !ok || domain.ID(id) != want.id {
		return fmt.Errorf("a new row has another %s than the bound one", want.column)
	}
	return nil
}

// checkAssignments demands updates by column name, since GORM leaves zero fields of structs out and Save
// writes all of them, and refuses to move rows to another owner.
func checkAssignments(stmt *gorm.Statement) error {
	set, ok := stmt.Dest.(map[string]any)
	if !ok {
		return errors.New("updates name their columns in a map")
	}
	account, partner, _ := bindings(stmt.Table)
	for column, value := range set {
		if _, ours := value.(increment); isSQL(value) && !ours {
			return fmt.Errorf("%s is set to SQL", column)
		}
		if column == account || column == partner || column == "id" {
			return fmt.Errorf("%s never changes", column)
		}
	}
	return nil
}

// increment adds to a column.
type increment struct {
	column string
	by     int64
}

// Build writes the sum. It is part of GORM's clause.Expression.
func (i increment) Build(builder clause.Builder) {
	builder.WriteQuoted(clause.Column{Name: i.column})
	_, _ = builder.WriteString(" + ")
	builder.AddVar(builder, i.by)
}
