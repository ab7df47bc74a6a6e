package httppoll

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// meanwhile is what becomes of the events of a service that nobody asks.
const meanwhile = "the service keeps its events for a time of its own: what it forgets before it is asked again is lost"

// Manual is for operators who change a cursor of a source with this configuration.
func (c Config) Manual() collectors.Manual { return manual(&Source{cfg: c}) }

// ManualDialect is Manual for a source that speaks a dialect.
func (c Config) ManualDialect(kind string) collectors.Manual {
	return manual(&Source{cfg: c, dialect: &Dialect{Kind: kind}})
}

func manual(s *Source) collectors.Manual {
	return collectors.Manual{Rewind: s.rewind, Set: s.set, Meanwhile: func() string { return meanwhile }}
}

// rewind moves every partition that stands behind a time back to it. A run takes that for where an earlier one has ended; what
// it had of the records from there on is for the loop to remember.
func (s *Source) rewind(cursor event.Cursor, to, now time.Time) (event.Cursor, time.Time, error) {
	refused := func(format string, args ...any) (event.Cursor, time.Time, error) {
		return nil, time.Time{}, &event.Error{Kind: event.Invalid, Op: "rewind", Err: fmt.Errorf(format, args...)}
	}
	if kind := s.cfg.Cursor.Type; kind != CursorTime {
		if kind == CursorNone {
			return refused("every run reads all that the service shows (cursor.type: none)")
		}
		return refused("the cursor is of the type %s, which says nothing of times: set it to a value that the service knows with "+
			"`stackstream watermark set --cursor`", kind)
	}
	if cursor == nil {
		return refused("it has not read anything yet: where it begins is cursor.start")
	}
	at, err := s.decode(cursor)
	if err != nil {
		return nil, time.Time{}, err
	}
	// Services keep microseconds at most, and what the form of a request can't say is not asked for.
	to = to.UTC().Truncate(max(time.Microsecond, s.cfg.Cursor.step()))
	if !to.Before(now) {
		return refused("%s has not come yet", shown(to))
	}
	earliest := time.Time{}
	moved := false
	for _, p := range at.Parts {
		if p.From.After(to) {
			p.move(to, now)
			moved = true
		} else if earliest.IsZero() || p.From.After(earliest) {
			earliest = p.From
		}
	}
	switch {
	case moved:
	case earliest.IsZero():
		return refused("it reads from the beginning in any case")
	default:
		return refused("it reads from %s on in any case", shown(earliest))
	}
	at.Next = ""
	out, err := s.encode(at)
	return out, to, err
}

// move has the next run read from a time on.
func (p *position) move(to, now time.Time) {
	// That nothing new has come for long is not known of the time from here on.
	p.From, p.Newest, p.Moved, p.ETag, p.Began = to, to, now.UTC(), "", true
}

// set reads a cursor as an operator writes it.
func (s *Source) set(cursor event.Cursor, text string, now time.Time) (event.Cursor, error) {
	refused := func(format string, args ...any) (event.Cursor, error) {
		return nil, &event.Error{Kind: event.Invalid, Op: "read the cursor", Err: fmt.Errorf(format, args...)}
	}
	if s.cfg.Cursor.Type == CursorNone {
		return refused("the service is not asked from a cursor on (cursor.type: none)")
	}
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		return s.setWhole(text, []string{s.cfg.Cursor.Type})
	}
	at := state{Parts: map[string]*position{}}
	if cursor != nil {
		var err error
		if at, err = s.decode(cursor); err != nil {
			return nil, err
		}
	}
	if len(at.Parts) == 0 {
		if len(s.cfg.Partitions.Values) > 0 || s.cfg.Partitions.listed() {
			return refused("there are no positions of partitions yet: give the whole cursor, as JSON")
		}
		at.Parts[""] = &position{}
	}
	for _, p := range at.Parts {
		switch s.cfg.Cursor.Type {
		case CursorTime:
			to, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return refused("%q is no time such as 2026-01-31T12:00:00Z", text)
			}
			p.move(to.UTC().Truncate(time.Microsecond), now)
		case CursorInteger:
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return refused("%q is no whole number", text)
			}
			p.Number, p.ETag, p.Began = &n, "", true
		case CursorToken:
			p.Token, p.ETag, p.Began = text, "", true
		}
	}
	at.Next = ""
	return s.encode(at)
}

// WholeCursor reads a whole cursor that an operator wrote of a source whose configuration is not known. What the one that is there
// is made of, nil if there is none, is what it has to be made of.
func WholeCursor(was event.Cursor, text string) (event.Cursor, error) {
	return (&Source{}).setLike(was, text)
}

// WholeCursorOf is WholeCursor for a source that speaks a dialect.
func WholeCursorOf(kind string) func(was event.Cursor, text string) (event.Cursor, error) {
	return (&Source{dialect: &Dialect{Kind: kind}}).setLike
}

func (s *Source) setLike(was event.Cursor, text string) (event.Cursor, error) {
	at, err := s.decode(was)
	if newer := (*event.NewerError)(nil); errors.As(err, &newer) {
		return nil, err
	} // one that can't be read is there to be replaced
	var like []string
	for _, p := range at.Parts {
		for _, member := range p.members() {
			like = append(like, member.of)
		}
	}
	return s.setWhole(text, like)
}

// setWhole reads a whole cursor whose positions are to be of one of the types; any will do where none is known.
func (s *Source) setWhole(text string, like []string) (event.Cursor, error) {
	var into any = &state{}
	if s.dialect != nil {
		into = &flat{}
	}
	at, err := s.decode(event.Cursor(text))
	if newer := (*event.NewerError)(nil); errors.As(err, &newer) {
		return nil, err
	}
	if strict := collectors.ReadCursor(text, into); strict != nil {
		return nil, strict
	}
	if err != nil {
		return nil, err
	}
	refused := func(format string, args ...any) (event.Cursor, error) {
		return nil, &event.Error{Kind: event.Invalid, Op: "read the cursor", Err: fmt.Errorf(format, args...)}
	}
	if s.dialect == nil && len(at.Parts) == 0 {
		return refused(`it has no positions: {"parts": {"": {…}}}`)
	}
	for _, name := range slices.Sorted(maps.Keys(at.Parts)) {
		p := at.Parts[name]
		for _, member := range p.members() {
			if len(like) > 0 && !slices.Contains(like, member.of) {
				return refused("parts[%q].%s: is of a cursor of the type %s, and this one is of the type %s", name, member.name,
					member.of, like[0])
			}
		}
		p.Began = true
	}
	return s.encode(at)
}

// member is one of those that only a cursor of a certain type has.
type member struct {
	name string
	of   string
}

// members are those of them that the position has.
func (p *position) members() []member {
	var has []member
	for _, m := range []struct {
		member
		set bool
	}{
		{member{"from", CursorTime}, !p.From.IsZero()},
		{member{"newest", CursorTime}, !p.Newest.IsZero()},
		{member{"number", CursorInteger}, p.Number != nil},
		{member{"token", CursorToken}, p.Token != ""},
	} {
		if m.set {
			has = append(has, m.member)
		}
	}
	return has
}
