package domain_test

import (
	"strings"
	"testing"

	"github.com/pombal-api/pombal/internal/domain"
)

func TestCanonicalJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		` { "b" : 1.0 , "a" : [ true , false , null ] } `: `{"b":1,"a":[true,false,null]}`,
		`{"b":1,"2":2,"10":3,"1":4,"01":5}`:               `{"1":4,"2":2,"10":3,"b":1,"01":5}`,
		`{"4294967295":1,"4294967294":2}`:                 `{"4294967294":2,"4294967295":1}`,
		`{"a":1,"b":2,"a":3}`:                             `{"a":3,"b":2}`,
		`[-0,-0.0,0e9]`:                                   `[0,0,0]`,
		`[1E3,1e21,1e20,123456789012345680000]`:           `[1000,1e+21,100000000000000000000,123456789012345680000]`,
		`[0.000001,0.0000001,1.5e-9,5e-324]`:              `[0.000001,1e-7,1.5e-9,5e-324]`,
		`[9007199254740993,1e400,-1e400]`:                 `[9007199254740992,null,null]`,
		`"<>&\u2028\u2029\u007f\/"`:                       "\"<>&\u2028\u2029\u007f/\"",
		`"\u0000\u001f\b\f\n\r\t\"\\"`:                    `"\u0000\u001f\b\f\n\r\t\"\\"`,
		"\"a\xffb\"":                                      "\"a\uFFFDb\"",
		`"\ud800x\ud83d\ude00"`:                           "\"\uFFFDx\U0001F600\"",
		`{"__proto__":{"x":1}}`:                           `{"__proto__":{"x":1}}`,
		`[]`:                                              `[]`,
		`{}`:                                              `{}`,
	} {
		got, err := domain.CanonicalJSON([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s %v, want %s", in, got, err, want)
		}
		again, err := domain.CanonicalJSON(got)
		if err != nil || string(again) != string(got) {
			t.Errorf("%s is no fixed point: %s %v", got, again, err)
		}
	}
	for _, in := range []string{``, `{`, `[1,]`, `{"a":1,}`, `nul`, `1 2`, `{"a"}`, `[1}`, `{1:2}`, `01`, strings.Repeat("[", 300) + strings.Repeat("]", 300)} {
		if got, err := domain.CanonicalJSON([]byte(in)); err == nil {
			t.Errorf("%.20s became %s", in, got)
		}
	}
}
