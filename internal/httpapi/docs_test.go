package httpapi

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pombal "github.com/pombal-api/pombal"
)

// askDocs sends a request with the given header names and values to the documentation page.
func askDocs(t *testing.T, method, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	docsHandler().ServeHTTP(w, r)
	return w.Result()
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// docsAsset returns the path of a file as the page names it.
func docsAsset(t *testing.T, name string) string {
	t.Helper()
	page := readAll(t, askDocs(t, http.MethodGet, "/docs").Body)
	path := regexp.MustCompile(`/docs/assets/[0-9a-f]{16}/` + regexp.QuoteMeta(name)).FindString(page)
	if path == "" {
		t.Fatalf("the page does not name %s:\n%s", name, page)
	}
	return path
}

func TestDocs_Page(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/docs", "/docs/"} {
		res := askDocs(t, http.MethodGet, path)
		body := readAll(t, res.Body)
		if res.StatusCode != http.StatusOK || !strings.Contains(body, `<div id="docs">`) {
			t.Errorf("%s: %d\n%s", path, res.StatusCode, body)
		}
		if got := res.Header.Get("Content-Type"); got != "text/html; charset=utf-8" {
			t.Errorf("Content-Type %q", got)
		}
	}
}

// The page must work without any other site, so nothing in it may name one.
func TestDocs_PageLoadsOnlyItsOwnFiles(t *testing.T) {
	t.Parallel()
	page := readAll(t, askDocs(t, http.MethodGet, "/docs").Body)
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[1], "/") || strings.HasPrefix(m[1], "//") {
			t.Errorf("the page refers to %s", m[1])
		}
		if res := askDocs(t, http.MethodGet, m[1]); strings.HasPrefix(m[1], "/docs/") && res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", m[1], res.StatusCode)
		}
	}
	for what, text := range map[string]string{"page": page, "init.js": docsInit} {
		if strings.Contains(text, "http://") || strings.Contains(text, "https://") {
			t.Errorf("the %s names another site:\n%s", what, text)
		}
	}
	if regexp.MustCompile(`<script[^>]*>[^<]|\son\w+=|style=`).MatchString(page) {
		t.Errorf("the page has an inline script or style:\n%s", page)
	}
}

func TestDocs_PolicyKeepsThePageToThisServer(t *testing.T) {
	t.Parallel()
	header := askDocs(t, http.MethodGet, "/docs").Header
	want := map[string]string{
		"default-src": "'none'", "script-src": "'self'", "connect-src": "'self'", "style-src": "'self' 'unsafe-inline'",
		"img-src": "'self' data: blob:", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
	}
	got := map[string]string{}
	for directive := range strings.SplitSeq(header.Get("Content-Security-Policy"), ";") {
		name, sources, _ := strings.Cut(strings.TrimSpace(directive), " ")
		got[name] = sources
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	if got := header.Get("Referrer-Policy"); got != "no-referrer" {
		t.Errorf("Referrer-Policy %q", got)
	}
}

func TestDocs_PageIsRevalidated(t *testing.T) {
	t.Parallel()
	first := askDocs(t, http.MethodGet, "/docs")
	tag := first.Header.Get("ETag")
	if got := first.Header.Get("Cache-Control"); got != "no-cache" || tag == "" {
		t.Fatalf("Cache-Control %q, ETag %q", got, tag)
	}
	again := askDocs(t, http.MethodGet, "/docs", "If-None-Match", tag)
	if body := readAll(t, again.Body); again.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("%d with %d bytes, want an empty 304", again.StatusCode, len(body))
	}
}

func TestDocs_AssetsAreKeptForEver(t *testing.T) {
	t.Parallel()
	for name, contentType := range map[string]string{
		"init.js": "text/javascript; charset=utf-8", "scalar.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		header := askDocs(t, http.MethodGet, docsAsset(t, name)).Header
		if got := header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
			t.Errorf("%s: Cache-Control %q", name, got)
		}
		if got := header.Get("Content-Type"); got != contentType {
			t.Errorf("%s: Content-Type %q", name, got)
		}
	}
}

func TestDocs_ScalarIsPackedForWhoTakesIt(t *testing.T) {
	t.Parallel()
	path := docsAsset(t, "scalar.js")
	for _, accepted := range []string{"gzip", "GZip", "gzip, deflate, br", "br;q=1.0, gzip;q=0.5", "identity,gzip ; q=1"} {
		res := askDocs(t, http.MethodGet, path, "Accept-Encoding", accepted)
		if res.Header.Get("Content-Encoding") != "gzip" || readAll(t, res.Body) != docsScalar {
			t.Errorf("Accept-Encoding %q: not the packed file", accepted)
		}
	}
	plain := unpackedScalar(t)
	for _, refused := range []string{"", "identity", "br", "gzip;q=0", "gzip; q=0.000", "gzip;q=x", "xgzip"} {
		res := askDocs(t, http.MethodGet, path, "Accept-Encoding", refused)
		if res.Header.Get("Content-Encoding") != "" || readAll(t, res.Body) != plain {
			t.Errorf("Accept-Encoding %q: not the plain file", refused)
		}
		if res.ContentLength != int64(len(plain)) {
			t.Errorf("Content-Length %d, want %d", res.ContentLength, len(plain))
		}
		if got := res.Header.Get("Vary"); got != "Accept-Encoding" {
			t.Errorf("Vary %q", got)
		}
	}
}

func unpackedScalar(t *testing.T) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(docsScalar))
	if err != nil {
		t.Fatal(err)
	}
	return readAll(t, r)
}

// A vendored file that differs from what its notice says is either tampered with or undocumented.
func TestDocs_ScalarIsTheOneOfItsNotice(t *testing.T) {
	t.Parallel()
	notice, err := os.ReadFile("docs/NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(unpackedScalar(t)))
	if !strings.Contains(string(notice), "sha256 of standalone.js: "+hex.EncodeToString(sum[:])+"\n") {
		t.Errorf("docs/NOTICE does not have the digest of the bundle, %x", sum)
	}
}

func TestDocs_UnknownFilesAreNotFound(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"/docs/index.html", "/docs/assets/", "/docs/assets/scalar.js", "/docs/assets/0000000000000000/scalar.js", "/docs/../docs",
	} {
		if res := askDocs(t, http.MethodGet, path); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, res.StatusCode)
		}
	}
}

func TestOrderedJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, yaml, want string }{
		{"order", "b: 1\na: {z: x, c: []}\n", `{"b":1,"a":{"z":"x","c":[]}}`},
		{"scalars", "[1, -2.5, true, null, ~, '1', 'true', yes, 9007199254740991]", `[1,-2.5,true,null,null,"1","true","yes",9007199254740991]`},
		{"names are text", "200: a\ntrue: b\n", `{"200":"a","true":"b"}`},
		{"dates are text", "kid: 2026-02-01", `{"kid":"2026-02-01"}`},
		{"aliases", "a: &x {n: 1}\nb: *x\n", `{"a":{"n":1},"b":{"n":1}}`},
		{"blocks", "a: |\n  two\n  \"lines\"\n", `{"a":"two\n\"lines\"\n"}`},
		{"empty object", "{}", `{}`},
	} {
		got, err := orderedJSON([]byte(c.yaml))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.name, got, err, c.want)
		}
	}
	for _, bad := range []string{"", "a: [", "a: .nan"} {
		if got, err := orderedJSON([]byte(bad)); err == nil {
			t.Errorf("%q became %s", bad, got)
		}
	}
}

// What init.js takes for granted when it prepares the document for the page.
func TestOrderedJSON_ContractHasWhatThePageReads(t *testing.T) {
	t.Parallel()
	got, err := orderedJSON(pombal.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Info       struct{ Description string }
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Parameters map[string]json.RawMessage }
	}
	if err := json.Unmarshal(got, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Info.Description == "" || len(doc.Paths) == 0 || len(doc.Components.Parameters) == 0 {
		t.Error("the contract lacks a description, paths or components.parameters")
	}
}
