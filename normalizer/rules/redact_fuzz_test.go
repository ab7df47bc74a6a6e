package rules

import (
	"bytes"
	"encoding/json"
	"testing"

	"stackstream/internal/rawjson"
)

// Whatever is redacted is JSON again, of the same shape where nothing was secret, and once is enough.
func FuzzRedact(f *testing.F) {
	for _, seed := range []string{
		`{"password":[1],"n":1e400}`, `[{"name":"psk","value":"x"},["token",1,"x"]]`, `"{\"a\":\"{\\\"token\\\":1}\"}"`,
		`"{'auth_token': u'x', \"password\" : \\\"y\\\" }"`, `"rabbit://u:x@h:1,u:y@h/?token=z&a=b"`, `"Authorization: Bearer x"`,
	} {
		f.Add([]byte(seed))
	}
	r := defaults(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := rawjson.Parse(body)
		if err != nil {
			return
		}
		kept := bytes.Clone(v)
		once, n := r.Redact(v)
		if !bytes.Equal(v, kept) {
			t.Fatalf("%s became %s", kept, v)
		}
		if !json.Valid(once) || n == 0 && !bytes.Equal(once, v) || n > 0 && !bytes.Contains(once, []byte(Redacted)) {
			t.Fatalf("%s became %s, %d", v, once, n)
		}
		if twice, again := r.Redact(once); !bytes.Equal(once, twice) || again != n {
			t.Fatalf("%s became %s, %d, and then %s, %d", v, once, n, twice, again)
		}
	})
}
