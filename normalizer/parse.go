package normalizer

import (
	"fmt"

	"stackstream/event"
)

// maxObject is longer than the name of any object with a body.
const maxObject = 100

// ParseRaw reads a message of RAW, which is to be one of the provider. malformed says why it is none that a collector wrote;
// the raw event is then described as far as it can be. It keeps its place by its sequence in the stream, and its number is
// believed only where it is the next one of its source: otherwise a stray message could make it look as if events were
// missing. err says that a newer version has written the message.
func ParseRaw(
	m event.Stored, p event.Provider, next func(event.Source) event.Seq,
) (raw event.StoredRaw, malformed, err error) {
	raw, malformed = event.ParseRaw(m)
	switch {
	case isNewer(malformed):
		return raw, nil, malformed
	case malformed == nil && raw.Provider == p:
		return raw, nil, nil
	case malformed == nil:
		malformed = fmt.Errorf("subject is %q", m.Subject)
	}
	return foreign(m, p, next), malformed, nil
}

// foreign describes a message that no collector wrote.
func foreign(m event.Stored, provider event.Provider, next func(event.Source) event.Seq) event.StoredRaw {
	raw := event.StoredRaw{
		Raw: event.Raw{
			ID:          event.ID(event.DecodeHeader(m.Header.Get(event.HeaderID))),
			Received:    m.Time,
			Format:      event.DecodeHeader(m.Header.Get(event.HeaderFormat)),
			ContentType: event.DecodeHeader(m.Header.Get(event.HeaderContentType)),
			Header:      map[string]string{},
			Body:        m.Body,
		},
		Provider: provider, Sequence: m.Sequence, StoredAt: m.Time,
	}
	// A body that is there is the body, whatever a header says.
	if ref := event.BodyRefOf(m.Header); len(m.Body) == 0 && len(ref.Object) <= maxObject {
		raw.BodyRef = ref
	}
	for name := range m.Header {
		raw.Header[name] = event.DecodeHeader(m.Header.Get(name))
	}
	if raw.ID == "" {
		raw.ID, raw.Hashed = event.HashID(m.Body), true
	}
	if p, source, ok := event.SubjectProvider(m.Subject); ok && p == provider {
		raw.Source = source
	}
	parsed, _ := event.ParseRaw(m)
	if raw.Source != "" && parsed.Source == raw.Source && parsed.Seq == next(raw.Source) {
		raw.Seq = parsed.Seq
	}
	return raw
}
