package fakewa

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/util/cbcutil"
	"go.mau.fi/whatsmeow/util/hkdfutil"
	"google.golang.org/protobuf/proto"
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
	_, _ = w.Write(blob) // a client that has gone needs nothing
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

// Image is a picture to send.
type Image struct {
	Data    []byte
	MIME    string // "" for image/jpeg
	Caption string
}

// SendImage sends a picture to the account of the number, like SendText. The media host keeps it.
func (c *Contact) SendImage(ctx context.Context, to string, img Image) (id string, err error) {
	up, err := c.srv.media.seal(img.Data, whatsmeow.MediaImage)
	if err != nil {
		return "", err
	}
	if img.MIME == "" {
		img.MIME = "image/jpeg"
	}
	return c.Send(ctx, to, &waE2E.Message{ImageMessage: &waE2E.ImageMessage{
		Caption: proto.String(img.Caption), Mimetype: proto.String(img.MIME),
		URL: proto.String(up.url), DirectPath: proto.String(up.path), MediaKey: up.key,
		FileEncSHA256: up.sealedHash, FileSHA256: up.plainHash, FileLength: proto.Uint64(uint64(len(img.Data))),
	}})
}

// Media returns the bytes of a medium in a message that was received; nil when there is none.
func (s *Server) Media(m *waE2E.Message) ([]byte, error) {
	img := m.GetImageMessage()
	switch {
	case img != nil:
		return s.media.open(img.GetDirectPath(), img.GetMediaKey(), whatsmeow.MediaImage)
	case m.GetDocumentMessage() != nil:
		return s.media.open(m.GetDocumentMessage().GetDirectPath(), m.GetDocumentMessage().GetMediaKey(), whatsmeow.MediaDocument)
	case m.GetAudioMessage() != nil:
		return s.media.open(m.GetAudioMessage().GetDirectPath(), m.GetAudioMessage().GetMediaKey(), whatsmeow.MediaAudio)
	case m.GetVideoMessage() != nil:
		return s.media.open(m.GetVideoMessage().GetDirectPath(), m.GetVideoMessage().GetMediaKey(), whatsmeow.MediaVideo)
	}
	return nil, nil
}

// uploaded is where a medium is, and how to read it.
type uploaded struct {
	url, path             string
	key                   []byte
	plainHash, sealedHash []byte
}

// macSize is how much of the authentication code follows an encrypted medium, in bytes.
const macSize = 10

// mediaKeys returns what encrypts and authenticates a medium.
func mediaKeys(key []byte, kind whatsmeow.MediaType) (iv, cipherKey, macKey []byte) {
	expanded := hkdfutil.SHA256(key, nil, []byte(kind), 112)
	return expanded[:16], expanded[16:48], expanded[48:80]
}

// seal encrypts a medium as clients do, and keeps it.
func (h *mediaHost) seal(plain []byte, kind whatsmeow.MediaType) (uploaded, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	iv, cipherKey, macKey := mediaKeys(key, kind)
	sealed, err := cbcutil.Encrypt(cipherKey, iv, plain)
	if err != nil {
		return uploaded{}, fmt.Errorf("fakewa: encrypt a medium: %w", err)
	}
	sealed = append(sealed, mediaMAC(macKey, iv, sealed)...)
	plainHash, sealedHash := sha256.Sum256(plain), sha256.Sum256(sealed)
	token := base64.URLEncoding.EncodeToString(sealedHash[:])
	h.put(token, sealed)
	return uploaded{
		url: "https://" + mediaHostname + directPath(token), path: directPath(token), key: key,
		plainHash: plainHash[:], sealedHash: sealedHash[:],
	}, nil
}

func mediaMAC(key, iv, sealed []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(iv)
	mac.Write(sealed)
	return mac.Sum(nil)[:macSize]
}

// open decrypts what was uploaded to a path.
func (h *mediaHost) open(path string, key []byte, kind whatsmeow.MediaType) ([]byte, error) {
	path, _, _ = strings.Cut(path, "?")
	h.mu.Lock()
	sealed, ok := h.blobs[path[strings.LastIndexByte(path, '/')+1:]]
	h.mu.Unlock()
	if !ok || len(sealed) < macSize {
		return nil, fmt.Errorf("fakewa: nothing was uploaded to %q", path)
	}
	iv, cipherKey, macKey := mediaKeys(key, kind)
	body, mac := sealed[:len(sealed)-macSize], sealed[len(sealed)-macSize:]
	if !hmac.Equal(mac, mediaMAC(macKey, iv, body)) {
		return nil, fmt.Errorf("fakewa: the medium at %q has been changed", path)
	}
	return cbcutil.Decrypt(cipherKey, iv, append([]byte(nil), body...))
}
