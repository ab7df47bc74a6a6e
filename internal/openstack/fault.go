package openstack

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxFault is how much of the body of an error answer is worth reading.
const MaxFault = 64 << 10

// maxFaultText is how much of an error's text is shown, in bytes.
const maxFaultText = 300

// Fault returns the text out of the body of an error answer, on one line and cut to a readable length. It knows the
// shapes that OpenStack's services write:
//
//	{"error_message": {"faultcode": …, "faultstring": …}}            WSME: a request that the service refuses
//	{"error_message": {"code": …, "title": …, "description": …}}     the service's middleware
//	{"error_message": "<html>…"}                                     the web framework
//	{"error": {"code": …, "title": …, "message": …}}                 Keystone and its middleware
//
// Services that are not of OpenStack write {"message": …}, {"detail": …} and the like, or {"errors": [{…}, …]}. Anything else is
// taken as HTML or plain text. It returns the name of the status where the body says nothing.
func Fault(status int, body []byte) string {
	text := faultText(body)
	if text == "" {
		if text = http.StatusText(status); text == "" {
			text = "no message"
		}
	}
	return text
}

func faultText(body []byte) string {
	var shape struct {
		ErrorMessage json.RawMessage `json:"error_message"`
		Error        json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &shape) != nil {
		return oneLine(string(body))
	}
	for _, raw := range []json.RawMessage{shape.ErrorMessage, shape.Error, body} {
		if text := faultDetail(raw); text != "" {
			return text
		}
	}
	return ""
}

// faultDetail takes the text from what stands under error_message or error.
func faultDetail(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return oneLine(text)
	}
	var d struct {
		Faultstring any `json:"faultstring"`
		Message     any `json:"message"`
		Description any `json:"description"`
		Detail      any `json:"detail"`
		OAuth       any `json:"error_description"`
		Title       any `json:"title"`

		Errors json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(raw, &d) != nil {
		return ""
	}
	for _, v := range []any{d.Faultstring, d.Message, d.Description, d.Detail, d.OAuth, d.Title} {
		if s, ok := v.(string); ok && s != "" {
			return oneLine(s)
		}
	}
	var several []json.RawMessage
	if json.Unmarshal(d.Errors, &several) != nil || len(several) == 0 {
		return ""
	}
	return faultDetail(several[0])
}

var (
	hidden = regexp.MustCompile(`(?is)<(script|style|head|title)\b.*?</(script|style|head|title)>|<!--.*?-->`)
	tags   = regexp.MustCompile(`<[a-zA-Z/!][^>]*>`)
	titled = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)
)

// oneLine makes one short printable line of plain text or of a whole HTML page, which repeats its title as a heading.
func oneLine(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if titled.MatchString(text) || strings.Contains(text, "<html") {
		title := ""
		if m := titled.FindStringSubmatch(text); m != nil {
			title = m[1] + ": "
		}
		rest := html.UnescapeString(tags.ReplaceAllString(hidden.ReplaceAllString(text, " "), " "))
		text = title + strings.TrimPrefix(strings.TrimSpace(rest), strings.TrimSuffix(title, ": "))
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	text = strings.TrimSuffix(text, ":")
	if len(text) <= maxFaultText {
		return text
	}
	cut := maxFaultText
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes)", text[:cut], len(text))
}
