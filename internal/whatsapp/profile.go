package whatsapp

import (
	"context"
	"errors"
	"log/slog"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/pombal-api/pombal/internal/domain"
)

// profile is what is known of the phone's owner.
type profile struct {
	name    string
	picture string
	about   string
	fetched bool // picture and about are known
}

// ownName returns the name that the owner has chosen, or else that of the business.
func ownName(d *store.Device) string {
	if d.PushName != "" {
		return d.PushName
	}
	return d.BusinessName
}

// fetchProfile asks for the owner's picture and text, behind the link's back. What cannot be had is left as it
// is until the next connection.
func (l *Link) fetchProfile(c *connection) {
	me := l.jid.ToNonAD()
	l.work.Go(func() {
		// The end of the connection ends the requests, see ended. A ctx that ends before would let the library close
		// what it hands their answers to.
		ctx, cancel := context.WithTimeout(l.ctx, l.driver.times.profile)
		defer cancel()
		picture, about, err := c.askProfile(ctx, me)
		if err != nil {
			l.log.Debug("whatsapp: no profile", slog.Any("error", err))
			return
		}
		c.tell(func() {
			l.profile.picture, l.profile.about, l.profile.fetched = picture, about, true
			l.emitProfile()
		})
	})
}

func (c *connection) askProfile(ctx context.Context, me types.JID) (picture, about string, err error) {
	info, err := c.client.GetProfilePictureInfo(ctx, me, nil)
	switch {
	case err == nil && info != nil:
		picture = info.URL
	case errors.Is(err, whatsmeow.ErrProfilePictureNotSet), errors.Is(err, whatsmeow.ErrProfilePictureUnauthorized):
	case err != nil:
		return "", "", err
	}
	users, err := c.client.GetUserInfo(ctx, []types.JID{me})
	if err != nil {
		return "", "", err
	}
	return picture, users[me].Status, nil
}

// emitProfile reports the profile, once it is known as a whole.
func (l *Link) emitProfile() {
	p := l.profile
	if p.fetched {
		l.emit(domain.LinkEvent{Kind: domain.LinkProfile, ProfileName: p.name, ProfilePicURL: p.picture, ProfileStatus: p.about})
	}
}

func (c *connection) onName(name string) {
	if p := &c.link.profile; p.name != name {
		p.name = name
		c.link.emitProfile()
	}
}

func (c *connection) onPicture(of types.JID) {
	if c.isOwn(of) && c.link.phase == phaseOnline {
		c.link.fetchProfile(c)
	}
}

func (c *connection) onAbout(of types.JID, text string) {
	if p := &c.link.profile; c.isOwn(of) && p.about != text {
		p.about = text
		c.link.emitProfile()
	}
}

// isOwn tells whether something is about the link's own number.
func (c *connection) isOwn(jid types.JID) bool {
	return jid.Server == types.DefaultUserServer && jid.User == c.link.jid.User
}
