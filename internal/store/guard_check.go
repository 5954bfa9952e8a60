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
	if c.BeforeExpression != nil || c.AfterNameExpression != nil || c.AfterExpression != nil {
		return fmt.Errorf("the clause %s has additions", name)
	}
	plain := true
	switch e := c.Expression.(type) {
	case nil, clause.Limit:
	case clause.Where:
		return checkConditions(e.Exprs)
	case clause.OrderBy:
		plain = isPlainOrder(e)
	case clause.Locking:
		plain = e == forUpdate() || e == skipLocked()
	case clause.Returning:
		plain = arePlain(e.Columns)
	case clause.OnConflict:
		plain = e.DoNothing && arePlain(e.Columns) && e.OnConstraint == "" && len(e.Where.Exprs)+len(e.TargetWhere.Exprs) == 0
	default:
		plain = false
	}
	if !plain {
		return fmt.Errorf("the clause %s is not used in this form", name)
	}
	return nil
}

// checkConditions refuses every condition that could be read as SQL text, and every OR: the conditions
// that remain are joined by AND and cannot loosen each other.
func checkConditions(conditions []clause.Expression) error {
	for _, c := range conditions {
		column, values, ok := comparison(c)
		if !ok {
			return fmt.Errorf("conditions of type %T are not used", c)
		}
		if slices.ContainsFunc(values, isSQL) || !isPlain(column) {
			return errors.New("a condition holds SQL text")
		}
	}
	return nil
}

// comparison takes apart the conditions that are used.
func comparison(c clause.Expression) (column any, values []any, ok bool) {
	switch c := c.(type) {
	case bound, condition:
		return "", nil, true // made by this package, with parameters only
	case clause.Eq:
		return c.Column, []any{c.Value}, true
	case clause.Neq:
		return c.Column, []any{c.Value}, true
	case clause.Lte:
		return c.Column, []any{c.Value}, true
	case clause.Gt:
		return c.Column, []any{c.Value}, true
	case clause.IN:
		return c.Column, c.Values, true
	}
	return nil, nil, false
}

// isPlain reports whether GORM would quote the column rather than take it as SQL.
func isPlain(column any) bool {
	switch c := column.(type) {
	case string:
		return true
	case clause.Column:
		return !c.Raw
	}
	return false
}

func arePlain(columns []clause.Column) bool {
	return !slices.ContainsFunc(columns, func(c clause.Column) bool { return c.Raw })
}

func isPlainOrder(order clause.OrderBy) bool {
	switch order.Expression.(type) {
	case nil:
	case pageOrder, sortedNewestFirst:
		return true
	default:
		return false
	}
	return !slices.ContainsFunc(order.Columns, func(c clause.OrderByColumn) bool { return c.Column.Raw })
}

// isSQL reports whether GORM would write the value as SQL rather than bind it as a parameter.
func isSQL(value any) bool {
	switch value.(type) {
	case clause.Expression, clause.Interface, gorm.Valuer, *gorm.DB, gorm.DB, clause.Column, clause.Table:
		return true
	}
	return false
}

// checkWhere demands the bound predicate among the conditions, which checkShape has found to be ANDed.
func checkWhere(stmt *gorm.Statement, want bound) error {
	where, _ := stmt.Clauses["WHERE"].Expression.(clause.Where)
	if !slices.ContainsFunc(where.Exprs, func(c clause.Expression) bool { return c == clause.Expression(want) }) {
		return fmt.Errorf("no predicate on the bound %s", want.column)
	}
	return nil
}

// checkCreate demands that every new row belongs to the bound account. (A conflict with an existing row
// changes nothing, see checkClause.)
func checkCreate(stmt *gorm.Statement, want bound) error {
	field := stmt.Schema.LookUpField(want.column)
	check := func(row reflect.Value) error {
		if row.Kind() != reflect.Struct {
			return errors.New("new rows are structs")
		}
		if id, ok := field.ReflectValueOf(stmt.Context, row).Interface().(uid); !ok || domain.ID(id) != want.id {
			return fmt.Errorf("a new row has another %s than the bound one", want.column)
		}
		return nil
	}
	rows := stmt.ReflectValue
	if rows.Kind() != reflect.Slice {
		return check(rows)
	}
	for i := range rows.Len() {
		if err := check(rows.Index(i)); err != nil {
			return err
		}
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
		if isSQL(value) && !isOurs(value) {
			return fmt.Errorf("%s is set to SQL", column)
		}
		if column == account || column == partner || column == "id" {
			return fmt.Errorf("%s never changes", column)
		}
	}
	return nil
}

// isOurs reports whether an expression to assign was made by this package, with parameters only.
func isOurs(value any) bool {
	switch value.(type) {
	case increment, fromNow:
		return true
	}
	return false
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
