package event

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Standing is one word for what becomes of a source's events.
type Standing string

// The standings, from bad to good.
const (
	StandingRegressed  Standing = "raw-regressed"   // RAW holds less than was normalized; the normalizer has stopped
	StandingExpired    Standing = "raw-expired"     // RAW has dropped what was not normalized; the normalizer has stopped
	StandingStalled    Standing = "stalled"         // nothing is written though something should be
	StandingUnattended Standing = "unattended"      // nobody has the lease
	StandingPaused     Standing = "paused"          // by an operator
	StandingCatchingUp Standing = "catching-up"     // collected, and being normalized
	StandingNever      Standing = "never-collected" // there is no cursor
	StandingLive       Standing = "live"
	StandingReplaced   Standing = "replaced" // another kind of source collects since
	StandingRetired    Standing = "retired"  // nothing will come
	StandingRemoved    Standing = "removed"  // the provider was removed or renamed, and nobody works for it
)

// rank orders standings from bad to good.
func (s Standing) rank() int {
	return slices.Index([]Standing{
		StandingRegressed, StandingExpired, StandingStalled, StandingUnattended, StandingPaused, StandingCatchingUp, StandingNever,
		StandingLive, StandingReplaced, StandingRetired, StandingRemoved,
	}, s)
}

// Stand is a standing with what there is to say about it.
type Stand struct {
	State  Standing  `json:"state"`
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// SourceStand is where a source stands and what that means.
type SourceStand struct {
	Watermark
	Stand
	// Holder is who has the lease. Where there are no leases it is who wrote the cursor last, if he seems to be at work.
	Holder string `json:"holder,omitempty"`
}

// ProviderStand is where a provider stands: what holds of all sources that collect for it.
type ProviderStand struct {
	Provider Provider `json:"provider"`
	// Kind is the kind of source that was chosen, "" if none was.
	Kind string `json:"kind,omitempty"`
	Stand
	// CollectedTime and NormalizedTime are the earliest of the sources that are not retired or replaced; zero if one has none.
	CollectedTime  time.Time `json:"collected_time,omitzero"`
	NormalizedTime time.Time `json:"normalized_time,omitzero"`
	LagEvents      uint64    `json:"lag_events"`
	// Position is the number of the last event or dead letter in NORMALIZED.
	Position Seq `json:"position"`
	// Normalizer is who has the lease to normalize. Where there are no leases it is who wrote the cursor last, if he seems to be at work.
	Normalizer string `json:"normalizer,omitempty"`
	// Owner is who wrote the normalizer's cursor last, be it by command.
	Owner   string        `json:"owner,omitempty"`
	Sources []SourceStand `json:"-"`
}

// Holder is what the leases say about who works on something.
type Holder struct {
	// Name is who has the lease, "" if nobody has it.
	Name string
	// Processes is how many processes could take it. Where there are none the leases say nothing: all may be in one process.
	Processes int
}

// atWork is who works on something: who has the lease, and where there are no leases who wrote its record last, unless that was by
// command, or before a time.
func (h Holder) atWork(owner string, written, commanded, since time.Time) string {
	if h.Name != "" || h.Processes > 0 || written.Equal(commanded) || written.Before(since) {
		return h.Name
	}
	return owner
}

// Records are all records about a provider, and what is known of who works on it.
type Records struct {
	Provider   Provider
	Choice     Choice
	Raw        map[Source]RawCursor
	Normalized NormalizedCursor
	Collectors map[Source]Holder
	Normalizer Holder
	// Waiting is when the first raw event that is not normalized came to RAW, zero if that is not known.
	Waiting time.Time
	// Trouble is what the normalizer would find if it began now: an error of the kind Regressed or Expired.
	Trouble error
	// Patience is how long a cursor may stay unwritten. Sources has those for which that is longer.
	Patience time.Duration
	Sources  map[Source]time.Duration
	Now      time.Time
}

const (
	// waitsLong is how long an event may wait in RAW until one says that the normalizer catches up.
	waitsLong = 30 * time.Second
	// manyWait is how many events wait then, however short.
	manyWait = 1000
)

// Renaming are the old and the new name of a rename that is not done and that concerns the provider; both are "" if there is none.
func (r *Records) Renaming() (from, to Provider) {
	if from := r.Choice.Taking(); from != "" {
		return from, r.Provider
	}
	if to := r.Choice.Renamed(); to != "" {
		for name, c := range r.Raw {
			if !name.Job() && !c.Emptied() {
				return r.Provider, to
			}
		}
	}
	return "", ""
}

// Stand says what all that means. Sources that are jobs are shown, and count for nothing.
func (r *Records) Stand() ProviderStand {
	p := ProviderStand{
		Provider: r.Provider, Kind: r.Choice.Kind, Position: r.Normalized.Position,
		Normalizer: r.Normalizer.atWork(r.Normalized.Owner, r.Normalized.WrittenAt, r.Normalized.Commanded, r.Now.Add(-r.Patience)),
		Owner:      r.Normalized.Owner, Stand: Stand{State: StandingNever},
	}
	active := 0
	removed := r.removed()
	for _, name := range slices.Sorted(maps.Keys(r.Raw)) {
		s := r.source(name)
		if removed != nil {
			s.Stand = *removed
		}
		p.Sources = append(p.Sources, s)
		if name.Job() {
			continue
		}
		p.LagEvents += s.LagEvents
		if s.LagEvents == 0 && (s.State == StandingRetired || s.State == StandingReplaced) {
			if active == 0 {
				p.Stand = s.Stand
			}
			continue
		}
		if active++; active == 1 {
			p.Stand, p.CollectedTime, p.NormalizedTime = s.Stand, s.CollectedTime, s.NormalizedTime
			continue
		}
		if s.State.rank() < p.State.rank() {
			p.Stand = s.Stand
		}
		p.CollectedTime, p.NormalizedTime = earlier(p.CollectedTime, s.CollectedTime), earlier(p.NormalizedTime, s.NormalizedTime)
	}
	switch {
	case removed != nil:
		p.Stand = *removed
	case active == 0:
		p.Stand = r.idle(p.Stand)
	}
	return p
}

// removed is the stand of a provider that was given up, and for which nobody has worked since; nil for any other.
func (r *Records) removed() *Stand {
	to := r.Choice.Renamed()
	s := Stand{State: StandingRemoved, Since: r.Choice.At, Reason: r.Choice.Why}
	switch {
	case r.Normalized.Paused != nil || r.Normalizer.Name != "":
		return nil
	case to != "":
		if r.Choice.Left() == "" {
			return nil
		}
	case r.Choice.Removed == nil || r.Choice.Paused != nil:
		return nil
	default:
		s.Since, s.Reason = r.Choice.Removed.At, "by "+cmp.Or(r.Choice.Removed.By, "somebody")
	}
	for name, c := range r.Raw {
		left := c.Retired || c.Sequence < r.Choice.Sequence && (to == "" || name.Job())
		if !left || c.Paused != nil || r.Collectors[name].Name != "" {
			return nil
		}
	}
	return &s
}

// idle is the stand of a provider without a source that collects.
func (r *Records) idle(last Stand) Stand {
	switch {
	case r.Trouble != nil:
		return r.troubled()
	case r.Choice.Paused != nil && r.Normalized.Paused != nil:
		s := paused(r.Choice.Paused, "collecting")
		s.Reason = r.both(nil, s, paused(r.Normalized.Paused, "normalizing"))
		return s
	case r.Choice.Paused != nil:
		return paused(r.Choice.Paused, "collecting")
	case r.Normalized.Paused != nil:
		return paused(r.Normalized.Paused, "normalizing")
	case last.State == StandingReplaced:
		return Stand{State: StandingNever, Since: r.Choice.At, Reason: "since " + r.Choice.Kind + " was chosen"}
	case last.State == StandingNever && r.Choice.Kind != "":
		return Stand{State: StandingNever, Since: r.Choice.At, Reason: r.Choice.Kind + " was chosen: " + r.Choice.Why}
	default:
		return last
	}
}

func (r *Records) source(name Source) SourceStand {
	raw := r.Raw[name]
	s := SourceStand{Watermark: NewWatermark(r.Provider, name, raw, r.Normalized.Sources[name])}
	if !name.Job() { // they have no leases
		s.Holder = r.Collectors[name].atWork(raw.Owner, raw.WrittenAt, raw.Commanded, r.Now.Add(-max(r.Patience, r.Sources[name])))
	}
	collecting, normalizing := r.collecting(name), r.normalizing(s.LagEvents)
	s.Stand = collecting
	switch over := collecting.State == StandingRetired || collecting.State == StandingReplaced; {
	case normalizing.State == StandingLive:
	case over && s.LagEvents == 0 && normalizing.State != StandingRegressed:
	case over || normalizing.State.rank() < collecting.State.rank():
		s.Stand = normalizing
	case collecting.State == StandingPaused && normalizing.State == StandingPaused:
		s.Reason = r.both(raw.Paused, collecting, normalizing)
	}
	return s
}

// both is the reason where collecting and normalizing are paused, mostly by one command.
func (r *Records) both(source *Pause, collecting, normalizing Stand) string {
	one, other := cmp.Or(source, r.Choice.Paused), r.Normalized.Paused
	if one.By == other.By && one.Why == other.Why {
		return "collecting and normalizing, " + because(one)
	}
	return collecting.Reason + "; " + normalizing.Reason
}

// collecting is what can be said without a look at the normalizer.
func (r *Records) collecting(name Source) Stand {
	raw, holder := r.Raw[name], r.Collectors[name]
	chosen := r.Choice.Kind == "" || name.Of(r.Choice.Kind) || name.Job()
	quietSince := raw.WrittenAt
	switch {
	case raw.Retired:
		return Stand{State: StandingRetired}
	case !chosen:
		return Stand{State: StandingReplaced, Since: r.Choice.At, Reason: "by " + r.Choice.Kind}
	case raw.Paused != nil:
		return paused(raw.Paused, "collecting")
	case r.Choice.Paused != nil && !name.Job():
		s := paused(r.Choice.Paused, "collecting")
		if from, to := r.Renaming(); from == r.Provider && r.Choice.Left() == to {
			s.Reason += fmt.Sprintf(", and that is not done: `stackstream provider rename %s %s` goes on with it", from, to)
		}
		return s
	case name.Job():
		return Stand{State: StandingLive}
	case holder.Name == "" && holder.Processes > 0:
		return Stand{State: StandingUnattended, Since: quietSince, Reason: fmt.Sprintf("none of %d collectors has the lease",
			holder.Processes)}
	case r.Now.Sub(quietSince) <= max(r.Patience, r.Sources[name]):
		return Stand{State: StandingLive}
	case raw.Watermark.IsZero() && holder.Name != "":
		return Stand{State: StandingLive, Reason: "nothing new since " + stamp(quietSince)}
	case holder.Name != "":
		return Stand{State: StandingStalled, Since: quietSince, Reason: "collecting: its cursor is not written, and " + holder.Name +
			" has the lease"}
	default:
		return Stand{State: StandingStalled, Since: quietSince, Reason: "collecting: its cursor is not written, and nobody has a lease"}
	}
}

// normalizing is what can be said of what so many events of a source wait for.
func (r *Records) normalizing(lag uint64) Stand {
	since := r.Normalized.WrittenAt
	if r.Waiting.After(since) {
		since = r.Waiting
	}
	switch {
	case r.Trouble != nil && (lag > 0 || KindOf(r.Trouble) == Regressed):
		return r.troubled()
	case r.Normalized.Paused != nil:
		return paused(r.Normalized.Paused, "normalizing")
	case lag == 0 && r.Choice.Left() != "": // nobody has to be there
		return Stand{State: StandingLive}
	case r.Normalizer.Name == "" && r.Normalizer.Processes > 0:
		return Stand{State: StandingUnattended, Since: since, Reason: fmt.Sprintf("none of %d normalizers has the lease",
			r.Normalizer.Processes)}
	case lag == 0:
		return Stand{State: StandingLive}
	case !since.IsZero() && r.Now.Sub(since) > r.Patience:
		return Stand{State: StandingStalled, Since: since, Reason: "normalizing: its cursor is not written"}
	case lag > manyWait || !r.Waiting.IsZero() && r.Now.Sub(r.Waiting) > waitsLong:
		return Stand{State: StandingCatchingUp, Since: r.Waiting}
	default:
		return Stand{State: StandingLive}
	}
}

func (r *Records) troubled() Stand {
	state := StandingExpired
	if KindOf(r.Trouble) == Regressed {
		state = StandingRegressed
	}
	reason := r.Trouble.Error()
	if e := (*Error)(nil); errors.As(r.Trouble, &e) && e.Err != nil {
		reason = e.Err.Error()
	}
	return Stand{State: state, Since: r.Normalized.WrittenAt, Reason: reason}
}

func paused(p *Pause, what string) Stand {
	return Stand{State: StandingPaused, Since: p.At, Reason: what + ", " + because(p)}
}

// because is who paused something, and why.
func because(p *Pause) string {
	text := "by " + cmp.Or(p.By, "somebody")
	if p.Why != "" {
		text += ": " + p.Why
	}
	return text
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
