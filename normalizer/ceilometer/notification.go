package ceilometer

import (
	"errors"
	"fmt"

	"stackstream/event"
	"stackstream/internal/envelope"
	"stackstream/internal/kombu"
	"stackstream/internal/rawjson"
)

// maxDecompressed bounds what a compressed body may become.
const maxDecompressed = 16 << 20

// bodies are the events in a body, and how many values of it were mended.
func bodies(raw event.Raw) (events []rawjson.Object, mended int, err error) {
	body := raw.Body
	if method := raw.Header[kombu.Header]; method != "" {
		if body, err = kombu.Decompress(method, body, maxDecompressed); err != nil {
			return nil, 0, fmt.Errorf("body: %w", err)
		}
	}
	v, mended, err := rawjson.ParseMended(body)
	if err != nil {
		return nil, 0, fmt.Errorf("body: %w", err)
	}
	members, ok := v.Members()
	if !ok {
		return nil, 0, errors.New("body: not an object")
	}
	if !isNotification(members) {
		return []rawjson.Object{members}, mended, nil
	}
	notification, mended, err := new(envelope.Desk).Open(body, 2)
	if err != nil {
		return nil, 0, err
	}
	members = notification.Members(0)
	elements, ok := members.Get("payload").Elements()
	if !ok || len(elements) == 0 {
		return nil, 0, errors.New("payload: not a list of events")
	}
	for i, e := range elements {
		if members, ok = e.Members(); !ok {
			return nil, 0, fmt.Errorf("payload[%d]: not an object", i)
		}
		events = append(events, members)
	}
	return events, mended, nil
}

// isNotification tells whether an object is a notification, in whichever envelope, that has events, and not an event itself.
func isNotification(members rawjson.Object) bool {
	for _, name := range []string{"oslo.message", "oslo.version", "request"} {
		if members.Get(name) != nil {
			return members.Get("event_type") == nil
		}
	}
	return members.Get("payload").IsArray() && members.Get("traits") == nil && members.Get("generated") == nil
}
