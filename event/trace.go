package event

import "strings"

// Trace is the W3C trace context of the operation that an event tells of. The zero Trace is none.
type Trace struct {
	Parent string // "00-<trace id>-<span id>-<flags>"
	State  string // what the tracing systems on the way added, "" for nothing
}

// maxTraceState is how many bytes of a state must be handed on; a longer one need not be.
const maxTraceState = 512

// NewTrace is the trace of a parent and a state, as a source has them. It is none where the parent is not one, and has no state
// where that is not one: neither is worth anything then, and an event is not worth less for it.
func NewTrace(parent, state string) Trace {
	if !isTraceparent(parent) {
		return Trace{}
	}
	if !isTracestate(state) {
		state = ""
	}
	return Trace{Parent: parent, State: state}
}

// isTraceparent tells whether s is one of version 00 whose ids are not all zeros.
func isTraceparent(s string) bool {
	if len(s) != len("00-")+32+len("-")+16+len("-00") {
		return false
	}
	parts := strings.Split(s, "-")
	if len(parts) != 4 || parts[0] != "00" {
		return false
	}
	for i, digits := range []int{2, 32, 16, 2} {
		if len(parts[i]) != digits || strings.Trim(parts[i], "0123456789abcdef") != "" {
			return false
		}
	}
	return strings.Trim(parts[1], "0") != "" && strings.Trim(parts[2], "0") != ""
}

// isTracestate tells whether s is a list of at most 32 key=value, with keys of the characters allowed in them.
func isTracestate(s string) bool {
	if s == "" || len(s) > maxTraceState {
		return false
	}
	members := strings.Split(s, ",")
	if len(members) > 32 {
		return false
	}
	for _, m := range members {
		m = strings.Trim(m, " \t")
		if m == "" {
			continue
		}
		key, value, ok := strings.Cut(m, "=")
		if !ok || key == "" || value == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789_-*/@") != "" {
			return false
		}
		for i := range len(value) {
			if c := value[i]; c < ' ' || c > '~' || c == '=' {
				return false
			}
		}
	}
	return true
}
