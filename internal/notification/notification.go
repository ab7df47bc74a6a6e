// Package notification reads as much of a notification of oslo.messaging as a collector has to know, and no more: whose it
// is, and when it was sent. And it takes apart those in which Ceilometer's agent hands out several events at once.
//
// The forms in which a notification travels:
//
//	{"message_id": …, "event_type": …, "payload": …, "timestamp": …}                          version 1
//	{"oslo.version": "2.0", "oslo.message": "{\"message_id\": …}"}                            version 2
//	{"request": {"oslo.version": "2.0", "oslo.message": "{…}"}, "context": {}}                version 2 over AMQP 1.0
//
// What is read here is what the converter (normalizer/oslo) reads: both take the same, and find the same in it.
package notification

import (
	"strings"
	"time"
	"unicode/utf8"

	"stackstream/event"
	"stackstream/internal/rawjson"
)

// Notice is what a collector needs to know of a notification without converting it.
type Notice struct {
	ID       event.ID  // "" if it has none
	Type     string    // "" if it has none
	Time     time.Time // when it was sent; zero if it does not say so in a known form
	Readable bool      // it is a notification: an object with an event type
}

// Version 2 of oslo.messaging's format has the notification, usually as a string of JSON, in one member of an object
// and says its version in another. In version 1 the notification stands by itself.
const (
	messageKey = "oslo.message"
	versionKey = "oslo.version"
	// requestKey is the member around both where the notification came over AMQP 1.0.
	requestKey = "request"
)

// Read reads as much of a notification as the collector needs, and of its payload no more than whether it is
// JSON. It takes what the converter takes: what is not plain JSON is mended by rawjson first, which costs more.
func Read(body []byte) Notice {
	if n, ok := readPlain(body); ok {
		return n
	}
	return readMended(body)
}

// readMended is the rule; readPlain knows a shorter way to the same result.
func readMended(body []byte) Notice {
	v, err := rawjson.Parse(body)
	if err != nil {
		return Notice{}
	}
	members, ok := v.Members()
	if !ok {
		return Notice{}
	}
	if request, wrapped := members.Get(requestKey).Members(); wrapped && isWrapper(members) {
		members = request
	}
	if inner, version := members.Get(messageKey), members.Get(versionKey); inner != nil || version != nil {
		if !isKnown(version) {
			return Notice{}
		}
		if text, quoted := inner.Text(); quoted {
			if inner, err = rawjson.Parse([]byte(text)); err != nil {
				return Notice{}
			}
		}
		if members, ok = inner.Members(); !ok {
			return Notice{}
		}
	}
	return newNotice(members.Get("message_id"), members.Get("event_type"), members.Get("timestamp"))
}

// isWrapper tells whether an object with a request is what AMQP 1.0 has around a notification, and none itself.
func isWrapper(members rawjson.Object) bool {
	return members.Get(messageKey) == nil && members.Get(versionKey) == nil && members.Get("event_type") == nil
}

// isKnown tells whether an envelope of that version is understood: 2, whatever comes after the point, or none.
func isKnown(version rawjson.Value) bool {
	major, _, _ := strings.Cut(version.ID(), ".")
	return major == "2" || version.IsNull()
}

func newNotice(id, eventType, timestamp rawjson.Value) Notice {
	n := Notice{ID: event.ID(id.ID())}
	n.Type, _ = eventType.Text()
	n.Readable = n.Type != ""
	if text, ok := timestamp.Text(); ok {
		if ts, err := event.ParseTimestamp(text); err == nil {
			n.Time = ts.Time()
		}
	}
	return n
}

// readPlain reads a notification in one pass over its bytes. ok is false for what needs mending, and for what is
// unusual enough to be left to rawjson.
func readPlain(body []byte) (n Notice, ok bool) {
	found, ok := readMembers(body, true)
	if ok && (found.message != nil || found.version != nil) {
		if !isKnown(found.version) {
			return Notice{}, false
		}
		found, ok = readMembers(found.message, false)
	}
	if !ok || !utf8.Valid(found.id) || !utf8.Valid(found.eventType) {
		return Notice{}, false
	}
	return newNotice(found.id, found.eventType, found.timestamp), true
}

// found are the members of an object that matter here, each nil if it is not there.
type found struct {
	id, eventType, timestamp rawjson.Value
	version                  rawjson.Value
	message                  []byte // JSON: where the value is a string, what is in it
}

// readMembers checks that text is one JSON object and nothing else, and finds its members. Of several with one name the
// last counts. ok is false also for a name that is written with escapes.
func readMembers(text []byte, outer bool) (f found, ok bool) {
	i := skipSpace(text, 0)
	if i >= len(text) || text[i] != '{' {
		return f, false
	}
	if i = skipSpace(text, i+1); i < len(text) && text[i] == '}' {
		return f, skipSpace(text, i+1) == len(text)
	}
	for i < len(text) && text[i] == '"' {
		name := i + 1
		if i = skipString(text, i); i < 0 {
			return f, false
		}
		key := text[name : i-1]
		if i = skipSpace(text, i); i >= len(text) || text[i] != ':' {
			return f, false
		}
		start := skipSpace(text, i+1)
		var inner []byte
		if outer && string(key) == messageKey && start < len(text) && text[start] == '"' {
			inner, i = unquote(text, start)
		} else if i = skipValue(text, start, 1); i > 0 {
			inner = text[start:i]
		}
		if i < 0 {
			return f, false
		}
		switch string(key) {
		case "message_id":
			f.id = text[start:i]
		case "event_type":
			f.eventType = text[start:i]
		case "timestamp":
			f.timestamp = text[start:i]
		case versionKey:
			f.version = text[start:i]
		case messageKey:
			f.message = inner
		case requestKey:
			return f, false
		default:
			if hasEscape(key) {
				return f, false
			}
		}
		if i = skipSpace(text, i); i >= len(text) {
			return f, false
		}
		if text[i] == '}' {
			return f, skipSpace(text, i+1) == len(text)
		}
		if text[i] != ',' {
			return f, false
		}
		i = skipSpace(text, i+1)
	}
	return f, false
}

func hasEscape(key []byte) bool {
	for _, c := range key {
		if c == '\\' {
			return true
		}
	}
	return false
}
