package rules

import (
	"errors"
	"fmt"
	"strings"

	"stackstream/event"
	"stackstream/internal/rawjson"
)

// Identify fills in MessageID, EventType and Timestamp of e from the members "message_id", "event_type" and the one that
// has the time. Without a message_id the event has the identity of the raw event, and so it has where text of the message_id may
// have been mended: the collector saw it as it came, and knows what tells the event from others. Without a time, or with an empty one
// or null, it has the time at which it was received. The error names the member that is not what it should be, and never quotes it.
func Identify(e *event.Event, raw event.Raw, members rawjson.Object, timeName string) error {
	e.MessageID = string(raw.ID)
	if id := members.Get("message_id"); !id.IsEmpty() {
		text := id.ID()
		if text == "" {
			return errors.New("message_id: not a string")
		}
		if raw.ID == "" || !strings.Contains(text, "\uFFFD") || raw.ID == event.BoundID(event.ID(text)) {
			e.MessageID = text
		}
	}
	if e.MessageID == "" {
		return errors.New("message_id: missing")
	}
	var ok bool
	if e.EventType, ok = members.Get("event_type").Text(); !ok || e.EventType == "" {
		return errors.New("event_type: missing or not a string")
	}
	at := members.Get(timeName)
	text, ok := at.Text()
	if !ok && !at.IsNull() {
		return fmt.Errorf("%s: not a string", timeName)
	}
	if strings.TrimSpace(text) == "" {
		if raw.Received.IsZero() {
			return fmt.Errorf("%s: missing, and so is the time of receipt", timeName)
		}
		e.Timestamp = event.NewTimestamp(raw.Received)
		return nil
	}
	parsed, err := event.ParseTimestamp(text)
	if err != nil {
		return fmt.Errorf("%s: not a time in a known form", timeName)
	}
	e.Timestamp = parsed
	return nil
}

// Text returns the first string or number that is neither empty nor redacted.
func Text(values ...rawjson.Value) string {
	for _, v := range values {
		if s := v.ID(); s != "" && s != Redacted {
			return s
		}
	}
	return ""
}
