package event

import "encoding/json"

// Event is the canonical event. Its JSON form is the body of a NORMALIZED message; the schema is in the package
// normalizer. MessageID, EventType, Timestamp and Payload are always present and never change name or meaning; the
// rest is present when known.
type Event struct {
	MessageID string    `json:"message_id"`
	EventType string    `json:"event_type"`
	Timestamp Timestamp `json:"timestamp"`
	// Payload is the source's own, value for value: numbers keep every digit and unknown fields stay; the order of
	// keys may change.
	Payload json.RawMessage `json:"payload"`

	Provider    Provider `json:"provider"`
	Source      Source   `json:"source"`
	PublisherID string   `json:"publisher_id,omitempty"`
	Priority    string   `json:"priority,omitempty"`
	Context     *Context `json:"context,omitempty"`
	// Targets names what the event touched, most specific first.
	Targets []Target `json:"targets,omitempty"`
	// ChainID joins the events of one operation.
	ChainID string `json:"chain_id,omitempty"`
	Group   string `json:"group,omitempty"`
	Level   string `json:"level,omitempty"`
	Message string `json:"message,omitempty"`
	// BodyObject is set in a message whose event was too large for it: the object that holds the whole canonical
	// event. Payload is null then.
	BodyObject *BodyObject `json:"body_object,omitempty"`

	compact json.RawMessage // see SetCompact
}

// SetCompact sets the Payload to JSON without space between its values, which the caller knows it to be: Encode takes it as it is.
func (e *Event) SetCompact(payload json.RawMessage) { e.Payload, e.compact = payload, payload }

// isCompact tells whether the Payload is still the one of SetCompact.
func (e *Event) isCompact() bool {
	return len(e.Payload) > 0 && len(e.Payload) == len(e.compact) && &e.Payload[0] == &e.compact[0]
}

// Context says on whose behalf the operation ran.
type Context struct {
	RequestID string `json:"request_id,omitempty"`
	UserID    string `json:"user_id,omitempty"`
	UserName  string `json:"user_name,omitempty"`
	ProjectID string `json:"project_id,omitempty"`
}

// Target is a thing that an event touched.
type Target struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

// BodyObject names an object of a bucket.
type BodyObject struct {
	Bucket string `json:"bucket"`
	Name   string `json:"name"`
	Size   int64  `json:"size"`
}

// Reason is why a raw event became a dead letter, one word for counting.
type Reason string

// The reasons.
const (
	ReasonNoConverter Reason = "no-converter" // nothing converts its format
	ReasonMalformed   Reason = "malformed"    // the body is not what its format says
	ReasonPanic       Reason = "panic"        // the converter panicked
	ReasonBodyLost    Reason = "body-lost"    // the object that held its body is gone
	ReasonTooMany     Reason = "too-many"     // it gives more events than one atomic batch takes
	ReasonUnwritable  Reason = "unwritable"   // what the converter made of it has no JSON form, or no small enough one
)

// Reasons are all of them.
func Reasons() []Reason {
	return []Reason{ReasonNoConverter, ReasonMalformed, ReasonPanic, ReasonBodyLost, ReasonTooMany, ReasonUnwritable}
}

// DeadLetter is what is said about a raw event that could not be converted; the event itself goes with it, whole.
type DeadLetter struct {
	Reason Reason
	Detail string // the error
}

// Outcome is what became of one raw event: events, or a dead letter. Both empty means that it was dealt with before.
type Outcome struct {
	Raw       StoredRaw
	Events    []Event
	Dead      *DeadLetter
	Converter string // name/version
	Redacted  int    // fields whose value was redacted
	Mended    int    // values that were no JSON and became strings or part of one
	Trace     Trace  // of the operation that Events tell of
}
