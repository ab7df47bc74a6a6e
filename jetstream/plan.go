package jetstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// Plan says for every stream what would have to be done so that it is as the layout wants it.
type Plan struct {
	Streams []StreamPlan
}

// StreamPlan is what there is to do about one stream. It is missing, or differs in Changes, or is as it should be.
type StreamPlan struct {
	Name    string
	Missing bool
	Changes []Change
	// Optional: all but what the stream is for works without it, and as it is. Problem is then why nothing can be done about it.
	Optional bool
	Problem  error

	anySize bool
	want    natsjs.StreamConfig
	have    natsjs.StreamConfig // unless Missing
}

// Change is one setting of a stream that is not as the layout wants it.
type Change struct {
	Field      string
	Have, Want string
	// Vital: without it the stream does not keep what this project promises.
	Vital bool
	// Fixed: the server can't change it; the stream would have to be made anew.
	Fixed bool
}

// Missing tells whether a stream has to be created before anything works.
func (p Plan) Missing() bool {
	return slices.ContainsFunc(p.Streams, func(s StreamPlan) bool { return s.Missing && !s.Optional })
}

// Lacks returns an optional stream that is missing, nil if there is none.
func (p Plan) Lacks() *StreamPlan {
	for i := range p.Streams {
		if s := &p.Streams[i]; s.Missing && s.Optional {
			return s
		}
	}
	return nil
}

// Differs tells whether a stream that exists has other settings than the layout.
func (p Plan) Differs() bool {
	for _, s := range p.Streams {
		if len(s.Changes) > 0 {
			return true
		}
	}
	return false
}

// HalfRestored returns an error of the kind event.Invalid that says so, and the way out, if a restore has not ended. Nothing may use
// or make streams then.
func (p Plan) HalfRestored() error {
	const op = "use the streams"
	half := ""
	for _, s := range p.Streams {
		if m := markIn(s.have.Metadata); m != nil {
			return notWhole(op, "", m)
		}
		if half == "" && s.have.Metadata[metaRestoring] != "" {
			half = s.Name
		}
	}
	if half != "" {
		return notWhole(op, half, nil)
	}
	return nil
}

// Broken returns an error of the kind event.Invalid that says that a restore has not ended or names every vital setting that
// differs, or nil. Nothing may write to streams like that. What an optional stream is like concerns only those who write to it.
func (p Plan) Broken() error {
	if err := p.HalfRestored(); err != nil {
		return err
	}
	needed := Plan{Streams: slices.DeleteFunc(slices.Clone(p.Streams), func(s StreamPlan) bool { return s.Optional })}
	return needed.broken()
}

func (p Plan) broken() error {
	return p.complain(func(c Change) bool { return c.Vital },
		"use the streams", "not as stackstream needs it; `stackstream provision --apply` changes it")
}

// stuck returns an error that names every setting that differs and can't be changed.
func (p Plan) stuck() error {
	return p.complain(func(c Change) bool { return c.Fixed },
		"change the streams", "the server can't change it; nothing was changed")
}

// smallerFirst lists the streams, those first that are to take less: what they give up may be what others need.
func (p Plan) smallerFirst() []StreamPlan {
	shrinks := func(s StreamPlan) bool { return !s.Missing && s.adopt().MaxBytes < s.have.MaxBytes }
	var first, rest []StreamPlan
	for _, s := range p.Streams {
		if shrinks(s) {
			first = append(first, s)
		} else {
			rest = append(rest, s)
		}
	}
	return append(first, rest...)
}

func (p Plan) complain(about func(Change) bool, op, why string) error {
	var found []string
	for _, s := range p.Streams {
		for _, c := range s.Changes {
			if about(c) {
				found = append(found, fmt.Sprintf("%s has %s %s, wanted %s", s.Name, c.Field, c.Have, c.Want))
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	return invalid(op, errors.New(strings.Join(found, "; ")+": "+why))
}

// Write prints the plan for people, a line or more per stream.
func (p Plan) Write(w io.Writer) error {
	var b strings.Builder
	for _, s := range p.Streams {
		switch {
		case s.Problem != nil:
			fmt.Fprintf(&b, "! %s is missing, and only replays need it: %v\n", s.Name, s.Problem)
		case s.Missing:
			fmt.Fprintf(&b, "+ %s is missing\n", s.Name)
			for _, f := range fields {
				if f.shown {
					fmt.Fprintf(&b, "    %s: %s\n", f.name, f.show(s.want))
				}
			}
		case len(s.Changes) > 0:
			fmt.Fprintf(&b, "~ %s differs\n", s.Name)
			for _, c := range s.Changes {
				note := ""
				switch {
				case c.Fixed:
					note = "  (the server can't change this)"
				case c.Vital:
					note = "  (needed for correctness)"
				}
				fmt.Fprintf(&b, "    %s: %s -> %s%s\n", c.Field, c.Have, c.Want, note)
			}
		default:
			fmt.Fprintf(&b, "= %s\n", s.Name)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// field is a setting of a stream that a layout decides on. Settings that are not listed are nobody's business here:
// the server's defaults, placement, descriptions, metadata of other tools.
type field struct {
	name  string
	vital bool
	shown bool                                      // in the plan of a stream that is missing
	of    func(c *natsjs.StreamConfig) any          // pointer to the setting
	fixed func(have, want natsjs.StreamConfig) bool // whether the server refuses the change; nil: never
}

//nolint:gochecknoglobals // a table that nobody changes
var fields = []field{
	{name: "subjects", vital: true, shown: true, of: func(c *natsjs.StreamConfig) any { return &c.Subjects }},
	{name: "subject_transform", vital: true, of: func(c *natsjs.StreamConfig) any { return &c.SubjectTransform }},
	{name: "republish", vital: true, of: func(c *natsjs.StreamConfig) any { return &c.RePublish }},
	{name: "sources", vital: true, of: func(c *natsjs.StreamConfig) any { return &c.Sources }},
	{
		name: "mirror", vital: true, of: func(c *natsjs.StreamConfig) any { return &c.Mirror },
		fixed: func(_, _ natsjs.StreamConfig) bool { return true },
	},
	{
		name: "storage", vital: true, shown: true, of: func(c *natsjs.StreamConfig) any { return &c.Storage },
		fixed: func(_, _ natsjs.StreamConfig) bool { return true },
	},
	{
		name: "retention", vital: true, of: func(c *natsjs.StreamConfig) any { return &c.Retention },
		fixed: func(have, _ natsjs.StreamConfig) bool { return have.Retention == natsjs.WorkQueuePolicy },
	},
	{name: "discard", vital: true, shown: true, of: func(c *natsjs.StreamConfig) any { return &c.Discard }},
	{name: "discard_new_per_subject", vital: true, of: func(c *natsjs.StreamConfig) any { return &c.DiscardNewPerSubject }},
	{name: "allow_atomic", vital: true, of: func(c *natsjs.StreamConfig) any { return &c.AllowAtomicPublish }},
	{name: "allow_rollup_hdrs", vital: true, of: func(c *natsjs.StreamConfig) any { return &c.AllowRollup }},
	{
		name: "allow_msg_ttl", vital: true, of: func(c *natsjs.StreamConfig) any { return &c.AllowMsgTTL },
		fixed: func(have, want natsjs.StreamConfig) bool { return have.AllowMsgTTL && !want.AllowMsgTTL },
	},
	{name: "subject_delete_marker_ttl", of: func(c *natsjs.StreamConfig) any { return &c.SubjectDeleteMarkerTTL }},
	{name: "allow_direct", vital: true, of: func(c *natsjs.StreamConfig) any { return &c.AllowDirect }},
	{name: "no_ack", vital: true, of: func(c *natsjs.StreamConfig) any { return &c.NoAck }},
	{
		name: "sealed", vital: true, of: func(c *natsjs.StreamConfig) any { return &c.Sealed },
		fixed: func(_, _ natsjs.StreamConfig) bool { return true },
	},
	{
		name: "deny_delete", of: func(c *natsjs.StreamConfig) any { return &c.DenyDelete },
		fixed: func(have, want natsjs.StreamConfig) bool { return have.DenyDelete && !want.DenyDelete },
	},
	{
		name: "deny_purge", vital: true, of: func(c *natsjs.StreamConfig) any { return &c.DenyPurge },
		fixed: func(have, want natsjs.StreamConfig) bool { return have.DenyPurge && !want.DenyPurge },
	},
	{name: "max_msgs", vital: true, of: func(c *natsjs.StreamConfig) any { return &c.MaxMsgs }},
	{name: "max_msgs_per_subject", vital: true, of: func(c *natsjs.StreamConfig) any { return &c.MaxMsgsPerSubject }},
	{name: maxBytes, shown: true, of: func(c *natsjs.StreamConfig) any { return &c.MaxBytes }},
	{name: "max_msg_size", of: func(c *natsjs.StreamConfig) any { return &c.MaxMsgSize }},
	{name: "max_age", shown: true, of: func(c *natsjs.StreamConfig) any { return &c.MaxAge }},
	{name: "compression", of: func(c *natsjs.StreamConfig) any { return &c.Compression }},
	{name: "num_replicas", shown: true, of: func(c *natsjs.StreamConfig) any { return &c.Replicas }},
}

const maxBytes = "max_bytes"

// compare lists what differs between a stream and its target.
func compare(have natsjs.StreamConfig, want target) []Change {
	var changes []Change
	for _, f := range fields {
		if f.name == maxBytes && want.anySize && have.MaxBytes > 0 {
			continue
		}
		was, is := f.show(have), f.show(want.config)
		if was == is {
			continue
		}
		changes = append(changes, Change{
			Field: f.name, Have: was, Want: is, Vital: f.vital, Fixed: f.fixed != nil && f.fixed(have, want.config),
		})
	}
	return changes
}

// adopt returns have with the settings that differ taken from want. The window for duplicates, which nothing here uses,
// follows where the server insists that it ends with the age.
func (s StreamPlan) adopt() natsjs.StreamConfig {
	out := s.have
	for _, c := range s.Changes {
		for _, f := range fields {
			if f.name == c.Field {
				reflect.ValueOf(f.of(&out)).Elem().Set(reflect.ValueOf(f.of(&s.want)).Elem())
			}
		}
	}
	if out.MaxAge > 0 {
		out.Duplicates = min(out.Duplicates, out.MaxAge)
	}
	return out
}

// show writes the setting as people and the server's own tools write it.
func (f field) show(c natsjs.StreamConfig) string {
	switch v := reflect.ValueOf(f.of(&c)).Elem().Interface().(type) {
	case []string:
		return strings.Join(v, " ")
	case fmt.Stringer: // durations and the enumerations
		return strings.ToLower(v.String())
	case bool, int, int32, int64:
		return fmt.Sprint(v)
	default:
		if reflect.ValueOf(v).IsZero() {
			return "none"
		}
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return err.Error()
		}
		return strings.TrimSpace(b.String())
	}
}
