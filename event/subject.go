package event

import "strings"

// The streams.
const (
	StreamRaw        = "EVENTS_RAW"
	StreamNormalized = "EVENTS_NORMALIZED"
	StreamDead       = "EVENTS_DEAD"
	// BucketBodies is the object store for bodies that are too large for a message.
	BucketBodies = "EVENTS_BODIES"
)

// Subjects as they are stored and as subscribers see them. Nobody publishes on them: writers publish on the same
// subject with "ingest." in place of "events.", and the streams store and republish what was committed.
const (
	prefixRaw              = "events.raw."
	prefixNormalized       = "events.normalized."
	prefixDead             = "events.dead."
	prefixDeadState        = "events.deadstate."
	prefixCursor           = "events.cursor."
	prefixCursorRaw        = "events.cursor.raw."
	prefixCursorNormalized = "events.cursor.normalized."
)

// RawSubject is where the raw events of one source are.
func RawSubject(p Provider, s Source) string { return prefixRaw + string(p) + "." + string(s) }

// RawSubjects matches the raw events of all sources of a provider.
func RawSubjects(p Provider) string { return prefixRaw + string(p) + ".>" }

// NormalizedSubject is where the canonical events of a provider are: always this one token below events.normalized, so
// that a subscriber on events.normalized.* sees everything.
func NormalizedSubject(p Provider) string { return prefixNormalized + string(p) }

// DeadSubject is where raw events that could not be converted are.
func DeadSubject(p Provider) string { return prefixDead + string(p) }

// NormalizedSubjects matches all that NORMALIZED has of a provider, but for its cursor and the commands.
func NormalizedSubjects(p Provider) string { return "events.*." + string(p) }

// DeadStateSubject is where the later fate of dead letters is recorded.
func DeadStateSubject(p Provider) string { return prefixDeadState + string(p) }

// RawCursorSubject holds the RawCursor of one source.
func RawCursorSubject(p Provider, s Source) string {
	return prefixCursorRaw + string(p) + "." + string(s)
}

// RawCursorSubjects matches the RawCursor of every source of a provider, and not its Choice.
func RawCursorSubjects(p Provider) string { return prefixCursorRaw + string(p) + ".*" }

// ChoiceSubject holds the Choice of a provider: which kind of source collects for it.
func ChoiceSubject(p Provider) string { return prefixCursorRaw + string(p) }

// NormalizedCursorSubject holds the NormalizedCursor of a provider.
func NormalizedCursorSubject(p Provider) string { return prefixCursorNormalized + string(p) }

// SharedSubject holds the Shared record of a provider.
func SharedSubject(p Provider) string { return RawCursorSubject(p, noSource) + ".shared" }

// Commands are recorded below the cursor they changed, and those about the choice of source below a source of no name.
const (
	suffixCommands = ".commands"
	noSource       = "_"
)

// RawCommandsSubject has the commands that changed the RawCursor of a source, or the Choice if s is "".
func RawCommandsSubject(p Provider, s Source) string {
	if s == "" {
		s = noSource
	}
	return RawCursorSubject(p, s) + suffixCommands
}

// NormalizedCommandsSubject has the commands that changed the NormalizedCursor of a provider.
func NormalizedCommandsSubject(p Provider) string { return NormalizedCursorSubject(p) + suffixCommands }

// CommandsOf returns what the commands on a stored subject are about: the provider, and the source unless it is the choice or
// the NormalizedCursor that they changed.
func CommandsOf(subject string) (p Provider, s Source, ok bool) {
	rest, ok := strings.CutSuffix(subject, suffixCommands)
	if !ok {
		return "", "", false
	}
	if p, s, ok = SubjectProvider(rest); s == noSource {
		s = ""
	}
	return p, s, ok
}

// IsCommands tells whether a stored subject has commands.
func IsCommands(subject string) bool {
	return strings.HasPrefix(subject, prefixCursor) && strings.HasSuffix(subject, suffixCommands)
}

// SubjectProvider returns the provider, and where the subject has one the source, that a stored subject belongs to.
// ok is false when the subject is not one of the above, nor of the events or dead letters of a Replay.
func SubjectProvider(subject string) (p Provider, s Source, ok bool) {
	if _, p, _, ok := ParseReplaySubject(subject); ok {
		return p, "", true
	}
	// None of the prefixes is a prefix of another.
	for _, kind := range []struct {
		prefix string
		// Whether a source follows the provider: always, or only sometimes.
		source, choice bool
	}{
		{prefix: prefixRaw, source: true},
		{prefix: prefixNormalized},
		{prefix: prefixDead},
		{prefix: prefixDeadState},
		{prefix: prefixCursorRaw, source: true, choice: true},
		{prefix: prefixCursorNormalized},
	} {
		rest, found := strings.CutPrefix(subject, kind.prefix)
		if !found {
			continue
		}
		provider, source, hasSource := strings.Cut(rest, ".")
		if checkToken(provider) != nil || hasSource && checkToken(source) != nil {
			return "", "", false
		}
		if hasSource != kind.source && !kind.choice {
			return "", "", false
		}
		return Provider(provider), Source(source), true
	}
	return "", "", false
}
