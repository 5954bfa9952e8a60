package httpapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

// The two pages in testdata are the documentation that customers have. What they show, the sample data of
// dev answers.

// examples returns the JSON that stands in the page by itself, in order. Code that only holds some JSON
// does not begin a line with it.
func examples(t *testing.T, page string) (values []any) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	rest := string(text)
	for rest != "" {
		line, after, _ := strings.Cut(rest, "\n")
		switch strings.TrimSpace(line) {
		case "{", "[", "[]":
			decoder := json.NewDecoder(strings.NewReader(rest))
			var value any
			if err := decoder.Decode(&value); err != nil {
				t.Fatalf("%s: %v in what begins with %.60q", page, err, rest)
			}
			values, rest = append(values, value), rest[decoder.InputOffset():]
		default:
			rest = after
		}
	}
	return values
}

// differences lists where got is not as documented. Fields that the page does not show may be there.
// Paths that match aside are not compared, but must be there with a value of the same kind.
func differences(path string, aside *regexp.Regexp, want, got any) (list []string) {
	if aside.MatchString(path) {
		if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
			return []string{fmt.Sprintf("%s is %v", path, got)}
		}
		return nil
	}
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is no object: %v", path, got)}
		}
		for name, value := range want {
			field, ok := object[name]
			if !ok {
				list = append(list, path+"."+name+" is missing")
				continue
			}
			list = append(list, differences(path+"."+name, aside, value, field)...)
		}
	case []any:
		array, ok := got.([]any)
		if !ok || len(array) != len(want) {
			return []string{fmt.Sprintf("%s should have %d elements: %v", path, len(want), got)}
		}
		for i := range want {
			list = append(list, differences(fmt.Sprintf("%s[%d]", path, i), aside, want[i], array[i])...)
		}
	default:
		if diff := cmp.Diff(want, got); diff != "" {
			list = append(list, path+": "+diff)
		}
	}
	return list
}

func checkExample(t *testing.T, aside string, want any, a *answer) (got any) {
	t.Helper()
	if err := json.Unmarshal(a.Body, &got); err != nil {
		t.Fatalf("%v in %s", err, a.Body)
	}
	for _, difference := range differences("$", regexp.MustCompile(aside), want, got) {
		t.Errorf("unlike the page: %s", difference)
	}
	return got
}

// openDev runs dev on new sample data.
func openDev(t *testing.T) (*apitest.Server, app.Sample) {
	t.Helper()
	dev, err := app.OpenDev(t.Context(), app.DevConfig{
		DataDir: t.TempDir(), Addr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0", ControlAddr: "127.0.0.1:0", PublicURL: "https://api.example.com", Seed: apitest.Seed(),
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	s := apitest.RunDev(t, dev)
	for key, account := range map[string]string{dev.Sample.APIKey: dev.Sample.AccountID, dev.Sample.PartnerAPIKey: "*"} {
		awaitProfiles(t, looker(t, s, key).with("X-Account-Id", account), account == "*")
	}
	return s, dev.Sample
}

// awaitProfiles waits until two instances are connected and known by name.
func awaitProfiles(t *testing.T, c *asker, partner bool) {
	t.Helper()
	if !partner {
		c.header.Del("X-Account-Id")
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); <-tick.C {
		var list []struct{ ProfileName, ProfilePicURL string }
		c.do(t, "GET", "/v1/instances?status=connected", nil).decode(t, &list)
		known := 0
		for _, in := range list {
			if in.ProfileName != "" && in.ProfilePicURL != "" {
				known++
			}
		}
		if known == 2 {
			return
		}
	}
	t.Fatal("the sample is not connected")
}

func TestExamples_ListInstances(t *testing.T) {
	t.Parallel()
	s, sample := openDev(t)
	pages := examples(t, "testdata/seed-list-instances.txt")
	if len(pages) != 2 {
		t.Fatalf("the page has %d examples; it had two", len(pages))
	}
	from := bearer(t, s, sample.APIKey)
	const aside = `\.(id|lastSeenAt)$` // the instances are connected, and seen, now
	for _, page := range pages {
		checkExample(t, aside, page, from.do(t, "GET", "/v1/instances", nil))
		checkExample(t, aside, page, from.do(t, "GET", "/v1/instances?status=all&limit=50&offset=0", nil))
	}
	list := pages[0].(map[string]any)["data"].([]any)

	var connected []any // as the page's own second example filters
	for _, instance := range list {
		if instance.(map[string]any)["status"] == "connected" {
			connected = append(connected, instance)
		}
	}
	want := map[string]any{"success": true, "data": connected,
		"pagination": map[string]any{"total": float64(len(connected)), "limit": 50.0, "offset": 0.0, "hasMore": false}}
	if len(connected) != 2 {
		t.Errorf("the page has %d connected instances", len(connected))
	}
	got := checkExample(t, aside, want, from.do(t, "GET", "/v1/instances?status=connected", nil))

	for i, instance := range got.(map[string]any)["data"].([]any) {
		id := instance.(map[string]any)["id"].(string)
		checkExample(t, aside, map[string]any{"success": true, "data": connected[i]}, from.do(t, "GET", "/v1/instances/"+id, nil))
	}
	from.do(t, "GET", "/v1/instances?status=offline", nil).is(t, 400, "invalid_parameters", "status")
}

func TestExamples_FetchInstances(t *testing.T) {
	t.Parallel()
	s, sample := openDev(t)
	pages := examples(t, "testdata/seed-fetch-instances.txt")
	if len(pages) != 4 {
		t.Fatalf("the page has %d examples; it had four", len(pages))
	}
	many, single, unauthorized, empty := pages[0], pages[1], pages[2], pages[3]
	const path = "/instance/fetchInstances"
	// The page hides the owners' numbers.
	const aside = `\.(instanceId|owner|apikey|updatedAt)$` // they were connected just now
	from := newAsker(t, s, "apikey", keyOfChild(t, s, sample, "my-instance"))

	got := checkExample(t, aside, many, from.do(t, "GET", path, nil)).([]any)
	checkExample(t, aside, many, from.do(t, "GET", path+"?instanceName=&instanceId=&number=", nil))
	for _, instance := range got {
		checkHidden(t, instance.(map[string]any))
	}
	first := got[0].(map[string]any)
	number, _, _ := strings.Cut(first["owner"].(string), "@")
	for _, query := range []string{"?instanceName=my-instance", "?instanceId=" + first["instanceId"].(string), "?number=" + number} {
		checkExample(t, aside, single, from.do(t, "GET", path+query, nil))
	}
	checkExample(t, aside, single, newAsker(t, s, "ApiKey", first["apikey"].(string)).do(t, "GET", path, nil))

	for _, from := range []*asker{newAsker(t, s), newAsker(t, s, "apikey", "YOUR_API_KEY"), newAsker(t, s, "Authorization", "Bearer "+sample.APIKey)} {
		a := from.do(t, "GET", path, nil)
		checkExample(t, aside, unauthorized, a)
		if a.Status != http.StatusUnauthorized {
			t.Errorf("answered %d", a.Status)
		}
	}
	a := from.do(t, "GET", path+"?instanceName=none", nil)
	checkExample(t, aside, empty, a)
	if a.Status != http.StatusOK || string(a.Body) != "[]" {
		t.Errorf("without a match: %d %s", a.Status, a.Body)
	}
}

// checkHidden looks at the form of what the page only shows an example of.
func checkHidden(t *testing.T, instance map[string]any) {
	t.Helper()
	for field, form := range map[string]string{
		"owner":      `^[0-9]+@s\.whatsapp\.net$`,
		"instanceId": `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`,
		"apikey":     `^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$`,
	} {
		if value, ok := instance[field].(string); !ok || !regexp.MustCompile(form).MatchString(value) {
			t.Errorf("%s is %v", field, instance[field])
		}
	}
}

// keyOfChild makes a key for the sample partner's child that has the instance, as the partner would.
func keyOfChild(t *testing.T, s *apitest.Server, sample app.Sample, name string) string {
	t.Helper()
	partner := bearer(t, s, sample.PartnerAPIKey)
	var instances []struct{ Name, AccountID string }
	partner.do(t, "GET", "/v1/instances", nil, "X-Account-Id", "*").decode(t, &instances)
	for _, instance := range instances {
		if instance.Name == name {
			var key struct{ Key string }
			partner.do(t, "POST", "/v1/api-keys", []byte(`{"name":"its own","scopes":["instances:read","keys:write"]}`),
				"X-Account-Id", instance.AccountID).decode(t, &key)
			return key.Key
		}
	}
	t.Fatalf("no child of the sample partner has %s: %v", name, instances)
	return ""
}
