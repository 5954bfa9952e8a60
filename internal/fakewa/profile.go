package fakewa

import (
	"context"

	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/types"
)

// ProfileChange says what is new about an account; nil leaves a thing as it is.
type ProfileChange struct {
	PushName   *string `json:"pushName,omitempty"`
	About      *string `json:"about,omitempty"`
	PictureURL *string `json:"pictureUrl,omitempty"` // "" removes the picture
}

// SetProfile changes the account on the phone. Its linked devices are told.
func (a *Account) SetProfile(ctx context.Context, change ProfileChange) error {
	if change.PushName != nil {
		if err := a.rename(ctx, *change.PushName); err != nil {
			return err
		}
	}
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	if change.About != nil {
		a.profile.about = *change.About
		a.tell("status", data("set", []byte(*change.About)))
	}
	if change.PictureURL != nil {
		a.profile.picture = *change.PictureURL
		news := el("set", attrs{"jid": a.profile.pn(), "id": pictureID(*change.PictureURL)})
		if *change.PictureURL == "" {
			news = el("delete", attrs{"jid": a.profile.pn()})
		}
		a.tell("picture", news)
	}
	a.srv.unsaved()
	a.srv.notify()
	return nil
}

// rename changes the name in the settings that devices share.
func (a *Account) rename(ctx context.Context, name string) error {
	if _, err := a.patchesAfter(ctx, 0); err != nil { // the first name comes first
		return err
	}
	a.peer.mu.Lock()
	defer a.peer.mu.Unlock()
	if err := a.addName(ctx, name); err != nil {
		return err
	}
	version := len(a.app.patches)
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	a.profile.name = name
	a.tell("server_sync", el("collection", attrs{"name": string(appstate.WAPatchCriticalBlock), "version": version}))
	return nil
}

// tell sends all linked devices a notification about the account. The caller holds Server.mu.
func (a *Account) tell(kind string, news node) {
	from := a.profile.pn()
	if kind == "server_sync" {
		from = types.ServerJID
	}
	for _, d := range a.linked() {
		a.srv.enqueue(d, el("notification", attrs{"from": from, "type": kind, "id": newID(), "t": a.srv.stamp()}, news))
	}
}
