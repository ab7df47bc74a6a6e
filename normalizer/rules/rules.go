// Package rules has what all converters do alike, once an event's payload is known: which things the event touched,
// which operation it belongs to, which group and level it has, and which fields must not be shown.
//
// A converter calls Identify, then Redact, so that nothing is taken from a field that must not be shown, and Apply as its
// last step. The rules are the same whichever way an event came, so that a subscriber reads an instance's creation the
// same way from Panko and from RabbitMQ.
package rules

import (
	"errors"
	"slices"

	"stackstream/event"
	"stackstream/internal/rawjson"
)

// Config is what an operator may change of the rules. The zero Config means the defaults. See NewRedactor and Redactor for keys.
type Config struct {
	// SecretKeys are the keys whose values are replaced by *** wherever they stand, in any spelling; *x is every key that ends in
	// x. A list here takes the place of the built-in one.
	SecretKeys []string `yaml:"secret_keys"`
	// EventGroups is looked at before the built-in table of groups and levels.
	EventGroups Table `yaml:"event_groups"`
}

// Validate returns every mistake in the configuration.
func (c Config) Validate() error {
	_, err := New(c)
	return err
}

// Rules are ready to be applied, by any number of goroutines.
type Rules struct {
	subjects map[byte][]subject // by the letter that the type of the event begins with
	parts    []lookup
	table    *table
	redactor *Redactor
}

// New compiles the rules. The error names every mistake.
func New(c Config) (*Rules, error) {
	t, tableErr := newTable(c.EventGroups)
	keys := c.SecretKeys
	if keys == nil {
		keys = DefaultSecretKeys()
	}
	r, keysErr := NewRedactor(keys)
	if err := errors.Join(tableErr, keysErr); err != nil {
		return nil, err
	}
	subjects := map[byte][]subject{}
	for _, s := range newSubjects() {
		subjects[s.prefix[0]] = append(subjects[s.prefix[0]], s)
	}
	return &Rules{subjects: subjects, parts: newParts(), table: t, redactor: r}, nil
}

// Redact returns v with secrets replaced, and their number. See Redactor.
func (r *Rules) Redact(v rawjson.Value) (rawjson.Value, int) { return r.redactor.Redact(v) }

// RedactDoc is Redact for a value that was taken apart wholly.
func (r *Rules) RedactDoc(doc *rawjson.Doc) (rawjson.Value, int) { return r.redactor.redact(doc, 0) }

// Shown deletes the members whose name is a secret key, and returns the others.
func (r *Rules) Shown(members rawjson.Object) rawjson.Object {
	return slices.DeleteFunc(members, func(m rawjson.Member) bool { return r.redactor.matches(m.Name) })
}

// Apply fills in Targets, ChainID, Group and Level of e. Everything else of e must be set. docs are what the rules look
// things up in, the most trustworthy first: the members of the redacted payload, and what else the source told.
func (r *Rules) Apply(e *event.Event, docs ...rawjson.Object) {
	f := &facts{event: e}
	for _, doc := range docs {
		f.look(doc)
	}
	e.Targets = f.targets(r.subjects[firstLetter(e.EventType)], r.parts)
	e.ChainID = f.chainID()
	e.Group, e.Level = r.table.lookUp(e.EventType, e.Priority)
}

func firstLetter(eventType string) byte {
	if eventType == "" {
		return 0
	}
	return eventType[0]
}

// chainID joins the events of one operation: nova's reservation where there is one, else the API request.
func (f *facts) chainID() string {
	if id := f.first("reservation_id"); id != "" {
		return id
	}
	if f.event.Context != nil && f.event.Context.RequestID != "" {
		return f.event.Context.RequestID
	}
	return f.first("request_id", "initiator.request_id")
}
