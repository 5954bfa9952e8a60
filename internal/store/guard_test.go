package store

import (
	"errors"
	"testing"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
)

// wallFixture is two accounts with an instance each, seen through the wall of the first.
type wallFixture struct {
	s              *Store
	mine, theirs   domain.ID
	myRow, theirID uid
	sc             scope
}

func newWallFixture(t *testing.T, engine testkit.Engine) wallFixture {
	t.Helper()
	database := engine.New(t)
	s, err := Open(t.Context(), Config{URL: database.URL, DataDir: database.Dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := wallFixture{s: s}
	f.mine, f.myRow = addAccount(t, s, "mine")
	f.theirs, f.theirID = addAccount(t, s, "theirs")
	f.sc = scope{db: s.writer.WithContext(t.Context()), wall: wall{account: f.mine}}
	return f
}

func addAccount(t *testing.T, s *Store, name string) (account domain.ID, instance uid) {
	t.Helper()
	a := domain.Account{Name: name, Plan: "free"}
	if err := s.CreateAccount(t.Context(), &a); err != nil {
		t.Fatal(err)
	}
	bound, err := s.Account(a.ID)
	if err != nil {
		t.Fatal(err)
	}
	in := domain.Instance{Name: name}
	if err := bound.CreateInstance(t.Context(), &in, 0); err != nil {
		t.Fatal(err)
	}
	return a.ID, uid(in.ID)
}

// The calls that cross accounts in plain GORM (each was tried there), and others of their kind.
func TestWall_RefusesLeakyCalls(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			f := newWallFixture(t, engine)
			for name, call := range leakyCalls(f) {
				if err := call(); !errors.Is(err, errWall) {
					t.Errorf("%s: got %v, want it refused by the wall", name, err)
				}
			}
			assertUntouched(t, f)
		})
	}
}

// leakyCalls are by what they do wrong.
func leakyCalls(f wallFixture) map[string]func() error {
	var rows []instanceRow
	var one instanceRow
	bind := func() *gorm.DB { return f.sc.rows(&instanceRow{}) }
	unbound := func() *gorm.DB { return f.sc.all(&instanceRow{}) }
	bare := f.s.writer
	inB := func() *instanceRow { return &instanceRow{AccountID: uid(f.theirs), ID: f.theirID, Name: "stolen"} }
	stolen := map[string]any{"name": "stolen"}
	return map[string]func() error{
		// notes/platform.md C.1 by number
		"1 struct condition with zero values": func() error { return unbound().Where(&instanceRow{}).Find(&rows).Error },
		"2 Or after the predicate":            func() error { return bind().Where(eq("name", "x")).Or(eq("name", "theirs")).Find(&rows).Error },
		"3 Or within a scope": func() error {
			bound := func(db *gorm.DB) *gorm.DB { return db.Where(bound{"account_id", f.mine}) }
			return unbound().Scopes(bound).Where(eq("name", "x")).Or(eq("name", "theirs")).Find(&rows).Error
		},
		"4 Save of another's row":     func() error { return bind().Save(inB()).Error },
		"4 Save of a copied row":      func() error { return bind().Save(&instanceRow{AccountID: uid(f.mine), ID: f.theirID}).Error },
		"5 Delete by struct":          func() error { return unbound().Where(&instanceRow{Name: "theirs"}).Delete(&instanceRow{}).Error },
		"6 Preload":                   func() error { return bind().Preload("Instances").Find(&rows).Error },
		"7 inline string in Find":     func() error { return bind().Find(&rows, "1=1) OR (name='theirs'").Error },
		"7 string in Where":           func() error { return bind().Where("1=1) OR (name = ?", "theirs").Find(&rows).Error },
		"7 named string in Where":     func() error { return bind().Where("name = @n", map[string]any{"n": "x"}).Find(&rows).Error },
		"7 string in Order":           func() error { return bind().Order("name; SELECT 1").Find(&rows).Error },
		"7 string in Select":          func() error { return bind().Select("(SELECT name FROM accounts LIMIT 1)").Find(&rows).Error },
		"7 arguments in Select":       func() error { return bind().Select("(SELECT ?)", 1).Find(&rows).Error },
		"7 string in Group":           func() error { return bind().Group("name").Find(&rows).Error },
		"7 string in Joins":           func() error { return bind().Joins("JOIN accounts ON true").Find(&rows).Error },
		"7 string in Table":           func() error { return bind().Table("instances AS i, accounts").Find(&rows).Error },
		"9 Updates by struct":         func() error { return bind().Updates(instanceRow{AutoRead: false}).Error },
		"10 an empty list":            func() error { return unbound().Find(&rows, []string{}).Error },
		"11 Raw after the predicate":  func() error { return bind().Raw("SELECT * FROM instances").Scan(&rows).Error },
		"12 Delete without condition": func() error { return unbound().Delete(&instanceRow{}).Error },

		"no handle at all":          func() error { return bare.Find(&rows).Error },
		"another's predicate":       func() error { return unbound().Where(bound{"account_id", f.theirs}).Find(&rows).Error },
		"the predicate as plain Eq": func() error { return unbound().Where(eq("account_id", uid(f.mine))).Find(&rows).Error },
		"the predicate on id":       func() error { return unbound().Where(bound{"id", f.mine}).Find(&rows).Error },
		"Not":                       func() error { return unbound().Not(bound{"account_id", f.theirs}).Find(&rows).Error },
		"a nested group": func() error {
			return bind().Where(f.s.writer.Where(eq("name", "x")).Or(eq("name", "y"))).Find(&rows).Error
		},
		"a subquery as a value": func() error {
			return bind().Where(eq("name", f.s.writer.Raw("SELECT name FROM instances"))).Find(&rows).Error
		},
		"SQL as a value": func() error { return bind().Where(eq("name", gorm.Expr("name"))).Find(&rows).Error },
		"SQL as a column": func() error {
			return bind().Where(clause.Eq{Column: clause.Column{Name: "1=1 --", Raw: true}}).Find(&rows).Error
		},
		"SQL as an order":     func() error { return bind().Clauses(clause.OrderBy{Expression: gorm.Expr("1")}).Find(&rows).Error },
		"SQL behind a clause": func() error { return bind().Clauses(hint{}).Find(&rows).Error },
		"SQL behind FOR": func() error {
			return bind().Clauses(clause.Locking{Strength: "UPDATE", Options: "OF x"}).Find(&rows).Error
		},
		"SQL in RETURNING": func() error {
			raw := clause.Returning{Columns: []clause.Column{{Name: "(SELECT 1)", Raw: true}}}
			return bind().Clauses(raw).Updates(stolen).Error
		},
		"FROM": func() error {
			return bind().Clauses(clause.From{Tables: []clause.Table{{Name: "x"}}}).Find(&rows).Error
		},
		"Having":             func() error { return bind().Having("1=1").Find(&rows).Error },
		"Distinct":           func() error { return bind().Distinct("name").Find(&rows).Error },
		"Unscoped":           func() error { return bind().Unscoped().Find(&rows).Error },
		"Count":              func() error { var n int64; return unbound().Count(&n).Error },
		"Pluck":              func() error { var n []string; return unbound().Pluck("name", &n).Error },
		"Rows":               func() error { return rowsError(unbound()) },
		"Row":                func() error { return rowError(unbound()) },
		"Take":               func() error { return unbound().Take(&one).Error },
		"FirstOrCreate":      func() error { return unbound().FirstOrCreate(inB()).Error },
		"Exec":               func() error { return f.sc.db.Exec("DELETE FROM instances").Error },
		"Exec with the wall": func() error { return bind().Exec("DELETE FROM instances").Error },
		"Create for another": func() error { return unbound().Create(inB()).Error },
		"Create many":        func() error { return unbound().Create([]instanceRow{{AccountID: uid(f.mine)}, *inB()}).Error },
		"Create from a map":  func() error { return unbound().Create(map[string]any{"account_id": f.theirs}).Error },
		"upsert": func() error {
			return unbound().Clauses(clause.OnConflict{UpdateAll: true}).Create(&instanceRow{AccountID: uid(f.mine)}).Error
		},
		"Update unbound":        func() error { return unbound().Where(eq("id", f.theirID)).Updates(stolen).Error },
		"Update all":            func() error { return unbound().Session(&gorm.Session{AllowGlobalUpdate: true}).Updates(stolen).Error },
		"Update of the owner":   func() error { return bind().Updates(map[string]any{"account_id": uid(f.theirs)}).Error },
		"Update of the partner": func() error { return bind().Updates(map[string]any{"partner_id": uid(f.theirs)}).Error },
		"Update to SQL":         func() error { return bind().Updates(map[string]any{"name": gorm.Expr("id")}).Error },
		"Delete of a row":       func() error { return unbound().Delete(inB()).Error },
		"a pass for elsewhere":  func() error { return f.sc.with(wall{pass: passSweep}).all(&instanceRow{}).Find(&rows).Error },
		"a pass that writes": func() error {
			return f.sc.with(wall{pass: passInstanceByToken}).all(&instanceRow{}).Where(eq("id", f.theirID)).Updates(stolen).Error
		},
		"a pass nobody knows":   func() error { return f.sc.with(wall{pass: "please"}).all(&instanceRow{}).Find(&rows).Error },
		"a partner that is not": func() error { return f.sc.with(wall{partner: f.mine}).all(&instanceRow{}).Find(&rows).Error },
		"by hand under a pass":  func() error { return execByHand(f.sc.with(wall{pass: passSweep}), "SELECT 1") },
		"by hand without wall":  func() error { return execByHand(f.sc.with(wall{}), "SELECT 1") },
	}
}

// hint is a clause with SQL text around another.
type hint struct{ clause.Where }

func (hint) ModifyStatement(stmt *gorm.Statement) {
	c := stmt.Clauses["WHERE"]
	c.AfterExpression = gorm.Expr("OR true")
	stmt.Clauses["WHERE"] = c
}

func rowsError(db *gorm.DB) error {
	rows, err := db.Rows()
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	return rows.Err()
}

// rowError returns the error of Row, which is nil itself when the statement was refused.
func rowError(db *gorm.DB) error {
	if row := db.Row(); row != nil {
		return row.Err()
	}
	return errWall
}

// assertUntouched reads both accounts through their own walls.
func assertUntouched(t *testing.T, f wallFixture) {
	t.Helper()
	for name, sc := range map[string]scope{"mine": f.sc, "theirs": f.sc.with(wall{account: f.theirs})} {
		var rows []instanceRow
		if err := sc.rows(&instanceRow{}).Find(&rows).Error; err != nil {
			t.Fatal(err)
		}
		if len(rows) != 1 || rows[0].Name != name || rows[0].AccountID != uid(sc.wall.account) {
			t.Errorf("the rows of %s are %+v", name, rows)
		}
	}
}

// The wall holds for every tenant table and every kind of statement.
func TestWall_EveryTable(t *testing.T) {
	t.Parallel()
	f := newWallFixture(t, testkit.Engines()[0])
	for _, model := range []interface{ TableName() string }{
		&accountRow{}, &originRow{}, &keyRow{}, &instanceRow{}, &countRow{}, &partnerCountRow{}, &idempotencyRow{},
		&laneRow{}, &deliveryRow{}, &attemptRow{},
	} {
		for kind, run := range map[string]func(*gorm.DB) error{
			"query":  func(db *gorm.DB) error { return db.Find(&[]map[string]any{}).Error },
			"create": func(db *gorm.DB) error { return db.Create(model).Error },
			"update": func(db *gorm.DB) error { return db.Updates(map[string]any{"name": "x"}).Error },
			"delete": func(db *gorm.DB) error { return db.Delete(model).Error },
		} {
			for name, w := range map[string]wall{"no wall": {}, "another's wall": {account: f.theirs, partner: f.theirs}} {
				if err := run(f.sc.with(w).all(model)); !errors.Is(err, errWall) {
					t.Errorf("%s on %s with %s: %v", kind, model.TableName(), name, err)
				}
			}
		}
	}
}

// Every statement that may cross accounts. Adding one is a decision: think of who can call it, then add it
// here.
func TestWall_Passes(t *testing.T) {
	t.Parallel()
	want := map[pass][]string{
		passAccounts:        {"query accounts"},
		passOrigins:         {"query account_origins"},
		passOriginAllowed:   {"query account_origins"},
		passKeyByLookup:     {"query api_keys"},
		passInstanceByToken: {"query instances"},
		passSweep:           {"query idempotency_keys", "delete idempotency_keys", "query events", "query webhooks"},
		passLinks:           {"query instance_links"},
		passHeads:           {"query event_heads"},
	}
	tables := []string{
		"accounts", "account_origins", "api_keys", "instances", "instance_counts", "partner_counts", "idempotency_keys",
		"instance_links", "event_heads", "events", "webhooks", "webhook_lanes", "deliveries", "delivery_attempts",
		"inbound_webhooks",
	}
	for p, allowed := range want {
		n := 0
		for _, kind := range []statementKind{kindQuery, kindCreate, kindUpdate, kindDelete, kindRaw} {
			for _, table := range tables {
				if !p.covers(kind, table) {
					continue
				}
				if n++; n > len(allowed) || !contained(allowed, string(kind)+" "+table) {
					t.Errorf("%q also covers %s %s", p, kind, table)
				}
			}
		}
		if n != len(allowed) {
			t.Errorf("%q covers %d statements, want %v", p, n, allowed)
		}
	}
}

func contained(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
