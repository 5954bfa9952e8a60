package store

import (
	"context"
	"errors"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// CreateInboundWebhook adds an inbound webhook to the account, filling in the account, and the id and the time of
// creation where they are zero. CodeWebhookLimitReached when the account has domain.MaxInboundWebhooks,
// CodeInstanceNotFound. When the id exists already, a crash came before anybody saw its token: the new token
// replaces it.
func (a *Account) CreateInboundWebhook(ctx context.Context, w *domain.InboundWebhook) error {
	var t texts
	t.check("name", w.Name)
	if err := t.err(); err != nil {
		return err
	}
	w.AccountID = a.id
	if w.CreatedAt.IsZero() {
		w.CreatedAt = now()
	}
	if w.ID.IsZero() {
		w.ID = domain.NewID(w.CreatedAt)
	}
	w.CreatedAt = truncated(w.CreatedAt)
	return a.s.write(ctx, a.wall(), func(sc scope) error {
		if err := lockTarget(sc, w.InstanceID); err != nil { // so that the count below stays true
			return err
		}
		var row inboundRow
		err := sc.rows(&row).Where(eq("id", uid(w.ID))).Take(&row).Error
		switch {
		case err == nil:
			return replaceToken(sc, w, row)
		case errors.Is(err, gorm.ErrRecordNotFound):
			return insertInbound(sc, w)
		}
		return err
	})
}

// insertInbound adds the row if there is room for it.
func insertInbound(sc scope, w *domain.InboundWebhook) error {
	var n int64
	if err := sc.rows(&inboundRow{}).Select(countOfRows).Find(&n).Error; err != nil {
		return err
	}
	if n >= domain.MaxInboundWebhooks {
		return domain.NewError(domain.CodeWebhookLimitReached,
			"The account has as many inbound webhooks as it may have. Delete one that is not needed.")
	}
	return sc.all(&inboundRow{}).Create(&inboundRow{
		AccountID: uid(w.AccountID), ID: uid(w.ID), InstanceID: uid(w.InstanceID), Created: millisOf(w.CreatedAt),
		Name: w.Name, LastFour: w.LastFour, TokenDigest: w.TokenDigest,
	}).Error
}

// replaceToken gives an existing inbound webhook the token of *w, and makes *w that webhook.
func replaceToken(sc scope, w *domain.InboundWebhook, row inboundRow) error {
	row.TokenDigest, row.LastFour = w.TokenDigest, w.LastFour
	*w = row.domain()
	return sc.rows(&inboundRow{}).Where(eq("id", row.ID)).
		Updates(map[string]any{"token_digest": row.TokenDigest, "last_four": row.LastFour}).Error
}

// InboundWebhooks lists the inbound webhooks, oldest first.
func (a *Account) InboundWebhooks(ctx context.Context, p domain.PageRequest) ([]domain.InboundWebhook, domain.PageInfo, error) {
	position := func(r *inboundRow) domain.Cursor {
		return domain.Cursor{CreatedAt: r.Created.time(), ID: domain.ID(r.ID)}
	}
	return pageOf(ctx, a.s, a.wall(), func(sc scope) ([]domain.InboundWebhook, domain.PageInfo, error) {
		rows, info, err := readPage(sc, inboundRow{}, p, position)
		return listOf(rows, (*inboundRow).domain), info, err
	})
}

// DeleteInboundWebhook removes an inbound webhook. CodeWebhookNotFound.
func (a *Account) DeleteInboundWebhook(ctx context.Context, id domain.ID) error {
	return a.s.write(ctx, a.wall(), func(sc scope) error {
		gone := sc.rows(&inboundRow{}).Where(eq("id", uid(id))).Delete(&inboundRow{})
		if gone.Error == nil && gone.RowsAffected == 0 {
			return domain.InboundWebhookNotFound()
		}
		return gone.Error
	})
}
