package deliveries

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pombal-api/pombal/bench/internal/child"
)

// TestSink lets events come, one of them twice, and one to a receiver that hangs.
func TestSink(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newSink().handler())
	defer server.Close()
	remote := child.NewRemote(strings.TrimPrefix(server.URL, "http://"))
	post := func(path, id string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, strings.NewReader("{}"))
		if err != nil {
			t.Error(err)
			return 0
		}
		req.Header.Set(headerID, id)
		res, err := server.Client().Do(req)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	if status := post(pathOK, "of another job"); status != http.StatusOK {
		t.Errorf("answered %d", status)
	}
	if err := remote.Post(t.Context(), "/clear", nil, nil); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error)
	go func() { waited <- remote.Get(t.Context(), "/await?n=2", new(int)) }()
	for _, id := range []string{"a", "a", "b"} {
		if status := post(pathOK, id); status != http.StatusOK {
			t.Errorf("answered %d", status)
		}
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if status := post(pathOK, ""); status != http.StatusBadRequest {
		t.Errorf("answered %d to an event without an id", status)
	}
	var got map[string]Arrival
	if err := remote.Get(t.Context(), "/arrivals", &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got["a"].Count != 2 || got["b"].Count != 1 || got["a"].At >= got["b"].At {
		t.Errorf("%+v", got)
	}
}

// TestPath tells whose receivers hang.
func TestPath(t *testing.T) {
	t.Parallel()
	s := Script{Targets: 3, Hanging: 1}
	if s.path(1) != pathOK || s.path(2) != pathHang {
		t.Errorf("the receivers are %s and %s", s.path(1), s.path(2))
	}
}
