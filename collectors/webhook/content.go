package webhook

import (
	"bytes"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"stackstream/internal/records"
)

// media is what a Content-Type says. Where something on the way has made one of several (RFC 9110, 5.2) they have to say the same: of two
// types, or two charsets, neither is known.
func media(says string) (kind, charset string) {
	for i, one := range merged(says) {
		switch another, its := mediaOf(one); {
		case i == 0:
			kind, charset = another, its
		case another != kind:
			return "", ""
		case !sameCharset(its, charset):
			charset = shortName(strings.TrimSpace(says))
		}
	}
	return kind, charset
}

// merged takes apart what was several headers. What comes behind a comma and is no type belongs to what comes before.
func merged(says string) (all []string) {
	from, quoted := 0, false
	for i := 0; i < len(says); i++ {
		switch c := says[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ',' && !quoted && beginsWithType(says[i+1:]):
			all = append(all, says[from:i])
			from = i + 1
		}
	}
	return append(all, says[from:])
}

func beginsWithType(says string) bool {
	if end := strings.IndexAny(says, ";,"); end >= 0 {
		says = says[:end]
	}
	_, _, err := mime.ParseMediaType(says)
	return err == nil && strings.Contains(says, "/")
}

// mediaOf is what one says. Parameters that are wrong say nothing about the type, nor about a charset that stands beside them; nor does
// one that is empty say anything.
func mediaOf(says string) (kind, charset string) {
	kind, params, err := mime.ParseMediaType(says)
	if err == nil {
		return kind, params["charset"]
	}
	bare, rest, _ := strings.Cut(says, ";")
	kind, _, _ = mime.ParseMediaType(bare)
	for part := range strings.SplitSeq(rest, ";") {
		_, params, _ := mime.ParseMediaType(bare + ";" + part)
		part = strings.ToLower(strings.TrimSpace(part))
		switch one, is := params["charset"]; {
		case one == "" && (is || !strings.Contains(part, "charset") || strings.TrimRight(part, "= \t") == "charset"):
		case one == "", charset != "" && !sameCharset(charset, one):
			return kind, shortName(strings.TrimSpace(rest))
		default:
			charset = one
		}
	}
	return kind, charset
}

func sameCharset(one, other string) bool {
	return strings.EqualFold(one, other) || records.Charset(one).IsUTF8() && records.Charset(other).IsUTF8()
}

// checkContent refuses what says that it is no JSON, before it is read. Who says nothing about it, or that it is a text, is taken at
// what it posts: many senders do. What is a CloudEvent, and of what form, its format tells.
func (c Config) checkContent(h http.Header) *refusal {
	says := h.Get("Content-Type")
	kind, charset := media(says)
	for _, other := range h.Values("Content-Type") {
		// The type of an event's data is kept with all its parameters.
		another, its := media(other)
		if another != kind || !sameCharset(its, charset) || other != says && c.Format == formatCloudEvents {
			return contentRefused(http.StatusBadRequest, "is there twice, and not the same")
		}
	}
	if c.Format == formatCloudEvents {
		return nil
	}
	if c.Auth.HMAC != nil {
		if refused := checkCharset(charset, nil); refused != nil {
			return refused
		}
	}
	if says == "" || strings.HasSuffix(kind, "json") || kind == "text/plain" || kind == "application/octet-stream" {
		return nil
	}
	return contentRefused(http.StatusUnsupportedMediaType, "is not application/json: have the sender post JSON, and say so")
}

func contentRefused(status int, text string) *refusal {
	return &refusal{status: status, reason: reasonInvalid, field: "Content-Type", text: text}
}

// checkCharset refuses a body that is signed, and in which another charset than UTF-8 would have other texts, and other ids: nobody has
// signed the charset. What is packed is never ASCII.
func checkCharset(charset string, body []byte) *refusal {
	if records.Charset(charset).IsUTF8() || isASCII(body) && readsASCII(charset) {
		return nil
	}
	return contentRefused(http.StatusUnsupportedMediaType, "has a charset that is not signed; post UTF-8")
}

func isASCII(body []byte) bool {
	return !bytes.ContainsFunc(body, func(r rune) bool { return r >= utf8.RuneSelf })
}

// readsASCII tells whether ASCII in a charset is the same text as in UTF-8. UTF-16, and what ESC switches, is not.
func readsASCII(charset string) bool {
	ascii := make([]byte, utf8.RuneSelf)
	for i := range ascii {
		ascii[i] = byte(i)
	}
	text, err := records.Charset(charset).UTF8(ascii)
	return err == nil && bytes.Equal(text, ascii)
}
