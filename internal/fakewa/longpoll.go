package fakewa

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// maxWait bounds how long a request of the control API waits.
const maxWait = time.Minute

// waitForMore answers with a list. ?after=N leaves out the first N; &wait=10s waits so long until there are
// more than N, and answers with an empty list when there are not.
func waitForMore[T any](r *http.Request, s *Server, list func(after int) []T) (any, error) {
	query := r.URL.Query()
	after, wait := 0, time.Duration(0)
	var err error
	if v := query.Get("after"); v != "" {
		if after, err = strconv.Atoi(v); err != nil || after < 0 {
			return nil, fmt.Errorf("%w: after is not a number", errBody)
		}
	}
	if v := query.Get("wait"); v != "" {
		if wait, err = time.ParseDuration(v); err != nil {
			return nil, fmt.Errorf("%w: wait is not a duration", errBody)
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), min(wait, maxWait))
	defer cancel()
	_ = s.WaitFor(ctx, func() bool { return len(list(after)) > 0 }) // or else the list is empty
	return list(after), nil
}
