package webhook

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/binding"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"stackstream/event"
	"stackstream/internal/jsonscan"
	"stackstream/internal/rawjson"
)

// cloudEventsFormat is CloudEvents 1.0. The body of a raw event is one in structured mode, whatever mode it was posted in: its own
// bytes where it was posted so.
type cloudEventsFormat struct{ name string }

func (f cloudEventsFormat) decode(p posted) ([]made, *refusal) {
	switch {
	case p.kind == cloudevents.ApplicationCloudEventsJSON:
		if refused := p.memory.keep(eventCost); refused != nil {
			return nil, refused
		}
		m, refused := f.structured(p, p.body, "")
		if refused != nil {
			return nil, refused
		}
		return []made{m}, nil
	case p.kind == cloudevents.ApplicationCloudEventsBatchJSON:
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
	}
	m, refused := f.binary(p)
	if refused != nil {
		return nil, refused
	}
	return []made{m}, nil
}

// structured is an event in JSON. where is its place in a batch.
func (f cloudEventsFormat) structured(p posted, body []byte, where string) (made, *refusal) {
	p.memory.next()
	body = bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf"))
	body = body[:len(body):len(body)]
	if !json.Valid(body) {
		return made{}, invalid(where, "is no JSON")
	}
	attributes, refused := p.withoutData(body, where)
	if refused != nil {
		return made{}, refused
	}
	if refused := p.memory.briefly(attributeCost*int64(rawjson.MostParts(attributes)) + 2*int64(len(attributes))); refused != nil {
		return made{}, refused
	}
	var e cloudevents.Event
	if err := unlessPanic(func() error { return json.Unmarshal(attributes, &e) }); err != nil {
		return made{}, invalid(where, firstLine(err))
	}
	m, refused := f.made(&e, body, where)
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

// attributeCost is what the library takes for each value, also of those that no attribute can be, and for those in them.
const attributeCost = 512

// withoutData is an event without its data, which is only looked at: the library takes data of types that end in +json for texts.
func (p posted) withoutData(body []byte, where string) ([]byte, *refusal) {
	var data, encoded []byte
	size := 2
	each := func(do func(name []byte, quoted, value rawjson.Value)) error {
		return jsonscan.EachMember(body, func(quoted, value []byte) bool {
			name, _ := rawjson.Value(quoted).TextBytes()
			do(name, quoted, value)
			return true
		})
	}
	if each(func(name []byte, quoted, value rawjson.Value) {
		switch string(name) {
		case "data":
			data = value
		case "data_base64":
			encoded = value
		default:
			size += longestQuoted*len(quoted) + len(value) + 2
		}
	}) != nil {
		return nil, invalid(where, "is no object")
	}
	if data != nil && encoded != nil {
		return nil, invalid(inside(where, "data_base64"), "can't be there beside data")
	}
	if refused := p.memory.briefly(int64(size + 3*len(encoded))); refused != nil {
		return nil, refused
	}
	if encoded != nil {
		text, isText := rawjson.Value(encoded).Text()
		if _, err := base64.StdEncoding.DecodeString(text); err != nil || !isText {
			return nil, invalid(inside(where, "data_base64"), "is no base64")
		}
	}
	out := append(make([]byte, 0, size), '{')
	_ = each(func(name []byte, _, value rawjson.Value) {
		if string(name) == "data" || string(name) == "data_base64" {
			return
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(rawjson.AppendQuoted(out, string(name)), ':'), value...)
	})
	return append(out, '}'), nil
}

// longestQuoted is how many bytes of JSON become of one of a text at the most.
const longestQuoted = 6

// binary is an event whose attributes are headers, where what a header can't have is percent-encoded.
func (f cloudEventsFormat) binary(p posted) (made, *refusal) {
	h := http.Header{}
	if kind := p.header.Get("Content-Type"); kind != "" {
		h.Set("Content-Type", kind)
	}
	for name, values := range p.header {
		if strings.HasPrefix(name, "Ce-") && len(name) > len("Ce-") && len(values) > 0 {
			value := event.DecodeHeader(values[0])
			if !utf8.ValidString(value) { // no body could have it as it came
				return made{}, invalid(strings.ToLower(name[len("Ce-"):]), "is no text in UTF-8")
			}
			h[name] = []string{value}
		}
	}
	var e *cloudevents.Event
	if err := unlessPanic(func() (err error) {
		e, err = binding.ToEvent(context.Background(), cehttp.NewMessage(h, http.NoBody))
		return err
	}); err != nil {
		return made{}, invalid("", firstLine(err))
	}
	if m, refused := f.made(e, nil, ""); refused != nil {
		return m, refused
	}
	e.DataEncoded = nil
	var attributes bytes.Buffer
	if err := cloudevents.WriteJson(e, &attributes); err != nil {
		return made{}, invalid("", firstLine(err))
	}
	body, refused := p.withData(bytes.TrimSuffix(attributes.Bytes(), []byte("}")), isJSON(e.DataContentType()))
	if refused != nil {
		return made{}, refused
	}
	if !json.Valid(body) {
		return made{}, invalid("", "has an attribute that can't be told in JSON")
	}
	return f.made(e, body, "")
}

// withData is an event of attributes that are an object without its end, and of what was posted as its data.
func (p posted) withData(attributes []byte, isJSON bool) ([]byte, *refusal) {
	size, text := len(p.body), utf8.Valid(p.body)
	switch {
	case len(p.body) == 0:
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

// unlessPanic calls f. The library is not made for what strangers send: it panics at some of that.
func unlessPanic(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("is no CloudEvent")
		}
	}()
	return f()
}

// made is the raw event of a CloudEvent. What identifies one is its source and its id together: a source has no space in it.
func (f cloudEventsFormat) made(e *cloudevents.Event, body []byte, where string) (made, *refusal) {
	if e.SpecVersion() != cloudevents.CloudEventsVersionV1 {
		return made{}, invalid(inside(where, "specversion"), "is not 1.0")
	}
	if err := e.Validate(); err != nil {
		var of cloudevents.ValidationError
		if errors.As(err, &of) && len(of) > 0 {
			field := slices.Sorted(maps.Keys(of))[0]
			return made{}, invalid(inside(where, field), firstLine(of[field]))
		}
		return made{}, invalid(where, firstLine(err))
	}
	if strings.Contains(e.Source(), " ") {
		return made{}, invalid(inside(where, "source"), "has a space in it")
	}
	return made{eventType: e.Type(), Raw: event.Raw{
		ID: event.BoundID(event.ID(e.Source() + " " + e.ID())), Format: f.name, ContentType: cloudevents.ApplicationCloudEventsJSON,
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

// firstLine is what an error says, in one line.
func firstLine(err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	return line
}
