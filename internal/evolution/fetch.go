package evolution

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
)

// fetchInstances answers GET /instance/fetchInstances: all instances of the account that the filters
// match, as a JSON array.
func (r *routes) fetchInstances(c echo.Context, who caller) error {
	q, err := parseQuery(c.Request().URL.RawQuery, who.Principal)
	if err != nil {
		return err
	}
	if c.Request().Method == http.MethodHead {
		q.limit = 1 // enough to know the status
	}
	out := r.newList(c)
	defer out.release()
	if err := r.stream(c, who, q, out); err != nil {
		return out.fail(err)
	}
	if err := out.finish(); err != nil {
		return out.fail(err)
	}
	return nil
}

// stream writes what q matches to out.
func (r *routes) stream(c echo.Context, who caller, q query, out *list) error {
	if q.none {
		return nil
	}
	account, err := r.Accounts(who.Account.ID)
	if err != nil {
		return fmt.Errorf("open the account: %w", err)
	}
	wait := newPatience(c.Request().Context(), r.Timeout)
	defer wait.end()
	after, found, err := skip(wait.ctx, account, q)
	if err != nil || !found {
		return wait.verdict(err)
	}
	show := r.presenter(c, who)
	err = account.StreamInstances(wait.ctx, q.filter, after, func(in *domain.Instance) error {
		wait.pause() // a slow reader is not a slow database
		defer wait.resume()
		return out.add(show(in), q.limit)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return wait.verdict(err)
}

// skip finds the position behind the first q.offset instances. It reads the last of them only, since
// the store pages cheaper than it streams. found is false when there are no more than those.
func skip(ctx context.Context, account AccountInstances, q query) (after *domain.Cursor, found bool, err error) {
	if q.offset == 0 {
		return nil, true, nil
	}
	page := domain.PageRequest{Limit: 1, Offset: q.offset - 1}
	info, err := account.EachInstance(ctx, q.filter, page, func(*domain.InstanceView) error {
		found = true
		return nil
	})
	return &info.Last, found, err
}

// presenter returns how to show instances to the caller.
func (r *routes) presenter(c echo.Context, who caller) func(*domain.Instance) instance {
	serverURL := r.ServerURL(c.Request())
	reported := false
	return func(in *domain.Instance) instance {
		token, err := r.token(in, who.tokens)
		if err != nil && !reported { // the operator hears of it once, the caller gets the rest of the list
			reported = true
			r.failed(c, err)
		}
		return present(in, serverURL, token)
	}
}

// token returns what to show of an instance's token, "" when it has none. A token that cannot be read
// shows as hidden.
func (r *routes) token(in *domain.Instance, clear bool) (string, error) {
	if len(in.TokenSealed) == 0 {
		return "", nil
	}
	token, err := r.Token(in)
	switch {
	case err != nil:
		return hidden, fmt.Errorf("open the token of instance %s: %w", in.ID, err)
	case clear:
		return token, nil
	}
	return mask(token), nil
}
