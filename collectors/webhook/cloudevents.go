package webhook

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"unicode/utf8"

	"stackstream/event"
	"stackstream/internal/jsonscan"
	"stackstream/internal/rawjson"
	"stackstream/internal/records"
)

// cloudEventsFormat is CloudEvents 1.0. The body of a raw event is one in structured mode, whatever mode it was posted in: its own
// bytes where it was posted so.
type cloudEventsFormat struct {
	name string
	// signed says that senders are known by a signature. None covers a header: whoever has seen one body with its signature could have
	// it say anything in binary mode.
	signed bool
}

// The media types of events that are posted in JSON.
const (
	typeEvent  = "application/cloudevents+json"
	typeEvents = "application/cloudevents-batch+json"
)

// attributePrefix is that of headers with attributes, as net/http has it.
const attributePrefix = "Ce-"

func (f cloudEventsFormat) decode(p posted) ([]made, *refusal) {
	inJSON := p.kind == typeEvent || p.kind == typeEvents
	switch {
	case inJSON && !records.Charset(p.charset).IsUTF8():
		return nil, otherCharset()
	case p.kind == typeEvent:
		if refused := p.memory.keep(eventCost); refused != nil {
			return nil, refused
		}
		m, refused := f.structured(p, p.body, "")
		if refused != nil {
			return nil, refused
		}
		return []made{m}, nil
	case p.kind == typeEvents:
		bodies, refused := p.objects()
		if refused != nil {
			return nil, refused
		}
		all := make([]made, 0, len(bodies))
		for i, body := range bodies {
			m, refused := f.structured(p, body, fmt.Sprintf("[%d]", i))
			if refused != nil {
				return nil, refused
			}
			all = append(all, m)
		}
		return all, nil
	case strings.HasPrefix(p.kind, "application/cloudevents"):
		return nil, &refusal{
			status: http.StatusUnsupportedMediaType, reason: reasonInvalid, field: "Content-Type",
			text: "of CloudEvents in a body, JSON is known",
		}
	case p.header.Get("ce-specversion") == "":
		return nil, invalid("ce-specversion", "is missing, and Content-Type is not application/cloudevents+json: that is no CloudEvent")
	case f.signed:
		return nil, invalid("ce-specversion", "is not signed; post application/cloudevents+json")
	}
	m, refused := f.binary(p)
	if refused != nil {
		return nil, refused
	}
	return []made{m}, nil
}

// otherCharset is the refusal of JSON in another charset than UTF-8: by RFC 8259 there is none.
func otherCharset() *refusal {
	return &refusal{
		status: http.StatusUnsupportedMediaType, reason: reasonInvalid, field: "Content-Type",
		text: "has another charset than UTF-8, which all JSON of CloudEvents is in",
	}
}

// structured is an event in JSON. where is its place in a batch.
func (f cloudEventsFormat) structured(p posted, body []byte, where string) (made, *refusal) {
	p.memory.next()
	body = bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf"))
	body = body[:len(body):len(body)]
	if !json.Valid(body) {
		return made{}, invalid(where, "is no JSON")
	}
	of, refused := p.attributes(body, where)
	if refused != nil {
		return made{}, refused
	}
	m, refused := f.made(of, body, where)
	if refused == nil && !identifies(body) {
		m.ID, m.Hashed = event.HashID(body), true
	}
	if refused == nil {
		refused = p.named(&m)
	}
	return m, refused
}

// identifies tells whether the text of what identifies an event is all that stands there.
func identifies(body []byte) bool {
	if utf8.Valid(body) && !bytes.Contains(body, []byte(`\u`)) {
		return true
	}
	id, source := true, true
	_ = jsonscan.EachMember(body, func(quoted, value []byte) bool {
		switch name, _ := rawjson.Value(quoted).TextBytes(); string(name) {
		case "id":
			id = rawjson.Value(value).Exact()
		case "source":
			source = rawjson.Value(value).Exact()
		}
		return true
	})
	return id && source
}

const (
	// longestName is how long the name of an attribute may be in JSON, escapes and quotes included.
	longestName = 256
	// attributeCost is what an attribute takes beside its value, and its name for a moment.
	attributeCost = 1024
)

// attributes are those of an event in JSON. Its data is only looked at.
func (p posted) attributes(body []byte, where string) (*attributes, *refusal) {
	of, refused := &attributes{}, (*refusal)(nil)
	var data, encoded []byte
	cost := 0
	err := jsonscan.EachMember(body, func(quoted, value []byte) bool {
		if len(quoted) > longestName {
			refused = invalid(where, "has an attribute whose name is too long")
			return false
		}
		cost += attributeCost
		if name, _ := rawjson.Value(quoted).TextBytes(); string(name) != "data" && string(name) != "data_base64" {
			cost += 2 * len(value)
		}
		return true
	})
	switch {
	case refused != nil:
		return nil, refused
	case err != nil:
		return nil, invalid(where, "is no object")
	}
	if refused := p.memory.briefly(int64(cost)); refused != nil {
		return nil, refused
	}
	_ = jsonscan.EachMember(body, func(quoted, value []byte) bool {
		name, _ := rawjson.Value(quoted).TextBytes()
		switch name := string(name); {
		case name == "data" && data != nil, name == "data_base64" && encoded != nil:
			refused = invalid(inside(where, name), "is there twice")
		case name == "data":
			data = value
		case name == "data_base64":
			encoded = value
		default:
			refused = of.add(name, value, where)
		}
		return refused == nil
	})
	switch {
	case refused != nil:
		return nil, refused
	case encoded != nil && data != nil && !rawjson.Value(data).IsNull():
		return nil, invalid(inside(where, "data_base64"), "can't be there beside data")
	case encoded != nil:
		if refused := p.memory.briefly(int64(3 * len(encoded))); refused != nil {
			return nil, refused
		}
		text, isText := rawjson.Value(encoded).Text()
		if _, err := base64.StdEncoding.DecodeString(text); err != nil || !isText {
			return nil, invalid(inside(where, "data_base64"), "is no base64")
		}
	}
	return of, nil
}

// binary is an event whose attributes are headers, where what a header can't have is percent-encoded.
func (f cloudEventsFormat) binary(p posted) (made, *refusal) {
	given := map[string]string{}
	if kind := p.header.Get("Content-Type"); kind != "" {
		given["datacontenttype"] = kind
	}
	for name, values := range p.header {
		name, is := strings.CutPrefix(name, attributePrefix)
		if !is || name == "" || len(values) == 0 {
			continue
		}
		name = strings.ToLower(name)
		value := event.DecodeHeader(textproto.TrimString(values[0])) // a space that is encoded is meant
		if !utf8.ValidString(value) {                                // no body could have it as it came
			return made{}, invalid(shortName(name), "is no text in UTF-8")
		}
		if _, twice := given[name]; twice || len(values) > 1 {
			return made{}, invalid(shortName(name), "is there twice")
		}
		if strings.TrimSpace(value) != "" {
			given[name] = value
		}
	}
	of, open := &attributes{}, []byte{'{'}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		value := rawjson.AppendQuoted(nil, given[name])
		if refused := of.add(name, value, ""); refused != nil {
			return made{}, refused
		}
		if len(open) > 1 {
			open = append(open, ',')
		}
		open = append(append(rawjson.AppendQuoted(open, name), ':'), value...)
	}
	if m, refused := f.made(of, nil, ""); refused != nil {
		return m, refused
	}
	body, refused := p.withData(open, of.dataContentType)
	if refused != nil {
		return made{}, refused
	}
	return f.made(of, body, "")
}

// longestQuoted is how many bytes of JSON become of one of a text at the most.
const longestQuoted = 6

// withData is an event of attributes that are an object without its end, and of what was posted as its data, of a media type. A text
// in another charset than UTF-8 stays the bytes that it is: the type says what they mean.
func (p posted) withData(attributes []byte, kind string) ([]byte, *refusal) {
	_, charset := media(kind)
	isUTF8, isJSON := records.Charset(charset).IsUTF8(), isJSON(kind)
	size, text := len(p.body), isUTF8 && utf8.Valid(p.body)
	switch {
	case len(p.body) == 0:
	case isJSON && !isUTF8:
		return nil, otherCharset()
	case isJSON:
		if !json.Valid(p.body) {
			return nil, invalid("data", "is no JSON, and Content-Type does not say what else")
		}
	case text:
		size = quotedSize(p.body)
		if refused := p.memory.briefly(int64(len(p.body))); refused != nil {
			return nil, refused
		}
	default:
		size = base64.StdEncoding.EncodedLen(len(p.body))
	}
	size += len(attributes) + len(`,"data_base64":""}`)
	if refused := p.memory.keep(eventCost + int64(size)); refused != nil {
		return nil, refused
	}
	body := append(make([]byte, 0, size), attributes...)
	switch {
	case len(p.body) == 0:
	case isJSON:
		body = append(append(body, `,"data":`...), p.body...)
	case text:
		body = rawjson.AppendQuoted(append(body, `,"data":`...), string(p.body))
	default:
		body = base64.StdEncoding.AppendEncode(append(body, `,"data_base64":"`...), p.body)
		body = append(body, '"')
	}
	return append(body, '}'), nil
}

// quotedSize is how long a text is as a string of JSON at the most.
func quotedSize(text []byte) int {
	size := len(text) + 2
	for _, c := range text {
		switch {
		case c == '"', c == '\\':
			size++
		case c < ' ':
			size += longestQuoted - 1
		}
	}
	return size + 3*(bytes.Count(text, []byte("\u2028"))+bytes.Count(text, []byte("\u2029")))
}

// made is the raw event of a CloudEvent. What identifies one is its source and its id together.
func (f cloudEventsFormat) made(of *attributes, body []byte, where string) (made, *refusal) {
	if field, text := of.wrong(); text != "" {
		return made{}, invalid(inside(where, field), text)
	}
	return made{eventType: of.eventType, Raw: event.Raw{
		ID: event.BoundID(of.identity()), Format: f.name, ContentType: typeEvent,
		Body: body,
	}}, nil
}

// inside is a field of an element of a batch.
func inside(where, field string) string {
	if where == "" {
		return field
	}
	return where + "." + field
}

// isJSON tells whether data of a media type is JSON. Without one it is.
func isJSON(kind string) bool {
	kind, _, _ = strings.Cut(strings.ToLower(kind), ";")
	kind = strings.TrimSpace(kind)
	return kind == "" || kind == "application/json" || kind == "text/json" || strings.HasSuffix(kind, "+json")
}
