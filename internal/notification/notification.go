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
	"time"

	"stackstream/event"
	"stackstream/internal/envelope"
	"stackstream/internal/rawjson"
)

// Notice is what a collector needs to know of a notification without converting it.
type Notice struct {
	ID       event.ID  // "" if it has none
	Vague    bool      // it has one that is not all told by its text, and so is none
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

// Reader reads one notification after the other, in the memory of the one before. The zero Reader may be used.
type Reader struct{ desk envelope.Desk }

// Read reads as much of a notification as the collector needs, and of its payload no more than whether it is JSON. It takes what
// the converter takes, and keeps nothing of the body.
func (r *Reader) Read(body []byte) Notice {
	n, _ := r.read(body)
	return n
}

// read is Read, and says whether the payload is a list.
func (r *Reader) read(body []byte) (n Notice, list bool) {
	defer r.desk.Clear()
	doc, _, err := r.desk.Open(body, 2)
	if err != nil {
		return Notice{}, false
	}
	member := func(name string) rawjson.Value {
		if at := doc.Member(0, name); at >= 0 {
			return doc.Value(at)
		}
		return nil
	}
	n = newNotice(member("message_id"), member("event_type"), member("timestamp"))
	if n.doubtful() {
		l, _ := findNotification(body)
		n.settle(l.cameAs())
	}
	return n, member("payload").IsArray()
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

// doubtful tells whether the identity has to be looked at as it came.
func (n *Notice) doubtful() bool { return !rawjson.Exact(string(n.ID), "message_id", nil) }

// settle leaves out an identity that is not exact. came is what the notice is about, as it came.
func (n *Notice) settle(came []byte) {
	if !rawjson.Exact(string(n.ID), "message_id", came) {
		n.ID, n.Vague = "", true
	}
}
