package webhook

import (
	"fmt"
	"net/http"
	"strings"

	"stackstream/event"
	"stackstream/internal/rawjson"
	"stackstream/internal/records"
)

// posted is what a request has in it.
type posted struct {
	header  http.Header
	kind    string // the media type, in small letters; "" where there is none
	charset string
	body    []byte // which events may be parts of
	memory  *memory
}

// made is an event, and the type that the filter goes by.
type made struct {
	event.Raw
	eventType string
}

// format makes events of what is posted, all of it or none.
type format interface {
	decode(p posted) ([]made, *refusal)
}

func newFormat(c Config, opts Options) (format, error) {
	switch c.Format {
	case formatCeilometer:
		return ceilometerFormat{opts.CeilometerFormat}, nil
	case formatCloudEvents:
		return cloudEventsFormat{opts.CloudEventsFormat, c.Auth.HMAC != nil}, nil
	default:
		f, found := newRecordsFormat(c, opts.JSONFormat)
		if len(found) > 0 {
			return nil, &event.Error{Kind: event.Invalid, Op: "read " + found[0].Field, Err: fmt.Errorf("%s", found[0].Msg)}
		}
		return f, nil
	}
}

// objects are the elements of a body that is a list of objects, or the one object that it is. The memory of an event is there for each.
func (p posted) objects() ([][]byte, *refusal) {
	d := records.Decoder{Form: records.JSON, Shape: records.List, Strict: true, Bound: p.memory.bound()}
	if trimmed := strings.TrimLeft(string(p.body[:min(len(p.body), 64)]), "\ufeff \t\r\n"); strings.HasPrefix(trimmed, "{") {
		d.Shape = records.One
	}
	page, err := d.Decode(p.body)
	if err != nil {
		return nil, notTaken("", err)
	}
	return page.Records, p.memory.keep(eventCost * int64(len(page.Records)))
}

// named asks for the memory of what an event is called by.
func (p posted) named(m *made) *refusal { return p.memory.keep(int64(len(m.ID) + len(m.eventType))) }

// member is a member of an object, with memory for its text; nil where it has none.
func (p posted) member(object *rawjson.Doc, name string) (rawjson.Value, *refusal) {
	at := object.Member(0, name)
	if at < 0 {
		return nil, nil
	}
	value := object.Value(at)
	return value, p.memory.briefly(2 * int64(len(value)))
}

// at is the field of an element.
func at(i int, field string) string { return fmt.Sprintf("[%d].%s", i, field) }

// ceilometerFormat is what the publishers of Ceilometer's agent post: a list of events, or, with batch=false, one. What makes
// it an event is looked at, and nothing else: an event that can't be converted is kept, and can be converted once the converter can.
type ceilometerFormat struct{ name string }

func (f ceilometerFormat) decode(p posted) ([]made, *refusal) {
	body, refused := p.utf8()
	if refused != nil {
		return nil, refused
	}
	p.body = body
	bodies, refused := p.objects()
	if refused != nil {
		return nil, refused
	}
	all := make([]made, 0, len(bodies))
	var doc rawjson.Doc
	for i, body := range bodies {
		m := made{Raw: event.Raw{Format: f.name, ContentType: "application/json", Body: body}}
		if _, err := p.memory.take(&doc, body, 2); err != nil {
			return nil, notTaken(fmt.Sprintf("[%d]", i), err)
		}
		value, refused := p.member(&doc, "event_type")
		if refused != nil {
			return nil, refused
		}
		var ok bool
		if m.eventType, ok = value.Text(); !ok || m.eventType == "" {
			return nil, invalid(at(i, "event_type"), "is missing, or no text: that is no event (with raw_only the agent posts none)")
		}
		id, refused := p.member(&doc, "message_id")
		if refused != nil {
			return nil, refused
		}
		text := id.ID()
		if text == "" && !id.IsEmpty() {
			return nil, invalid(at(i, "message_id"), "is neither text nor a number")
		}
		if m.ID = event.BoundID(event.ID(text)); text == "" || !rawjson.Exact(text, "message_id", m.Body) {
			m.ID, m.Hashed = event.HashID(m.Body), true
		}
		if refused := p.named(&m); refused != nil {
			return nil, refused
		}
		all = append(all, m)
	}
	return all, nil
}
