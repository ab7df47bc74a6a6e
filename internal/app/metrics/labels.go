package metrics

import (
	"slices"

	"stackstream/collectors/amqp1"
	"stackstream/event"
)

// Names of labels that several metrics have.
const (
	provider = "provider"
	source   = "source"
	stream   = "stream"
	durable  = "durable"
)

// other is the value of a label for all that has none of its own.
const other = "other"

//nolint:gochecknoglobals // tables that nobody changes
var (
	dropReasons = []string{"maxlen", "expired", other}
	// rejectReasons are those for which messages are rejected over AMQP 1.0.
	rejectReasons = append(amqp1.Reasons(), other)
	gapsOf        = []string{"exchange", other}
	retryReasons  = []string{"error", "token", "reset", "marker", "wait", "size", "part", other}
	oddities      = []string{
		"no-id", "no-time", "no-cursor", "not-json", "not-utf8", "rounded", "disorder", "too-early", "unfiltered", other,
	}
	reasons = []string{
		string(event.ReasonNoConverter), string(event.ReasonMalformed), string(event.ReasonPanic), string(event.ReasonBodyLost),
		string(event.ReasonTooMany), string(event.ReasonUnwritable), other,
	}
	states = []event.State{
		event.StateStarting, event.StateStandby, event.StateLive, event.StateDegraded, event.StateBackoff, event.StateStopped,
		event.StateIdle, event.StatePaused,
	}
)

// oneOf bounds the values of a label.
func oneOf(known []string, value string) string {
	if slices.Contains(known, value) {
		return value
	}
	return other
}

// backfill is what sources are called together that are made for a job each: there may be any number of them.
const backfill = "backfill"

// sourceName is the value of the label source: sources that the configuration has are shown by their names.
func sourceName(s event.Source) string {
	if s.Kind() == backfill {
		return backfill
	}
	return string(s)
}
