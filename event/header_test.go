package event_test

import (
	"testing"

	"stackstream/event"
)

func TestEncodeHeader(t *testing.T) {
	for plain, encoded := range map[string]string{
		"":                            "",
		"compute.instance.create.end": "compute.instance.create.end",
		"a b":                         "a%20b",
		`"`:                           "%22",
		"100%":                        "100%25",
		"a\r\nb":                      "a%0D%0Ab",
		"ü€😀":                         "%C3%BC%E2%82%AC%F0%9F%98%80",
		"\x00\x7f\xff":                "%00%7F%FF",
		"!~:/?#[]@&'()*+,;=":          "!~:/?#[]@&'()*+,;=",
	} {
		if got := event.EncodeHeader(plain); got != encoded {
			t.Errorf("encode %q: %q, want %q", plain, got, encoded)
		}
		if got := event.DecodeHeader(encoded); got != plain {
			t.Errorf("decode %q: %q, want %q", encoded, got, plain)
		}
	}
}

func TestDecodeHeaderTakesWhatOthersWrite(t *testing.T) {
	for encoded, plain := range map[string]string{
		"%c3%bc": "ü", "%": "%", "%4": "%4", "%zz": "%zz", "100%": "100%", "%%41": "%A", "%4g%41": "%4gA", "a b": "a b",
	} {
		if got := event.DecodeHeader(encoded); got != plain {
			t.Errorf("decode %q: %q, want %q", encoded, got, plain)
		}
	}
}

func FuzzEncodeHeader(f *testing.F) {
	for _, s := range []string{"", "plain", "a b", "%41", "%", "\r\nNats-Rollup: all", "ü\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		encoded := event.EncodeHeader(s)
		for i := range len(encoded) {
			if c := encoded[i]; c <= ' ' || c >= 0x7f || c == '"' {
				t.Fatalf("encode %q: %q", s, encoded)
			}
		}
		if got := event.DecodeHeader(encoded); got != s {
			t.Fatalf("%q comes back as %q", s, got)
		}
		event.DecodeHeader(s) // of anything
	})
}

func TestHeader(t *testing.T) {
	h := event.Header{}
	h.Set("Evt-A", "1")
	h.Set("Evt-A", "2")
	if h.Get("Evt-A") != "2" || len(h["Evt-A"]) != 1 || h.Get("evt-a") != "" || event.Header(nil).Get("Evt-A") != "" {
		t.Errorf("header %v", h)
	}
}

// A value that is added to a name must not end in the next name's.
func TestHeadersDoNotShareValues(t *testing.T) {
	h := event.NewHeaders(1)
	for _, name := range []string{"a", "b", "c"} {
		h.Set(name, name)
	}
	h.Header["a"] = append(h.Header["a"], "more")
	h.Header.Set("b", "other")
	if h.Header.Get("a") != "a" || h.Header.Get("b") != "other" || h.Header.Get("c") != "c" {
		t.Errorf("headers %v", h.Header)
	}
}
