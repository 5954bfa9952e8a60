package auth

import (
	"strings"
	"testing"

	"github.com/pombal-api/pombal/internal/domain"
)

func TestBearerFromHeader(t *testing.T) {
	t.Parallel()
	const missing, invalid = domain.CodeMissingAPIKey, domain.CodeInvalidAPIKey
	for name, tc := range map[string]struct {
		values []string
		want   string
		code   domain.Code
		says   string
	}{
		"usual":             {values: []string{"Bearer pmb_x"}, want: "pmb_x"},
		"lower case":        {values: []string{"bearer pmb_x"}, want: "pmb_x"},
		"two spaces":        {values: []string{"Bearer  pmb_x"}, want: "pmb_x"},
		"longest":           {values: []string{"Bearer " + strings.Repeat("a", maxCredential)}, want: strings.Repeat("a", maxCredential)},
		"absent":            {code: missing, says: "Authorization: Bearer"},
		"empty":             {values: []string{""}, code: invalid, says: "is empty"},
		"spaces":            {values: []string{"   "}, code: invalid, says: "is empty"},
		"twice":             {values: []string{"Bearer pmb_x", "Bearer pmb_x"}, code: invalid, says: "several"},
		"scheme only":       {values: []string{"Bearer"}, code: invalid, says: "no key"},
		"scheme and space":  {values: []string{"Bearer "}, code: invalid, says: "no key"},
		"key only":          {values: []string{"pmb_x"}, code: invalid, says: "scheme Bearer"},
		"basic":             {values: []string{"Basic cG1iOng="}, code: invalid, says: "scheme Bearer"},
		"token scheme":      {values: []string{"Token pmb_x"}, code: invalid, says: "scheme Bearer"},
		"scheme glued":      {values: []string{"Bearerpmb_x"}, code: invalid, says: "scheme Bearer"},
		"leading space":     {values: []string{" Bearer pmb_x"}, code: invalid, says: "scheme Bearer"},
		"two keys":          {values: []string{"Bearer pmb_x pmb_y"}, code: invalid, says: "one key"},
		"list of keys":      {values: []string{"Bearer pmb_x,Bearer"}, code: invalid, says: "one key"},
		"scheme twice":      {values: []string{"Bearer Bearer pmb_x"}, code: invalid, says: "one key"},
		"tab":               {values: []string{"Bearer pmb_x\tpmb_y"}, code: invalid, says: "one key"},
		"longer than ever":  {values: []string{"Bearer " + strings.Repeat("a", maxCredential+1)}, code: invalid, says: "longer"},
		"a megabyte of it":  {values: []string{"Bearer " + strings.Repeat("a", 1<<20)}, code: invalid, says: "longer"},
		"comma in a schema": {values: []string{"Bearer, pmb_x"}, code: invalid, says: "scheme Bearer"},
	} {
		got, err := (*Authenticator)(nil).Credential(tc.values)
		if got != tc.want {
			t.Errorf("%s: got %.40q, want %.40q", name, got, tc.want)
		}
		wantCode(t, err, tc.code)
		if err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v does not say %q", name, err, tc.says)
		}
	}
}
