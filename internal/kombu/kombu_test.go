package kombu

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"strings"
	"testing"
)

func zipped(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bz2 is "[\"stackstream\"]" as kombu 5.2 compresses it.
const bz2 = "QlpoOTFBWSZTWZNtp/wAAAETgBAAAAoqChwAIAAiDIDQgGmmjASsvtE1ybxdyRThQkJNtp/w"

func TestDecompress(t *testing.T) {
	body, err := base64.StdEncoding.DecodeString(bz2)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, method string
		body         []byte
		want, fault  string
	}{
		{"zlib", "application/x-gzip", zipped(t, []byte(`{"a": 1}`)), `{"a": 1}`, ""},
		{"bzip2", "application/x-bz2", body, `["stackstream"]`, ""},
		{"exactly the limit", "application/x-gzip", zipped(t, bytes.Repeat([]byte{'x'}, 1000)), strings.Repeat("x", 1000), ""},
		{"a bomb", "application/x-gzip", zipped(t, make([]byte, 1001)), "", "decompress: more than 1000 bytes"},
		{"not compressed", "application/x-gzip", []byte(`{"a": 1}`), "", "decompress: zlib: invalid header"},
		{"cut short", "application/x-bz2", body[:20], "", "decompress: unexpected EOF"},
		{"an unknown method", "application/zstd", body, "", `decompress: the method "application/zstd" is not known`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Decompress(test.method, test.body, 1000)
			if string(got) != test.want || (err == nil) != (test.fault == "") || err != nil && err.Error() != test.fault {
				t.Errorf("%q, %v; want %q, %s", got, err, test.want, test.fault)
			}
		})
	}
}

func FuzzDecompress(f *testing.F) {
	body, err := base64.StdEncoding.DecodeString(bz2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("application/x-bz2", body)
	f.Add("application/x-gzip", zipped(f, []byte(`{"a": 1}`)))
	f.Fuzz(func(t *testing.T, method string, body []byte) {
		if got, err := Decompress(method, body, 1000); len(got) > 1000 || err != nil && got != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}
