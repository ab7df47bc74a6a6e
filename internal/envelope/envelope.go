// Package envelope takes a notification of oslo.messaging out of its envelope.
//
//	{"oslo.version": "2.0", "oslo.message": "{\"message_id\": …, \"event_type\": …, \"payload\": …, \"timestamp\": …}"}
//
// Version 2 of its format has the notification in a member, usually as a string of JSON. In version 1 it stands by itself. Over AMQP
// 1.0 the envelope is the member "request" of another object.
package envelope

import (
	"errors"
	"fmt"
	"strings"

	"stackstream/internal/rawjson"
)

// Desk is where a notification is taken apart, in the memory of the one before. The zero Desk may be used.
type Desk struct{ outer, inner rawjson.Doc }

var errNotHeld = errors.New("oslo.message: neither an object nor a string that holds one")

// Open takes a notification out of its envelope, if it has one, and so many levels of it apart: it is an object. It says how many
// values of either were mended. An envelope of another major version than 2 is refused. The notification shares memory with body and
// with the desk, until Clear.
func (d *Desk) Open(body []byte, levels int) (notification *rawjson.Doc, mended int, err error) {
	d.outer.Hold("oslo.message", &d.inner, levels)
	if mended, err = d.outer.Parse(body, 2); err != nil {
		return nil, 0, fmt.Errorf("body: %w", err)
	}
	if !d.outer.Value(0).IsObject() {
		return nil, 0, errors.New("body: not an object")
	}
	message, version := d.outer.Member(0, "oslo.message"), d.outer.Member(0, "oslo.version")
	if request := d.outer.Member(0, "request"); request >= 0 && d.outer.Value(request).IsObject() &&
		message < 0 && version < 0 && d.outer.Member(0, "event_type") < 0 {
		d.outer.Open(d.outer.Value(request), 2)
		message, version = d.outer.Member(0, "oslo.message"), d.outer.Member(0, "oslo.version")
	}
	if message < 0 && version < 0 {
		if levels > 2 {
			d.outer.Open(d.outer.Value(0), levels)
		}
		return &d.outer, mended, nil
	}
	if version >= 0 {
		if err := checkVersion(d.outer.Value(version)); err != nil {
			return nil, 0, err
		}
	}
	if message < 0 {
		return nil, 0, errNotHeld
	}
	held := d.outer.Value(message)
	switch {
	case d.outer.Held(message):
	case held.IsObject():
		d.inner.Open(held, levels)
	default:
		text, ok := d.outer.Text(message)
		if !ok {
			return nil, 0, errNotHeld
		}
		more, err := d.inner.Parse(text, levels)
		if err != nil {
			return nil, 0, fmt.Errorf("oslo.message: %w", err)
		}
		mended += more
	}
	if !d.inner.Value(0).IsObject() {
		return nil, 0, errNotHeld
	}
	return &d.inner, mended, nil
}

// checkVersion refuses envelopes of another major version than 2. One that does not say its version is taken for one of
// version 2: there was no envelope before.
func checkVersion(v rawjson.Value) error {
	if v.IsNull() {
		return nil
	}
	if major, _, _ := strings.Cut(v.ID(), "."); major != "2" {
		return errors.New("oslo.version: want 2.x")
	}
	return nil
}

// Clear lets go of what was opened.
func (d *Desk) Clear() {
	d.outer.Forget()
	d.inner.Forget()
}
