package store

import (
	"context"
	"errors"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// InstanceProxy returns the sealed URL of an instance's proxy, nil for none. CodeInstanceNotFound.
func (a *Account) InstanceProxy(ctx context.Context, instance domain.ID) ([]byte, error) {
	return load(ctx, a.s, a.wall(), func(sc scope) ([]byte, error) {
		if _, err := boundInstance(sc, instance); err != nil {
			return nil, err
		}
		var link linkRow
		err := sc.rows(&link).Where(eq("instance_id", uid(instance))).Take(&link).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return nil, nil
		}
		return link.ProxySealed, err
	})
}

// SetInstanceProxy replaces the proxy of an instance by a URL that is sealed to it; nil removes it. A
// connection is opened again through it. CodeInstanceNotFound.
func (a *Account) SetInstanceProxy(ctx context.Context, instance domain.ID, sealed []byte) error {
	return a.s.write(ctx, a.wall(), func(sc scope) error {
		if _, err := lockedInstance(sc, instance, 0); err != nil {
			return err
		}
		link, err := lockedLink(sc, instance)
		if err != nil {
			return err
		}
		set := sc.rows(&linkRow{}).Where(eq("instance_id", link.InstanceID)).Updates(map[string]any{"proxy_sealed": blob(sealed)})
		if err = set.Error; err != nil || !link.Wanted {
			return err
		}
		link.Restarts++
		return saveWish(sc, &link)
	})
}
