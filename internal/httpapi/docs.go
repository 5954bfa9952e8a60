package httpapi

import (
	"compress/gzip"
	"crypto/sha256"
	_ "embed" // the files of the documentation page
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The documentation page shows /openapi.json with Scalar, which docs/NOTICE names by version. All of
// it is in the binary, so that the page works without any other site.
var (
	//go:embed docs/index.html
	docsPage string
	//go:embed docs/init.js
	docsInit string
	//go:embed docs/icon.svg
	docsIcon string
	//go:embed docs/scalar.js.gz
	docsScalar string
)

// docsPolicy keeps the page to this server: a key that is typed into the try-it client can go nowhere
// else. Scalar writes style elements and attributes, hence 'unsafe-inline' for styles alone; data:
// and blob: are for its icons and for previews of answers.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docsFile is one file of the documentation page, as it is served.
type docsFile struct {
	contentType string
	body        string
	packed      bool // body is gzip-compressed
	page        bool // has the one address that never changes
}

// docsFiles are the files by path.
type docsFiles map[string]docsFile

// docsHandler serves the documentation page at /docs and its files below /docs/assets/, under names
// that hold a digest of their content, so that browsers may keep them for ever.
func docsHandler() docsFiles {
	const prefix = "/docs/assets/"
	files, page := docsFiles{}, docsPage
	for name, f := range map[string]docsFile{
		"init.js":   {contentType: "text/javascript; charset=utf-8", body: docsInit},
		"icon.svg":  {contentType: "image/svg+xml", body: docsIcon},
		"scalar.js": {contentType: "text/javascript; charset=utf-8", body: docsScalar, packed: true},
	} {
		path := prefix + docsDigest(f.body) + "/" + name
		files[path] = f
		page = strings.ReplaceAll(page, prefix+name, path)
	}
	f := docsFile{contentType: "text/html; charset=utf-8", body: page, page: true}
	files["/docs"], files["/docs/"] = f, f
	return files
}

// docsDigest names a content. 64 bits are plenty to tell one release's file from another's.
func docsDigest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:8])
}

// has reports whether there is a file at path.
func (files docsFiles) has(path string) bool {
	_, ok := files[path]
	return ok
}

// ServeHTTP answers GET and HEAD of the page and its files.
func (files docsFiles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	if f.page {
		h.Set("Cache-Control", "no-cache") // ask each time whether the ETag is still good
		h.Set("ETag", `"`+docsDigest(f.body)+`"`)
		h.Set("Content-Security-Policy", docsPolicy)
		h.Set("Referrer-Policy", "no-referrer")
	} else {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	f.send(w, r)
}

// send writes the body in an encoding that the client takes.
func (f docsFile) send(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if f.packed {
		h.Add("Vary", "Accept-Encoding")
		if !acceptsGzip(r.Header.Values("Accept-Encoding")) {
			f.sendUnpacked(w)
			return
		}
		h.Set("Content-Encoding", "gzip")
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(f.body))
}

// sendUnpacked decompresses while it writes. Every browser takes gzip, so this is for the curious.
func (f docsFile) sendUnpacked(w http.ResponseWriter) {
	unpacked, err := gzip.NewReader(strings.NewReader(f.body))
	if err != nil {
		http.Error(w, "The documentation page is damaged in this build.", http.StatusInternalServerError)
		return
	}
	size := binary.LittleEndian.Uint32([]byte(f.body[len(f.body)-4:])) // gzip ends with it
	w.Header().Set("Content-Length", strconv.FormatUint(uint64(size), 10))
	_, _ = io.Copy(w, unpacked) //nolint:gosec // our own file, not a stranger's; fails when the client has gone, and then nobody is left to tell
}

// acceptsGzip reports whether an Accept-Encoding header names gzip and does not refuse it with q=0.
func acceptsGzip(header []string) bool {
	for coding := range strings.SplitSeq(strings.Join(header, ","), ",") {
		name, params, _ := strings.Cut(coding, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		weight, given := strings.CutPrefix(strings.ToLower(strings.TrimSpace(params)), "q=")
		q, err := strconv.ParseFloat(weight, 64)
		return !given || err == nil && q > 0
	}
	return false
}
