// Package mapping says how a record of an event service becomes an event, by expressions of the configuration: what
// identifies it is read where it is collected, the rest where it is normalized, so that a mapping that was wrong can be
// mended and what was collected with it be normalized again.
package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"stackstream/event"
	"stackstream/internal/expr"
	"stackstream/internal/rawjson"
	"stackstream/internal/timeform"
)

// HeaderPartition is the header of a raw event with the value of its partition; HeaderPartitionName has the name by which
// expressions know it.
const (
	HeaderPartition     = "Evt-Partition"
	HeaderPartitionName = "Evt-Partition-Name"
)

// Config has an expression for each part of an event. They may use rec, the record, and partition, the texts that name the part
// of the service that it came from.
type Config struct {
	// ID is an expression for what identifies an event, for ever. Without it, or where a record has none, a hash of the record does.
	ID string `yaml:"id"`
	// Type is an expression for the type of the event: rec.action, or a text in quotes where all are of one type.
	Type string `yaml:"type"`
	// Time is an expression for the time of the event, written as TimeFormat says, or a timestamp of CEL. Without it, or where a
	// record has none, it is the cursor's field, or else the time of receipt.
	Time string `yaml:"time"`
	// TimeFormat says how Time is written: rfc3339, unix, unix_ms, unix_us, unix_ns, http, date, or a layout of the moment
	// 2006-01-02 15:04:05. Several are tried in order. Without it the forms that rfc3339 reads are.
	TimeFormat timeform.Forms `yaml:"time_format"`
	// Payload is an expression for what the event carries; without it the record.
	Payload string `yaml:"payload"`
	// Publisher is an expression for what told of the event: a service, a host.
	Publisher string `yaml:"publisher"`
	// Priority is an expression for how important the service takes it.
	Priority string `yaml:"priority"`
	// Message is an expression for a text for people.
	Message string  `yaml:"message"`
	Context Context `yaml:"context"`
	// Targets has an expression for the id of each kind of thing that the event is about: {server: rec.server_id}.
	Targets map[string]string `yaml:"targets"`
	// Traceparent is an expression for the trace context of what happened, as HTTP requests have it in their header of that name. So do
	// the messages then; what is no trace context is left out.
	Traceparent string `yaml:"traceparent"`
	// Tracestate is an expression for what tracing systems added to it.
	Tracestate string `yaml:"tracestate"`
}

// Context has expressions for who did it.
type Context struct {
	// RequestID is an expression for the id of the request that caused the event.
	RequestID string `yaml:"request_id"`
	// UserID is an expression for the id of the user who did it.
	UserID string `yaml:"user_id"`
	// UserName is an expression for the name of the user who did it.
	UserName string `yaml:"user_name"`
	// ProjectID is an expression for the id of the project, tenant or account that it happened in.
	ProjectID string `yaml:"project_id"`
}

// Problem is a mistake in an expression: Field is the path below the mapping.
type Problem struct{ Field, Msg string }

// Mapping is a compiled Config. It is safe for concurrent use.
type Mapping struct {
	id, typ, at, payload *expr.Program
	traceparent          *expr.Program
	tracestate           *expr.Program
	forms                timeform.Forms
	texts                []textField
	targets              []target
	version              string
}

type textField struct {
	field   string
	program *expr.Program
	set     func(e *event.Event, text string)
}

type target struct {
	kind    string
	program *expr.Program
}

// Compile compiles the expressions and returns every mistake in them.
func Compile(c Config) (*Mapping, []Problem) {
	var found []Problem
	env, err := expr.NewEnv(map[string]expr.Type{"rec": expr.Any, "partition": expr.Map})
	if err != nil {
		return nil, []Problem{{"", err.Error()}}
	}
	compile := func(field, text string, want expr.Type) *expr.Program {
		if text == "" {
			return nil
		}
		p, err := env.Compile(text, want)
		if err != nil {
			found = append(found, Problem{field, err.Error()})
		}
		return p
	}
	m := &Mapping{
		id: compile("id", c.ID, expr.Text), typ: compile("type", c.Type, expr.Text), at: compile("time", c.Time, expr.Text),
		payload: compile("payload", c.Payload, expr.Any), forms: c.TimeFormat,
		traceparent: compile("traceparent", c.Traceparent, expr.Text), tracestate: compile("tracestate", c.Tracestate, expr.Text),
	}
	if c.Type == "" {
		found = append(found, Problem{"type", "is missing: an expression for the type of an event, or a text in quotes"})
	}
	for i, form := range c.TimeFormat {
		if err := form.Check(); err != nil {
			found = append(found, Problem{fmt.Sprintf("time_format[%d]", i), err.Error()})
		}
	}
	for _, f := range []struct {
		field, text string
		set         func(e *event.Event, text string)
	}{
		{"publisher", c.Publisher, func(e *event.Event, text string) { e.PublisherID = text }},
		{"priority", c.Priority, func(e *event.Event, text string) { e.Priority = text }},
		{"message", c.Message, func(e *event.Event, text string) { e.Message = text }},
		{"context.request_id", c.Context.RequestID, func(e *event.Event, text string) { e.Context.RequestID = text }},
		{"context.user_id", c.Context.UserID, func(e *event.Event, text string) { e.Context.UserID = text }},
		{"context.user_name", c.Context.UserName, func(e *event.Event, text string) { e.Context.UserName = text }},
		{"context.project_id", c.Context.ProjectID, func(e *event.Event, text string) { e.Context.ProjectID = text }},
	} {
		if p := compile(f.field, f.text, expr.Text); p != nil {
			m.texts = append(m.texts, textField{f.field, p, f.set})
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(c.Targets)) {
		if p := compile("targets."+kind, c.Targets[kind], expr.Text); p != nil {
			m.targets = append(m.targets, target{kind, p})
		}
	}
	text := fmt.Sprintf("%q", []any{c})
	if c.Traceparent == "" && c.Tracestate == "" {
		text = strings.TrimSuffix(text, ` "" ""}]`) + "}]" // what it was before there were these two
	}
	sum := sha256.Sum256([]byte(text))
	m.version = hex.EncodeToString(sum[:4])
	return m, found
}

// Version changes with the mapping.
func (m *Mapping) Version() string { return m.version }

// Vars are the variables of the expressions for a record.
func Vars(rec expr.Record, partition map[string]string) expr.Vars {
	vars := make(expr.Vars, 2)
	SetVars(vars, rec, partition)
	return vars
}

// SetVars makes variables those of a record.
func SetVars(vars expr.Vars, rec expr.Record, partition map[string]string) {
	if partition == nil {
		partition = map[string]string{}
	}
	vars["rec"], vars["partition"] = rec, partition
}

// Record is the record of variables that Vars made.
func Record(vars expr.Vars) expr.Record {
	rec, _ := vars["rec"].(expr.Record)
	return rec
}

// ID is what identifies a record, "" where it has nothing that does. It is exact if nothing that it was made of had to be mended to be
// text, or rounded to be a double: two records that differ only there would be one. came is the record as it came. Who counts memory is
// asked by take, as expr.NewMeteredRecord does; nil grants everything.
func (m *Mapping) ID(vars expr.Vars, came rawjson.Value, take func(bytes int64) bool) (id event.ID, exact bool) {
	if m.id == nil {
		return "", true
	}
	id = event.ID(optional(m.id, vars))
	if id != "" && Record(vars).Rounded() && m.rounds(id, vars) {
		return id, false
	}
	if id == "" || m.id.Selects() && !strings.ContainsRune(string(id), utf8.RuneError) || came.Exact() {
		return id, true
	}
	if take == nil {
		take = func(int64) bool { return true }
	}
	if !take(mending*int64(len(came)) + rawjson.PartSize*int64(rawjson.MostParts(came))) {
		return id, false
	}
	var doc rawjson.Doc
	if _, err := doc.Parse(came.Otherwise(), rawjson.All); err != nil {
		return id, false
	}
	other := maps.Clone(vars)
	other["rec"] = expr.NewMeteredRecord(doc, take)
	return id, event.ID(optional(m.id, other)) == id
}

// rounds tells whether there is something in an id of a number that was rounded. A condition, or a part that is whole, mostly has not.
func (m *Mapping) rounds(id event.ID, vars expr.Vars) bool {
	other := maps.Clone(vars)
	for nudged := range Record(vars).Nudged() {
		if other["rec"] = nudged; event.ID(optional(m.id, other)) != id {
			return true
		}
	}
	return false
}

// mending is how many times as long as a record it is to mend it in another way, and to take that apart.
const mending = 8

// Type is the type of a record's event.
func (m *Mapping) Type(vars expr.Vars) (string, error) {
	val, err := m.typ.Eval(vars)
	if err != nil {
		return "", fmt.Errorf("type: %w", err)
	}
	text, err := val.Text()
	if err == nil && text == "" {
		err = errors.New("is empty")
	}
	if err != nil {
		return "", fmt.Errorf("type: %s: %w", m.typ, err)
	}
	return text, nil
}

// Time is the time of a record's event; zero where it has none.
func (m *Mapping) Time(vars expr.Vars) (time event.Timestamp, ok bool, err error) {
	if m.at == nil {
		return time, false, nil
	}
	val, err := m.at.Eval(vars)
	if errors.Is(err, expr.ErrMissing) || err == nil && val.IsNothing() {
		return time, false, nil
	}
	if err != nil {
		return time, false, fmt.Errorf("time: %w", err)
	}
	if at, ok := val.Time(); ok {
		return event.NewTimestamp(at), true, nil
	}
	text, err := val.Text()
	if err != nil {
		return time, false, fmt.Errorf("time: %s: %w", m.at, err)
	}
	if text == "" {
		return time, false, nil
	}
	if len(m.forms) == 0 {
		if time, err = event.ParseTimestamp(text); err != nil {
			return time, false, fmt.Errorf("time: %s is no time in a known form (see time_format)", m.at)
		}
		return time, true, nil
	}
	at, err := m.forms.Parse(text)
	if err != nil {
		return time, false, fmt.Errorf("time: %s: %w", m.at, err)
	}
	return event.NewTimestamp(at), true, nil
}

// Payload is the payload of a record's event.
func (m *Mapping) Payload(rec rawjson.Value, vars expr.Vars) (rawjson.Value, error) {
	if m.payload == nil {
		return rec, nil
	}
	val, err := m.payload.Eval(vars)
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	out, err := val.JSON()
	if err != nil {
		return nil, fmt.Errorf("payload: %s: %w", m.payload, err)
	}
	return out, nil
}

// Trace is the trace context of what happened. What is not in the record, or can't be one, is left out.
func (m *Mapping) Trace(vars expr.Vars) event.Trace {
	return event.NewTrace(optional(m.traceparent, vars), optional(m.tracestate, vars))
}

// Describe fills in what else is known of an event. What a record does not have is left out.
func (m *Mapping) Describe(e *event.Event, vars expr.Vars) {
	e.Context = &event.Context{}
	for _, f := range m.texts {
		if text := optional(f.program, vars); text != "" {
			f.set(e, text)
		}
	}
	if *e.Context == (event.Context{}) {
		e.Context = nil
	}
	for _, t := range m.targets {
		if id := optional(t.program, vars); id != "" {
			e.Targets = append(e.Targets, event.Target{Kind: t.kind, ID: id})
		}
	}
}

// optional is the text of an expression, "" where there is none.
func optional(p *expr.Program, vars expr.Vars) string {
	if p == nil {
		return ""
	}
	val, err := p.Eval(vars)
	if err != nil {
		return ""
	}
	text, err := val.Text()
	if err != nil {
		return ""
	}
	return text
}
