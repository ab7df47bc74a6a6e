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
	"stackstream/internal/rawjson"
)

// cloudEventsFormat is CloudEvents 1.0. The body of a raw event is one in structured mode, whatever mode it was posted in: its own
// bytes where it was posted so.
type cloudEventsFormat struct{ name string }

func (f cloudEventsFormat) decode(p posted) ([]made, *refusal) {
	switch {
	case p.kind == cloudevents.ApplicationCloudEventsJSON:
		m, refused := f.structured(p.body, "")
		if refused != nil {
			return nil, refused
		}
		return []made{m}, nil
	case p.kind == cloudevents.ApplicationCloudEventsBatchJSON:
		bodies, refused := objects(p.body)
		if refused != nil {
			return nil, refused
		}
		all := make([]made, 0, len(bodies))
		for i, body := range bodies {
			m, refused := f.structured(body, fmt.Sprintf("[%d]", i))
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
func (f cloudEventsFormat) structured(body []byte, where string) (made, *refusal) {
	body = append([]byte(nil), bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf"))...)
	if !json.Valid(body) {
		return made{}, invalid(where, "is no JSON")
	}
	attributes, refused := withoutData(body, where)
	if refused != nil {
		return made{}, refused
	}
	var e cloudevents.Event
	if err := unlessPanic(func() error { return json.Unmarshal(attributes, &e) }); err != nil {
		return made{}, invalid(where, firstLine(err))
	}
	return f.made(&e, body, where)
}

// withoutData is an event without its data, which is only looked at: the library takes data of types that end in +json for texts.
func withoutData(body []byte, where string) ([]byte, *refusal) {
	members, ok := rawjson.Value(body).Members()
	if !ok {
		return nil, invalid(where, "is no object")
	}
	out, hasData := []byte{'{'}, 0
	for _, m := range members {
		switch string(m.Name) {
		case "data":
			hasData |= 1
			continue
		case "data_base64":
			hasData |= 2
			text, isText := m.Value.Text()
			if _, err := base64.StdEncoding.DecodeString(text); err != nil || !isText {
				return nil, invalid(inside(where, "data_base64"), "is no base64")
			}
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(rawjson.AppendQuoted(out, string(m.Name)), ':'), m.Value...)
	}
	if hasData == 3 {
		return nil, invalid(inside(where, "data_base64"), "can't be there beside data")
	}
	return append(out, '}'), nil
}

// binary is an event whose attributes are headers, where what a header can't have is percent-encoded.
func (f cloudEventsFormat) binary(p posted) (made, *refusal) {
	h := http.Header{}
	if kind := p.header.Get("Content-Type"); kind != "" {
		h.Set("Content-Type", kind)
	}
	for name, values := range p.header {
		if strings.HasPrefix(name, "Ce-") && len(name) > len("Ce-") && len(values) > 0 {
			h[name] = []string{event.DecodeHeader(values[0])}
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
	body := bytes.TrimSuffix(attributes.Bytes(), []byte("}"))
	switch {
	case len(p.body) == 0:
	case isJSON(e.DataContentType()):
		if !json.Valid(p.body) {
			return made{}, invalid("data", "is no JSON, and Content-Type does not say what else")
		}
		body = append(append(body, `,"data":`...), p.body...)
	case utf8.Valid(p.body):
		body = rawjson.AppendQuoted(append(body, `,"data":`...), string(p.body))
	default:
		body = append(append(body, `,"data_base64":"`...), base64.StdEncoding.EncodeToString(p.body)...)
		body = append(body, '"')
	}
	if body = append(body, '}'); !json.Valid(body) {
		return made{}, invalid("", "has an attribute that can't be told in JSON")
	}
	return f.made(e, body, "")
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
