package whatsapp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"

	"github.com/pombal-api/pombal/internal/domain"
)

// createOwners makes the table, beside the library's, that says which instance a device belongs to. A row is
// written before WhatsApp is told that the pairing is accepted, so that no pairing is lost when the process dies
// before anybody else has learned of it. A row whose device does not exist means nothing.
const createOwners = `CREATE TABLE IF NOT EXISTS pombal_devices (
	account_id  TEXT NOT NULL,
	instance_id TEXT NOT NULL,
	jid         TEXT NOT NULL UNIQUE,
	PRIMARY KEY (account_id, instance_id)
)`

// lookupTime bounds a look-up of a device.
const lookupTime = 5 * time.Second

// find gives a link its device: the stored one, a new one when the instance has none, or nil when the one that
// it had is gone. A failed look-up never makes a new device.
func (d *Driver) find(ctx context.Context, l *Link) (err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	if l.target.JID != "" {
		l.paired = true
		err = d.findKnown(ctx, l)
	} else if err = d.findOwned(ctx, l); err == nil && l.device == nil {
		l.jid = types.EmptyJID
		l.device = d.devices.NewDevice()
	}
	if err != nil {
		return fmt.Errorf("look up the device: %w", err)
	}
	if l.device != nil {
		l.device.Container = keeper{l}
	}
	if l.paired && l.device != nil {
		batchPreKeys(l.device)
	}
	return nil
}

// findKnown looks for the device that the link's opener knows of.
func (d *Driver) findKnown(ctx context.Context, l *Link) (err error) {
	if l.jid, err = parseJID(l.target.JID); err != nil {
		return err
	}
	// WhatsApp gives an address again when its device has been unlinked, perhaps to another instance.
	var others int
	err = d.db.QueryRowContext(ctx, `SELECT count(*) FROM pombal_devices WHERE jid = $1 AND NOT (account_id = $2 AND instance_id = $3)`,
		l.jid.String(), l.target.Account.String(), l.target.Instance.String()).Scan(&others)
	if err != nil || others > 0 {
		return err
	}
	l.device, err = d.devices.GetDevice(ctx, l.jid)
	return err
}

// findOwned looks for a device of the instance that the link's opener does not know of.
func (d *Driver) findOwned(ctx context.Context, l *Link) error {
	var text string
	err := d.db.QueryRowContext(ctx, `SELECT jid FROM pombal_devices WHERE account_id = $1 AND instance_id = $2`,
		l.target.Account.String(), l.target.Instance.String()).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if l.jid, err = parseJID(text); err != nil {
		return err
	}
	l.device, err = d.devices.GetDevice(ctx, l.jid)
	l.paired = l.device != nil
	return err
}

func parseJID(text string) (types.JID, error) {
	jid, err := types.ParseJID(text)
	if err != nil || jid.User == "" {
		return types.EmptyJID, errJID
	}
	return jid, nil
}

// newPairing is a pairing that a link makes, as the library's goroutine sees it. Its zero value is none.
type newPairing struct {
	mu      sync.Mutex
	refused bool
	stored  types.JID
}

// begin lets a pairing be stored, unless none is wanted any more.
func (p *newPairing) begin(jid types.JID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused {
		return false
	}
	p.stored = jid
	return true
}

// refuse lets no pairing be stored from now on. It returns the one that is stored, or about to be.
func (p *newPairing) refuse() types.JID {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = true
	return p.stored
}

// jid returns the address of the pairing that is stored, or about to be.
func (p *newPairing) jid() types.JID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stored
}

// keeper is what a link's device is stored in.
type keeper struct{ link *Link }

var (
	errUnwanted = errors.New("whatsapp: nobody waits for a pairing any more")
	errKept     = errors.New("whatsapp: it is the link that deletes devices")
)

// PutDevice stores a device: for the first time when a phone has taken a code. WhatsApp is told that the
// pairing is accepted if that succeeds. Once the link has ended it stores nothing: some of the library's goroutines
// outlive it, whatever its context says, and would bring back a device that has been deleted meanwhile.
func (k keeper) PutDevice(ctx context.Context, device *store.Device) error {
	k.link.saving.Lock()
	defer k.link.saving.Unlock()
	if k.link.ctx.Err() != nil {
		return errEnded
	}
	ctx, cancel := withEither(ctx, k.link.ctx)
	defer cancel()
	d := k.link.driver
	if device.Initialized {
		return d.devices.PutDevice(ctx, device)
	}
	if device.ID == nil {
		return sqlstore.ErrDeviceIDMustBeSet
	}
	if !k.link.isWanted() || !k.link.isHeld() || !k.link.fresh.begin(*device.ID) {
		return errUnwanted
	}
	if err := d.own(ctx, k.link.target, *device.ID); err != nil {
		return err
	}
	err := d.devices.PutDevice(ctx, device)
	device.Container = k // the library puts itself there
	if err == nil {
		batchPreKeys(device)
	}
	return err
}

// DeleteDevice does nothing and returns an error. The library wants to delete a device whose pairing is gone,
// which the link does itself, and one whose pairing it could not report, which WhatsApp may know all the same.
// It would also change the device while its other goroutines use it, if it got no error.
func (keeper) DeleteDevice(context.Context, *store.Device) error { return errKept }

// awaitSaved returns when the device is not being stored. Once the link's context has ended, it never is again.
func (l *Link) awaitSaved() {
	l.saving.Lock()
	defer l.saving.Unlock()
}

// isWanted tells whether the link goes on.
func (l *Link) isWanted() bool {
	select {
	case <-l.stop:
		return false
	case <-l.ended:
		return false
	default:
		return true
	}
}

// isHeld tells whether whoever opened the link still holds the instance.
func (l *Link) isHeld() bool { return l.target.Held == nil || l.target.Held() }

// own makes a new device an instance's. What is left of earlier pairings with the same address, by whomever, is
// deleted: their keys are worthless, and the library would not replace them.
func (d *Driver) own(ctx context.Context, owner domain.LinkTarget, jid types.JID) error {
	err := d.change(ctx,
		statement{`DELETE FROM pombal_devices WHERE jid = $1`, []any{jid.String()}},
		statement{`DELETE FROM whatsmeow_device WHERE jid = $1`, []any{jid.String()}},
		statement{`INSERT INTO pombal_devices (account_id, instance_id, jid) VALUES ($1, $2, $3)
			ON CONFLICT (account_id, instance_id) DO UPDATE SET jid = excluded.jid`,
			[]any{owner.Account.String(), owner.Instance.String(), jid.String()}})
	if err != nil {
		return fmt.Errorf("note whose device it is: %w", err)
	}
	return nil
}

// deleteUnowned deletes a device, unless it is some instance's.
const deleteUnowned = `DELETE FROM whatsmeow_device WHERE jid = $1
	AND NOT EXISTS (SELECT 1 FROM pombal_devices p WHERE p.jid = whatsmeow_device.jid)`

// forget deletes a device of an instance from the store. It does not mind when it is gone already, and leaves
// it when it is another instance's by now.
func (d *Driver) forget(ctx context.Context, owner domain.LinkTarget, jid types.JID) error {
	if jid.IsEmpty() {
		return nil
	}
	err := d.change(ctx,
		statement{`DELETE FROM pombal_devices WHERE jid = $1 AND account_id = $2 AND instance_id = $3`,
			[]any{jid.String(), owner.Account.String(), owner.Instance.String()}},
		// Not through the library's Device, which its own goroutines may be using.
		statement{deleteUnowned, []any{jid.String()}})
	if err != nil {
		return fmt.Errorf("delete the device: %w", err)
	}
	return nil
}

// Forget deletes the device of an instance that has no link, also one that its opener never learned of, without a word
// to WhatsApp. It does not mind when there is none, and leaves what is another instance's by now.
func (d *Driver) Forget(ctx context.Context, target domain.LinkTarget) error {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	account, instance := target.Account.String(), target.Instance.String()
	err := d.change(ctx,
		statement{`DELETE FROM whatsmeow_device WHERE jid IN (SELECT jid FROM pombal_devices WHERE account_id = $1 AND instance_id = $2)`,
			[]any{account, instance}},
		statement{`DELETE FROM pombal_devices WHERE account_id = $1 AND instance_id = $2`, []any{account, instance}},
		statement{deleteUnowned, []any{target.JID}})
	if err != nil {
		return fmt.Errorf("delete the device: %w", err)
	}
	return nil
}

// Paired returns the instances that have a device, or had one.
func (d *Driver) Paired(ctx context.Context) (list []domain.LinkTarget, err error) {
	rows, err := d.db.QueryContext(ctx, `SELECT account_id, instance_id, jid FROM pombal_devices`)
	if err != nil {
		return nil, fmt.Errorf("list the devices: %w", err)
	}
	defer func() { _ = rows.Close() }() // Err says what has gone wrong
	for rows.Next() {
		var account, instance string
		var t domain.LinkTarget
		if err = rows.Scan(&account, &instance, &t.JID); err != nil {
			return nil, fmt.Errorf("list the devices: %w", err)
		}
		var malformed error
		t.Account, err = domain.ParseUUID(account)
		t.Instance, malformed = domain.ParseUUID(instance)
		if err = errors.Join(err, malformed); err != nil {
			return nil, fmt.Errorf("list the devices: %w", err)
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

type statement struct {
	text string
	args []any
}

// change runs statements in one transaction.
func (d *Driver) change(ctx context.Context, statements ...statement) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	for _, s := range statements {
		if _, err = tx.ExecContext(ctx, s.text, s.args...); err != nil {
			return err
		}
	}
	return tx.Commit()
}
