package oslo

import (
	"errors"
	"fmt"
	"strings"

	"stackstream/internal/rawjson"
)

// Open takes a notification out of its envelope, if it has one, and returns its members and how many values of either
// were mended.
func Open(body []byte) (members rawjson.Object, mended int, err error) {
	outer, mended, err := rawjson.ParseMended(body)
	if err != nil {
		return nil, 0, fmt.Errorf("body: %w", err)
	}
	members, ok := outer.Members()
	if !ok {
		return nil, 0, errors.New("body: not an object")
	}
	if request, wrapped := members.Get("request").Members(); wrapped && isWrapper(members) {
		members = request
	}
	message, version := members.Get("oslo.message"), members.Get("oslo.version")
	if message == nil && version == nil {
		return members, mended, nil
	}
	if err := checkVersion(version); err != nil {
		return nil, 0, err
	}
	if text, ok := message.TextBytes(); ok {
		inner, more, err := rawjson.ParseMended(text)
		if err != nil {
			return nil, 0, fmt.Errorf("oslo.message: %w", err)
		}
		message, mended = inner, mended+more
	}
	if members, ok = message.Members(); !ok {
		return nil, 0, errors.New("oslo.message: neither an object nor a string that holds one")
	}
	return members, mended, nil
}

// isWrapper tells whether an object with a request is what AMQP 1.0 has around a notification, and none itself.
func isWrapper(members rawjson.Object) bool {
	return members.Get("oslo.message") == nil && members.Get("oslo.version") == nil && members.Get("event_type") == nil
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
