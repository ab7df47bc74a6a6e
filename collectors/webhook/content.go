package webhook

import (
	"mime"
	"net/http"
	"strings"

	"stackstream/internal/records"
)

// media is what a Content-Type says. Parameters that are wrong say nothing about the type, nor about a charset that stands beside them;
// of two charsets neither is known.
func media(says string) (kind, charset string) {
	kind, params, err := mime.ParseMediaType(says)
	if err == nil {
		return kind, params["charset"]
	}
	bare, rest, _ := strings.Cut(says, ";")
	kind, _, _ = mime.ParseMediaType(bare)
	for part := range strings.SplitSeq(rest, ";") {
		_, params, _ := mime.ParseMediaType(bare + ";" + part)
		switch one := params["charset"]; {
		case one == "" && !strings.Contains(strings.ToLower(part), "charset"):
		case one == "", charset != "" && !strings.EqualFold(charset, one):
			return kind, shortName(strings.TrimSpace(rest))
		default:
			charset = one
		}
	}
	return kind, charset
}

// checkContent refuses what says that it is no JSON, before it is read. Who says nothing about it, or that it is a text, is taken at
// what it posts: many senders do. What is a CloudEvent, and of what form, its format tells.
func (c Config) checkContent(h http.Header) *refusal {
	refused := func(status int, text string) *refusal {
		return &refusal{status: status, reason: reasonInvalid, field: "Content-Type", text: text}
	}
	says := h.Get("Content-Type")
	kind, charset := media(says)
	switch {
	case len(h.Values("Content-Type")) > 1:
		return refused(http.StatusBadRequest, "is there twice")
	case c.Format == formatCloudEvents:
		return nil
	case c.Auth.HMAC != nil && !records.Charset(charset).IsUTF8():
		// By another charset one signed body would have other texts in it, and other ids.
		return refused(http.StatusUnsupportedMediaType, "has a charset that is not signed; post UTF-8")
	case says == "", strings.HasSuffix(kind, "json"), kind == "text/plain", kind == "application/octet-stream":
		return nil
	}
	return refused(http.StatusUnsupportedMediaType, "is not application/json: have the sender post JSON, and say so")
}
