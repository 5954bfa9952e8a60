package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/pombal-api/pombal/internal/fakewa"
)

// phoneCmd plays the people of dev's fake WhatsApp.
type phoneCmd struct {
	List     listPhonesCmd  `cmd:"" help:"List the phones and their linked devices."`
	Add      addPhoneCmd    `cmd:"" help:"Add a phone and print its number."`
	Scan     scanCmd        `cmd:"" help:"Let a phone scan the QR code of an instance, and wait until it is connected."`
	Type     typeCmd        `cmd:"" help:"Let a phone type the pairing code of an instance, and wait until it is connected."`
	Send     sendCmd        `cmd:"" help:"Send a text as a contact, or as a phone, and print the message's id."`
	Contacts contactsCmd    `cmd:"" help:"List or add the people to exchange messages with."`
	Unlink   unlinkPhoneCmd `cmd:"" help:"Remove linked devices on a phone: their instances are logged out."`
}

// sandboxFlags are what every command needs that calls the control API only.
type sandboxFlags struct {
	controlFlag `embed:""`
	DataDir     string `default:"./.pombal" help:"The data directory of a running dev."`
}

func (f *sandboxFlags) with(do func(*sandboxClient) error) error {
	return f.controlFlag.with(f.DataDir, do)
}

type listPhonesCmd struct {
	sandboxFlags `embed:""`
	JSON         bool `help:"Print a line of JSON for each."`
}

// Run lists the phones.
func (c *listPhonesCmd) Run(ctx context.Context, s streams) error {
	return c.with(func(box *sandboxClient) error {
		state, err := box.state(ctx)
		if err != nil {
			return err
		}
		return printList(s, c.JSON, "PHONE\tNAME\tLINKED DEVICES", state.Accounts, func(p *sandboxPhone, row func(...any)) {
			row(p.Phone, p.PushName, devices(p.Devices))
		})
	})
}

// printList prints a table, or lines of JSON.
func printList[T any](s streams, asJSON bool, header string, list []T, show func(v *T, row func(...any))) error {
	if asJSON {
		for i := range list {
			if err := printJSON(s, &list[i]); err != nil {
				return err
			}
		}
		return nil
	}
	return table(s.out, header, func(row func(...any)) error {
		for i := range list {
			show(&list[i], row)
		}
		return nil
	})
}

func devices(list []fakewa.DeviceInfo) string {
	if len(list) == 0 {
		return "-"
	}
	texts := make([]string, 0, len(list))
	for _, d := range list {
		state := "away"
		if d.Connected {
			state = "connected"
		}
		texts = append(texts, fmt.Sprintf("%d %s", d.ID, state))
	}
	return strings.Join(texts, ", ")
}

type addPhoneCmd struct {
	sandboxFlags `embed:""`
	Phone        string `arg:"" optional:"" help:"Its number: digits, with the code of the country; a made-up one by default."`
	Name         string `help:"The name of its profile." placeholder:"TEXT"`
	About        string `help:"The line below the name." placeholder:"TEXT"`
}

// Run adds the phone.
func (c *addPhoneCmd) Run(ctx context.Context, s streams) error {
	return c.with(func(box *sandboxClient) error {
		p, err := box.add(ctx, fakewa.AccountOptions{Phone: c.Phone, PushName: c.Name, About: c.About})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(s.out, p.Phone)
		return err
	})
}

type contactsCmd struct {
	List listContactsCmd `cmd:"" default:"withargs" help:"List them."`
	Add  addContactCmd   `cmd:"" help:"Add somebody."`
}

type listContactsCmd struct {
	sandboxFlags `embed:""`
	JSON         bool `help:"Print a line of JSON for each."`
}

// Run lists the contacts.
func (c *listContactsCmd) Run(ctx context.Context, s streams) error {
	return c.with(func(box *sandboxClient) error {
		state, err := box.state(ctx)
		if err != nil {
			return err
		}
		return printList(s, c.JSON, "PHONE\tNAME", state.Contacts, func(p *sandboxContact, row func(...any)) { row(p.Phone, p.Name) })
	})
}

type addContactCmd struct {
	sandboxFlags `embed:""`
	Phone        string `arg:"" help:"The number: digits, with the code of the country."`
	Name         string `required:"" help:"What they call themselves." placeholder:"TEXT"`
}

// Run adds the contact.
func (c *addContactCmd) Run(ctx context.Context, s streams) error {
	return c.with(func(box *sandboxClient) error {
		if err := box.post(ctx, "/contacts", fakewa.ContactOptions{Phone: c.Phone, Name: c.Name}); err != nil {
			return err
		}
		_, err := fmt.Fprintln(s.out, strings.TrimPrefix(c.Phone, "+"))
		return err
	})
}

type sendCmd struct {
	sandboxFlags `embed:""`
	From         string `required:"" help:"Who writes: the number or the name of a contact, or of a phone." placeholder:"WHO"`
	To           string `required:"" help:"Who is to get it: the number or the name of a phone, or of a contact." placeholder:"WHO"`
	Text         string `arg:"" help:"What is written."`
}

// Run sends the message.
func (c *sendCmd) Run(ctx context.Context, s streams) error {
	return c.with(func(box *sandboxClient) error {
		state, err := box.state(ctx)
		if err != nil {
			return err
		}
		var from, to string
		if contact, ok := state.contact(c.From); ok {
			from = "/contacts/" + url.PathEscape(contact.Phone)
		} else if p, ok := state.phone(c.From); ok {
			from = p.path("")
		}
		if p, ok := state.phone(c.To); ok {
			to = p.Phone
		} else if contact, ok := state.contact(c.To); ok {
			to = contact.Phone
		}
		if err = errors.Join(known(c.From, from), known(c.To, to)); err != nil {
			return err
		}
		var sent struct{ ID string }
		if err = box.call(ctx, http.MethodPost, from+"/messages", map[string]string{"to": to, "text": c.Text}, &sent); err != nil {
			return err
		}
		_, err = fmt.Fprintln(s.out, sent.ID)
		return err
	})
}

func known(who, found string) error {
	if found != "" {
		return nil
	}
	return fmt.Errorf("nobody, or more than one, is %q in the sandbox; see pombal phone contacts and pombal phone list", who)
}

type unlinkPhoneCmd struct {
	sandboxFlags `embed:""`
	Phone        string `arg:"" help:"The phone: its number or its name."`
	Device       int    `help:"The device; all of them by default." placeholder:"N"`
}

// Run removes the devices.
func (c *unlinkPhoneCmd) Run(ctx context.Context, s streams) error {
	return c.with(func(box *sandboxClient) error {
		state, err := box.state(ctx)
		if err != nil {
			return err
		}
		p, ok := state.phone(c.Phone)
		if !ok {
			return known(c.Phone, "")
		}
		var ids []int
		for _, d := range p.Devices {
			if c.Device == 0 || c.Device == d.ID {
				ids = append(ids, d.ID)
			}
		}
		if len(ids) == 0 {
			return fmt.Errorf("the phone %s has no such linked device; see pombal phone list", p.Phone)
		}
		for _, id := range ids {
			if err = box.post(ctx, p.path("/unlink"), map[string]int{"device": id}); err != nil {
				return err
			}
			if _, err = fmt.Fprintf(s.out, "Unlinked device %d of %s\n", id, p.Phone); err != nil {
				return err
			}
		}
		return nil
	})
}
