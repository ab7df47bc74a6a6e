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
	body    []byte
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
		return cloudEventsFormat{opts.CloudEventsFormat}, nil
	default:
		f, found := newRecordsFormat(c, opts.JSONFormat)
		if len(found) > 0 {
			return nil, &event.Error{Kind: event.Invalid, Op: "read " + found[0].Field, Err: fmt.Errorf("%s", found[0].Msg)}
		}
		return f, nil
	}
}

func invalid(field, text string) *refusal {
	return &refusal{status: http.StatusBadRequest, reason: reasonInvalid, field: field, text: text}
}

// invalidBody is a refusal with what a decoder says.
func invalidBody(err error) *refusal {
	return invalid("", strings.ReplaceAll(err.Error(), "the answer", "the body"))
}

// objects are the elements of a body that is a list of objects, or the one object that it is.
func objects(body []byte) ([][]byte, *refusal) {
	d := records.Decoder{Form: records.JSON, Shape: records.List, Strict: true}
	if trimmed := strings.TrimLeft(string(body[:min(len(body), 64)]), "\ufeff \t\r\n"); strings.HasPrefix(trimmed, "{") {
		d.Shape = records.One
	}
	page, err := d.Decode(body)
	if err != nil {
		return nil, invalidBody(err)
	}
	return page.Records, nil
}

// at is the field of an element.
func at(i int, field string) string { return fmt.Sprintf("[%d].%s", i, field) }

// ceilometerFormat is what the publishers of Ceilometer's agent post: a list of events, or, with batch=false, one. What makes
// it an event is looked at, and nothing else: an event that can't be converted is kept, and can be converted once the converter can.
type ceilometerFormat struct{ name string }

func (f ceilometerFormat) decode(p posted) ([]made, *refusal) {
	bodies, refused := objects(p.body)
	if refused != nil {
		return nil, refused
	}
	all := make([]made, 0, len(bodies))
	for i, body := range bodies {
		m := made{Raw: event.Raw{Format: f.name, ContentType: "application/json", Body: append([]byte(nil), body...)}}
		value, err := rawjson.Parse(m.Body)
		if err != nil {
			return nil, invalid(fmt.Sprintf("[%d]", i), err.Error())
		}
		members, _ := value.Members()
		var ok bool
		if m.eventType, ok = members.Get("event_type").Text(); !ok || m.eventType == "" {
			return nil, invalid(at(i, "event_type"), "is missing, or no text: that is no event (with raw_only the agent posts none)")
		}
		id := members.Get("message_id")
		if text, ok := id.Text(); ok {
			m.ID = event.BoundID(event.ID(text))
		} else if !id.IsNull() {
			return nil, invalid(at(i, "message_id"), "is no text")
		}
		if m.ID == "" {
			m.ID, m.Hashed = event.HashID(m.Body), true
		}
		all = append(all, m)
	}
	return all, nil
}
