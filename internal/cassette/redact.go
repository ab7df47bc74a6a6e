package cassette

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	vcr "gopkg.in/dnaeon/go-vcr.v4/pkg/cassette"

	"stackstream/internal/rawjson"
	"stackstream/normalizer/rules"
)

// Placeholder stands in the place of every secret.
const Placeholder = "REDACTED"

// leastSecret is the length from which a secret is looked for in all that was said. A shorter one is replaced where it is
// known to be one; anywhere else it may be part of a word.
const leastSecret = 4

// Redactor takes the secrets out of a conversation: those it was told of, in whatever way they are written; the values of
// headers that are not known to be harmless; cookies; all that was sent to log in; and what goes by the name of a secret in
// JSON, queries and headers (rules.DefaultSecretKeys). What it found to be a secret in one place it replaces everywhere.
type Redactor struct {
	keys *rules.Redactor

	mu      sync.Mutex
	secrets map[string]bool
	kept    map[string]bool
	plain   map[string]bool
	params  map[string]bool
	// prefixes stand before a secret in a header.
	prefixes []string
	all      *strings.Replacer // nil: to be made anew
}

// NewRedactor takes the names of headers that hold no secret, as requests have them.
func NewRedactor(plain ...string) (*Redactor, error) {
	keys, err := rules.NewRedactor(rules.DefaultSecretKeys())
	if err != nil {
		return nil, err
	}
	r := &Redactor{keys: keys, secrets: map[string]bool{}, kept: map[string]bool{}, plain: map[string]bool{}, params: map[string]bool{}}
	for _, name := range append([]string{"Accept", "User-Agent", "Content-Type", "If-None-Match", "Accept-Encoding"}, plain...) {
		r.plain[http.CanonicalHeaderKey(name)] = true
	}
	return r, nil
}

// Param tells the name of a parameter of the query that has a secret.
func (r *Redactor) Param(name string) { r.params[name] = true }

// Prefix tells what may stand before a secret in a header.
func (r *Redactor) Prefix(prefix string) { r.prefixes = append(r.prefixes, prefix) }

// Learn tells a secret.
func (r *Redactor) Learn(secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if secret = strings.TrimSpace(secret); len(secret) >= leastSecret && secret != Placeholder && !r.secrets[secret] {
		r.secrets[secret], r.all = true, nil
	}
}

// Keep tells a value that is no secret whatever its name: what leads to the next page is often called a token. So are the
// parameters of an address.
func (r *Redactor) Keep(value string) {
	if value == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept[value] = true
	if u, err := url.Parse(value); err == nil && u.RawQuery != "" {
		for _, values := range u.Query() {
			for _, v := range values {
				r.kept[v] = true
			}
		}
	}
}

// Text replaces the secrets that were learned.
func (r *Redactor) Text(s string) string {
	if r.all == nil {
		forms := map[string]bool{}
		for secret := range r.secrets {
			for _, form := range Spellings(secret) {
				forms[form] = true
			}
		}
		// The longest first: one secret may be part of another.
		sorted := make([]string, 0, len(forms))
		for form := range forms {
			sorted = append(sorted, form)
		}
		slices.SortFunc(sorted, func(a, b string) int {
			if len(a) != len(b) {
				return len(b) - len(a)
			}
			return strings.Compare(a, b)
		})
		pairs := make([]string, 0, 2*len(sorted))
		for _, form := range sorted {
			pairs = append(pairs, form, Placeholder)
		}
		r.all = strings.NewReplacer(pairs...)
	}
	return r.all.Replace(s)
}

// Spellings are the ways in which a text is written in URLs, JSON, XML and headers.
func Spellings(s string) []string {
	query, path := url.QueryEscape(s), url.PathEscape(s)
	quoted, _ := json.Marshal(s)
	var markup strings.Builder
	_ = xml.EscapeText(&markup, []byte(s))
	all := []string{
		s, query, path, lowerHex(query), lowerHex(path), url.QueryEscape(query), string(quoted[1 : len(quoted)-1]),
		string(rawjson.AppendQuoted(nil, s)[1:]), markup.String(),
		base64.StdEncoding.EncodeToString([]byte(s)), base64.URLEncoding.EncodeToString([]byte(s)),
		base64.RawStdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)),
	}
	all[7] = strings.TrimSuffix(all[7], `"`)
	return all
}

// lowerHex writes the digits of escapes small, as some services do.
func lowerHex(escaped string) string {
	out := []byte(escaped)
	for i := 0; i+2 < len(out); i++ {
		if out[i] == '%' {
			copy(out[i+1:i+3], bytes.ToLower(out[i+1:i+3]))
		}
	}
	return string(out)
}

// Document is Text for a document, without what goes by the name of a secret in it.
func (r *Redactor) Document(text string) string { return r.Text(r.document(text, false)) }

// Request is a request on one line.
func (r *Redactor) Request(req *http.Request, body string) string {
	x := &exchange{Interaction: &vcr.Interaction{Request: vcr.Request{
		Method: req.Method, URL: req.URL.String(), Headers: req.Header.Clone(), Body: body,
	}}}
	r.request(x)
	text := x.Request.Method + " " + x.Request.URL
	if x.Request.Body != "" {
		text += " " + x.Request.Body
	}
	return r.Text(text)
}

// exchange is a request and its answer.
type exchange struct {
	*vcr.Interaction
	login bool // it only proves who we are
}

// redact takes the secrets out of a conversation: first it finds all of them, and then replaces them, because one may show
// before it is known.
func (r *Redactor) redact(all []*exchange) {
	for _, x := range all {
		r.request(x)
		r.response(x)
	}
	for _, x := range all {
		req, resp := &x.Request, &x.Response
		req.URL, req.Body = r.Text(req.URL), r.Text(each(req.Body, r.escaped))
		resp.Body = r.Text(each(resp.Body, r.escaped))
		req.Headers, resp.Headers = r.texts(req.Headers), r.texts(resp.Headers)
		if u, err := url.Parse(req.URL); err == nil {
			req.Host = u.Host
		}
		req.ContentLength, resp.ContentLength = int64(len(req.Body)), int64(len(resp.Body))
	}
}

func (r *Redactor) texts(h http.Header) http.Header {
	for _, values := range h {
		for i := range values {
			values[i] = r.Text(values[i])
		}
	}
	return h
}

func (r *Redactor) request(x *exchange) {
	req := &x.Request
	if u, err := url.Parse(req.URL); err == nil {
		query := u.Query()
		changed := false
		for name, values := range query {
			for i, value := range values {
				if value != "" && (r.params[name] || r.keys.IsSecret(name) && !r.kept[value]) {
					r.proof(value)
					values[i], changed = Placeholder, true
				}
			}
		}
		if changed {
			u.RawQuery = query.Encode()
			req.URL = u.String()
		}
	}
	for name, values := range req.Headers {
		if r.plain[name] && !r.keys.IsSecret(name) {
			continue
		}
		for i, value := range values {
			values[i] = r.credentials(name, value)
		}
	}
	switch {
	case req.Body == "":
	case x.login:
		r.learnAll(req.Body)
		req.Body = Placeholder
	default:
		req.Body = r.document(req.Body, false)
	}
}

// credentials replaces what a header proves who we are with, but for the words around it.
func (r *Redactor) credentials(name, value string) string {
	if name == "Cookie" {
		parts := strings.Split(value, ";")
		for i, part := range parts {
			cookie, secret, _ := strings.Cut(part, "=")
			r.proof(secret)
			parts[i] = cookie + "=" + Placeholder
		}
		return strings.Join(parts, ";")
	}
	scheme, secret, found := strings.Cut(value, " ")
	r.proof(value)
	if !found || name != "Authorization" {
		return Placeholder
	}
	r.proof(secret)
	return scheme + " " + Placeholder
}

// proof learns what a request proves who we are with, and what is behind a prefix in it.
func (r *Redactor) proof(value string) {
	r.Learn(value)
	for _, prefix := range r.prefixes {
		if secret, ok := strings.CutPrefix(value, prefix); ok {
			r.Learn(secret)
		}
	}
}

func (r *Redactor) response(x *exchange) {
	for name, values := range x.Response.Headers {
		for i, value := range values {
			switch {
			case name == "Set-Cookie":
				cookie, rest, _ := strings.Cut(value, "=")
				secret, attributes, more := strings.Cut(rest, ";")
				r.Learn(secret)
				values[i] = cookie + "=" + Placeholder
				if more {
					values[i] += ";" + attributes
				}
			case r.keys.IsSecret(name) && !r.kept[value]:
				r.Learn(value)
				values[i] = Placeholder
			}
		}
	}
	x.Response.Body = r.document(x.Response.Body, x.login)
}

// document replaces what goes by the name of a secret in a document, or in each of its lines. What an answer to a login says
// of one is a secret everywhere.
func (r *Redactor) document(text string, login bool) string {
	with := func(secret []byte, whole bool) (string, bool) {
		switch {
		case r.kept[string(secret)], login && whole: // Keystone's token is an object
			return "", false
		case login:
			r.Learn(string(secret))
		}
		return Placeholder, true
	}
	return each(text, func(v rawjson.Value) rawjson.Value { return r.keys.Replace(v, with) })
}

// each changes a document of JSON, or each of its lines; what is none stays.
func each(text string, change func(rawjson.Value) rawjson.Value) string {
	trimmed := strings.TrimLeft(text, " \t\r\n")
	if trimmed == "" || trimmed[0] != '{' && trimmed[0] != '[' {
		return text
	}
	if v, err := rawjson.Parse([]byte(text)); err == nil {
		return string(change(v))
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		inner := strings.TrimSpace(line)
		if v, err := rawjson.Parse([]byte(inner)); err == nil && inner != "" {
			line = strings.Replace(line, inner, string(change(v)), 1)
		}
		out.WriteString(line)
	}
	return out.String()
}

// escaped replaces secrets in strings of JSON that are written with escapes: there are more ways to do that than can be looked for.
func (r *Redactor) escaped(v rawjson.Value) rawjson.Value {
	var out []byte
	copied := 0
	for t := range v.Tokens() {
		quoted := v[t.Start:t.End]
		if t.Kind != rawjson.Scalar && t.Kind != rawjson.Name || bytes.IndexByte(quoted, '\\') < 0 {
			continue
		}
		text, isText := quoted.Text()
		if !isText {
			continue
		}
		if shown := r.Text(text); shown != text {
			out = rawjson.AppendQuoted(append(out, v[copied:t.Start]...), shown)
			copied = t.End
		}
	}
	return append(out, v[copied:]...)
}

// learnAll learns what goes by the name of a secret in what was sent to log in.
func (r *Redactor) learnAll(body string) {
	if values, err := url.ParseQuery(body); err == nil {
		for name, all := range values {
			if r.keys.IsSecret(name) {
				for _, value := range all {
					r.Learn(value)
				}
			}
		}
	}
	r.document(body, true)
}
