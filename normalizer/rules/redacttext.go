package rules

import (
	"bytes"
	"slices"
	"strings"

	"stackstream/internal/rawjson"
)

// maxName is how much of a name in front of a "=" or ":" is looked at.
const maxName = 64

// mayHide tells whether a string could hold a secret: all forms have one of these.
func mayHide(s []byte) bool { return bytes.IndexByte(s, '=') >= 0 || bytes.IndexByte(s, ':') >= 0 }

// redactText replaces secrets in the content of a string, and says how many there were.
func (r *Redactor) redactText(text []byte, depth int) ([]byte, int) {
	if inner := bytes.TrimLeft(text, " \t\r\n"); depth < maxWithin && len(inner) > 0 && (inner[0] == '{' || inner[0] == '[') {
		if shown, n, ok := r.redactWithin(text, inner, depth+1); ok {
			return shown, n
		}
	}
	var out []byte
	var url authority
	count, copied := 0, 0
	for i := 0; i < len(text); i++ {
		if text[i] != ':' && text[i] != '=' {
			continue
		}
		start, end := url.password(text, i)
		if start == end {
			if name := nameBefore(text, max(copied, i-maxName), i); len(name) > 0 && r.matches(name) {
				start, end = valueBehind(text, i+1)
			}
		}
		if start == end {
			continue
		}
		shown, ok := r.shown(text[start:end], false)
		if !ok {
			continue
		}
		out = append(append(out, text[copied:start]...), shown...)
		count++
		copied = end
		i = max(i, end-1)
	}
	if count == 0 {
		return text, 0
	}
	return append(out, text[copied:]...), count
}

// redactWithin is redactText for a text that is JSON, an object or a list, with space around it; ok is false if it is something else,
// too. Inner is the text without the space before it.
func (r *Redactor) redactWithin(text, inner []byte, depth int) (shown []byte, n int, ok bool) {
	doc := r.docs.Get().(*rawjson.Doc)
	defer r.done(doc)
	if !doc.Take(inner, rawjson.All) {
		return nil, 0, false
	}
	v, n := r.redact(doc, depth)
	if n == 0 {
		return text, 0, true
	}
	return slices.Concat(text[:len(text)-len(inner)], v, inner[len(doc.Value(0)):]), n, true
}

// authority is the part of a URL with its users and hosts: "u:password@host:5672,u:password@host".
type authority struct {
	end   int // 0 before the first URL
	tried int // up to here there is no "@" behind a ":"
}

// password returns where the password is that the colon at i stands in front of; start is end if there is none.
func (a *authority) password(text []byte, i int) (start, end int) {
	if bytes.HasPrefix(text[i:], []byte("://")) {
		a.tried = i + 3
		a.end = a.tried
		for a.end < len(text) && text[a.end] > ' ' && strings.IndexByte("/?#\"'<>\\", text[a.end]) < 0 {
			a.end++
		}
		return 0, 0
	}
	if i >= a.end || i < a.tried || text[i] != ':' {
		return 0, 0
	}
	for at := i + 1; at < a.end && text[at] != ','; at++ {
		if text[at] == '@' {
			return i + 1, at
		}
		a.tried = at
	}
	return 0, 0
}

// nameBefore returns the name in front of a separator: name, 'name', "name" or \"name\".
func nameBefore(text []byte, floor, i int) []byte {
	for i > floor && (text[i-1] == ' ' || text[i-1] == '\t') {
		i--
	}
	if i > floor && isQuote(text[i-1]) {
		for i--; i > floor && text[i-1] == '\\'; {
			i--
		}
	}
	end := i
	for i > floor && isNameByte(text[i-1]) {
		i--
	}
	return text[i:end]
}

// valueBehind returns where the value behind a separator is: text up to a space or one of ,;&, or between quotes as
// JSON and Python write them. Nothing is one of the words for nothing, yes and no; what begins with a bracket has
// its own names.
func valueBehind(text []byte, i int) (start, end int) {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '=' || text[i] == '>') {
		i++
	}
	if i+1 < len(text) && (text[i] == 'u' || text[i] == 'b') && isQuote(text[i+1]) { // Python
		i++
	}
	slashes := i
	for slashes < len(text) && text[slashes] == '\\' {
		slashes++
	}
	if slashes < len(text) && isQuote(text[slashes]) {
		return slashes + 1, closingQuote(text, slashes+1, text[slashes], slashes-i)
	}
	if i < len(text) && strings.IndexByte("{[(", text[i]) >= 0 {
		return 0, 0
	}
	end = wordEnd(text, i)
	switch strings.ToLower(string(text[i:min(end, i+10)])) {
	case "none", "null", "true", "false":
		return 0, 0
	case "basic", "bearer", "digest", "negotiate", "token": // Authorization: Bearer …
		if end < len(text) && text[end] == ' ' {
			end = wordEnd(text, end+1)
		}
	}
	return i, end
}

// closingQuote returns the index of the quote that ends a value, or of the backslashes in front of it: there are as many
// of these as at the beginning, or fewer.
func closingQuote(text []byte, i int, quote byte, slashes int) int {
	run := 0
	for ; i < len(text); i++ {
		switch {
		case text[i] == quote && run <= slashes:
			return i - run
		case text[i] == '\\':
			run++
		default:
			run = 0
		}
	}
	return len(text)
}

func wordEnd(text []byte, i int) int {
	for i < len(text) && text[i] > ' ' && strings.IndexByte(",;&\"'\\>)]}", text[i]) < 0 {
		i++
	}
	return i
}

func isQuote(c byte) bool { return c == '"' || c == '\'' }

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}
