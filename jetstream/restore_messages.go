package jetstream

import (
	"encoding/json"
	"strings"
	"time"
)

// setRawCreated has a normalizer's cursor speak of the RAW stream that was restored.
func setRawCreated(m *message, created time.Time) error {
	const field = "raw_created"
	if !isCursor(m.subject) {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(m.body, &fields); err != nil || fields[field] == nil {
		return nil // not a cursor that says
	}
	var err error
	if fields[field], err = json.Marshal(created); err != nil {
		return err
	}
	m.body, err = json.Marshal(fields)
	return err
}

// dropIdentity takes from a copied message which incarnation of the stream it was copied from. Without it the server goes on
// behind the last copy; with that of a stream that is made anew it would copy all of it again.
func dropIdentity(m *message) error {
	const parts = 5 // stream, sequence, filter, transform, subject; then the identity
	source := headerValue(m.header, headerSource)
	if fields := strings.Split(source, " "); len(fields) > parts {
		m.header = []byte(strings.Replace(string(m.header), source, strings.Join(fields[:parts], " "), 1))
	}
	return nil
}
