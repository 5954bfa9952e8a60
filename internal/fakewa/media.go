package fakewa

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// maxMedia is how large an upload may be, in bytes.
const maxMedia = 128 << 20

// mediaHost keeps what clients upload: encrypted bytes, by token.
type mediaHost struct {
	mu    sync.Mutex
	blobs map[string][]byte
}

func newMediaHost() *mediaHost { return &mediaHost{blobs: make(map[string][]byte)} }

// mediaPath is where media are, as /mms/<type>/<token>.
const mediaPath = "/mms/"

// ServeHTTP takes uploads and answers downloads.
func (h *mediaHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, mediaPath), "/")
	if !strings.HasPrefix(r.URL.Path, mediaPath) || len(parts) != 2 {
		http.NotFound(w, r)
		return
	}
	switch token := parts[1]; r.Method {
	case http.MethodPost:
		h.upload(w, r, token)
	case http.MethodGet:
		h.download(w, r, token)
	case http.MethodDelete:
		h.mu.Lock()
		delete(h.blobs, token)
		h.mu.Unlock()
	default:
		http.Error(w, "", http.StatusMethodNotAllowed)
	}
}

func (h *mediaHost) upload(w http.ResponseWriter, r *http.Request, token string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMedia))
	if err != nil {
		http.Error(w, "the upload is broken or too large", http.StatusRequestEntityTooLarge)
		return
	}
	h.put(token, body)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{ // a client that has gone needs no answer
		"url":         "https://" + mediaHostname + directPath(token),
		"direct_path": directPath(token),
	})
}

func (h *mediaHost) download(w http.ResponseWriter, r *http.Request, token string) {
	h.mu.Lock()
	blob, ok := h.blobs[token]
	h.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(blob) //nolint:gosec // encrypted bytes, as they were uploaded
}

func (h *mediaHost) put(token string, blob []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.blobs[token] = blob
}

// mediaHostname is what clients are told. They reach it by the same redirected dial as everything else.
const mediaHostname = "media.fakewa.invalid"

// directPath is where a client finds a medium. It has a query already: clients append to it.
func directPath(token string) string { return mediaPath + "any/" + token + "?fake=1" }

// mediaConn tells a client where to upload.
func mediaConn(*iq) ([]node, error) {
	return []node{el("media_conn", attrs{"auth": "fake", "ttl": "3600", "auth_ttl": "3600", "max_buckets": "12"},
		el("host", attrs{"hostname": mediaHostname}))}, nil
}
