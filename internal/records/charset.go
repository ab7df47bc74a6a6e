package records

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Charset is a set of characters by a name that the web knows (https://encoding.spec.whatwg.org/#names-and-labels); "" is UTF-8.
type Charset string

// Check returns what is wrong with a name.
func (c Charset) Check() error {
	_, err := c.encoding()
	return err
}

func (c Charset) encoding() (encoding.Encoding, error) {
	if c == "" {
		return unicode.UTF8, nil
	}
	e, err := htmlindex.Get(string(c))
	if err != nil {
		return nil, fmt.Errorf("%q is no charset that is known: one like utf-8, windows-1252 or utf-16le is meant", string(c))
	}
	return e, nil
}

// CharsetOf is what a Content-Type says, "" if nothing.
func CharsetOf(contentType string) Charset {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return Charset(strings.ToLower(params["charset"]))
}

// IsUTF8 tells whether it is UTF-8, so that UTF8 returns what it is given.
func (c Charset) IsUTF8() bool {
	e, err := c.encoding()
	return err == nil && isUTF8(e)
}

func isUTF8(e encoding.Encoding) bool {
	name, _ := htmlindex.Name(e)
	return e == unicode.UTF8 || name == "utf-8"
}

// UTF8 is a body in UTF-8. What is in UTF-8 already stays as it is, byte for byte, right or wrong.
func (c Charset) UTF8(body []byte) ([]byte, error) {
	e, err := c.encoding()
	if err != nil {
		return nil, err
	}
	if isUTF8(e) {
		return body, nil
	}
	out, _, err := transform.Bytes(unicode.BOMOverride(e.NewDecoder()), body)
	if err != nil {
		return nil, fmt.Errorf("read it as %s: %w", string(c), err)
	}
	return out, nil
}

// Mended tells whether UTF8 had to make something of what is no character of the set: it is U+FFFD in what came out, whatever it was.
func (c Charset) Mended(body, out []byte) bool {
	e, err := c.encoding()
	if err != nil || !bytes.Contains(out, []byte("\uFFFD")) || len(out) == len(body) && &out[0] == &body[0] {
		return false
	}
	again, err := e.NewEncoder().Bytes(out)
	return err != nil || !bytes.Equal(again, body)
}

// reader is for XML, which says its charset itself.
func reader(charset string, in io.Reader) (io.Reader, error) {
	e, err := Charset(charset).encoding()
	if err != nil {
		return nil, err
	}
	return e.NewDecoder().Reader(in), nil
}
