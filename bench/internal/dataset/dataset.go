// Package dataset makes up the accounts and instances that the benchmarks read, the same ones each time
// and on both engines, and loads them past the API: ten million instances in minutes.
//
// The rows are what the store would have written, counters included; the migrations of the binary under
// test make the tables.
package dataset

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// PlanName is the plan of all accounts. The node under test must know it.
const PlanName = "bench"

// Shape says what to make.
type Shape struct {
	Medium      int   // accounts of about 120 instances, with keys
	Large       int   // accounts of 2,000 instances, with keys
	Sizes       []int // one account of each size, with keys
	Children    int   // child accounts of one partner, which has a key
	OfChildren  int   // instances of all of them together
	Rows        int   // instances in all; accounts without keys fill up
	CreatedFrom time.Time
	// NewKey makes the API key of the nth account that has one.
	NewKey func(n int) domain.NewKeySecret
}

// Account is a customer.
type Account struct {
	ID     domain.ID
	Parent domain.ID // zero for none
	Key    string    // a good API key; "" for none
	Size   int       // instances

	partner bool
	secret  domain.NewKeySecret
}

// Data is a made-up database.
type Data struct {
	Medium  []*Account
	Large   []*Account
	Sized   map[int]*Account // by size
	Partner *Account         // nil without children; its Size is that of all children
	Rows    int

	accounts []*Account
	keyed    []*Account // those with keys
	order    []slot
	shape    Shape
}

// slot is the place of an instance in the order of creation, which is the order on disk: an account's
// instances lie scattered among all others', as they do in life.
type slot struct {
	created int64 // Unix milliseconds
	account uint32
	nth     uint32 // of the account
}

// span is the time over which the instances were created.
const span = 365 * 24 * time.Hour

// New makes up a database.
func New(s Shape) *Data {
	d := &Data{Sized: map[int]*Account{}, shape: s}
	random := generator(0, 0)
	for range s.Medium {
		d.Medium = append(d.Medium, d.add(80+random.IntN(81), domain.ID{}, withKey))
	}
	for range s.Large {
		d.Large = append(d.Large, d.add(2000, domain.ID{}, withKey))
	}
	for _, size := range s.Sizes {
		d.Sized[size] = d.add(size, domain.ID{}, withKey)
	}
	if s.Children > 0 {
		d.addPartner(s.Children, s.OfChildren)
	}
	for d.Rows < s.Rows {
		// Many small customers and few large ones: 100 instances on average.
		size := int(100*random.ExpFloat64()) + 1
		d.add(min(size, s.Rows-d.Rows), domain.ID{}, withoutKey)
	}
	d.arrange()
	return d
}

// Whether an account has a key.
const (
	withKey    = true
	withoutKey = false
)

// add makes an account.
func (d *Data) add(size int, parent domain.ID, key bool) *Account {
	a := &Account{Parent: parent, Size: size, ID: newID(generator(1, uint64(len(d.accounts))), d.shape.CreatedFrom.UnixMilli())}
	if key {
		a.secret = d.shape.NewKey(len(d.keyed))
		a.Key = a.secret.Plain
		d.keyed = append(d.keyed, a)
	}
	d.accounts = append(d.accounts, a)
	d.Rows += size
	return a
}

// addPartner makes a partner and its children, who have between nothing and twice the average.
func (d *Data) addPartner(children, instances int) {
	d.Partner = d.add(0, domain.ID{}, withKey)
	d.Partner.partner = true
	average := instances / children
	for i := range children / 2 {
		more := average * i / (children / 2)
		d.add(average+more, d.Partner.ID, withoutKey)
		d.add(average-more, d.Partner.ID, withoutKey)
	}
	if rest := instances - average*(children/2)*2; rest > 0 || children%2 == 1 {
		d.add(rest, d.Partner.ID, withoutKey)
	}
	d.Partner.Size = instances
}

// arrange puts the instances in the order of creation.
func (d *Data) arrange() {
	d.order = make([]slot, 0, d.Rows)
	for i, a := range d.accounts {
		if a.partner {
			continue // its Size is its children's
		}
		random := generator(2, uint64(i))
		for n := range a.Size {
			created := d.shape.CreatedFrom.UnixMilli() + random.Int64N(span.Milliseconds())
			d.order = append(d.order, slot{created, uint32(i), uint32(n)})
		}
	}
	slices.SortFunc(d.order, func(a, b slot) int {
		switch {
		case a.created != b.created:
			return int(a.created - b.created)
		case a.account != b.account:
			return int(a.account) - int(b.account)
		}
		return int(a.nth) - int(b.nth)
	})
}

// Summary describes the data in one line.
func (d *Data) Summary() string {
	return fmt.Sprintf("%d instances of %d accounts", len(d.order), len(d.accounts))
}

// generator returns random numbers that depend on the arguments alone.
func generator(kind, n uint64) *rand.Rand {
	return rand.New(rand.NewPCG(kind, n)) //nolint:gosec // repeatable on purpose
}

// newID is domain.NewID with random bits that can be had again.
func newID(random *rand.Rand, created int64) domain.ID {
	id := domain.NewID(time.UnixMilli(created))
	var bits [16]byte
	binary.LittleEndian.PutUint64(bits[:], random.Uint64())
	binary.LittleEndian.PutUint64(bits[8:], random.Uint64())
	copy(id[7:], bits[:])
	id[6] = id[6]&0xf0 | bits[15]&0x0f
	id[8] = id[8]&0x3f | 0x80
	return id
}
