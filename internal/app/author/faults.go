package author

import (
	"context"
	"fmt"
	"slices"
	"time"

	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/cassette"
	"stackstream/internal/mapping"
)

// Tests is what came of all faults.
type Tests struct {
	Kinds []Tested `json:"faults"`
}

// Tested is what came of a kind of fault.
type Tested struct {
	Fault string `json:"fault"`
	// Places is in how many places it was injected, of All where it may happen.
	Places int `json:"places"`
	All    int `json:"all"`
	// Why it was not.
	Why string `json:"why,omitempty"`
	// Found and NotPromised count late records.
	Found       int       `json:"found,omitempty"`
	NotPromised []string  `json:"not_promised,omitempty"`
	Failed      []Failure `json:"failed,omitempty"`
}

// Failure is a fault that the source did not survive.
type Failure struct {
	// Request is the number of the request that it happened to, in the order in which they were made; What is the request.
	Request int      `json:"request"`
	What    string   `json:"what"`
	Lost    []string `json:"lost,omitempty"`
	Twice   []string `json:"twice,omitempty"`
	New     []string `json:"new,omitempty"`     // what the service never showed
	Changed []string `json:"changed,omitempty"` // what is not as the service showed it
	Order   string   `json:"order,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// OK tells whether nothing failed.
func (t *Tests) OK() bool {
	return !slices.ContainsFunc(t.Kinds, func(k Tested) bool { return len(k.Failed) > 0 })
}

// tester injects faults into a conversation that was played back.
type tester struct {
	*Subject
	cassette *cassette.Cassette
	replay   *Replay
	model    *model
	want     []event.ID
	bodies   map[event.ID][]string // nil: not known
}

// Faults plays the conversation back again and again, each time with one fault in another place, and compares what is
// collected in the end with what was in replay. most bounds the places of each kind of fault; 0: all of them.
func (s *Subject) Faults(ctx context.Context, c *cassette.Cassette, replay *Replay, most int) (*Tests, error) {
	if s.Config.Pagination.Type == httppoll.PageTime {
		return &Tests{Kinds: []Tested{{Fault: "all", Why: "no service is made of pages by time (pagination.type: time)"}}}, nil
	}
	reader, err := s.open(httppoll.Options{})
	if err != nil {
		return nil, err
	}
	m, err := newModel(s, reader, replay.pages, c.Interactions)
	if err != nil {
		return nil, fmt.Errorf("make a service of the conversation: %w", err)
	}
	t := &tester{Subject: s, cassette: c, replay: replay, model: m, bodies: map[event.ID][]string{}}
	for _, e := range replay.raw {
		t.want = append(t.want, e.ID)
		t.bodies[e.ID] = []string{string(e.Body)}
	}
	for _, p := range m.parts {
		for _, u := range p.units {
			for _, r := range u.reads {
				t.bodies[r.ID] = append(t.bodies[r.ID], string(r.Body))
			}
		}
	}
	if alike := m.alike(); len(alike) > 0 {
		return &Tests{Kinds: []Tested{{Fault: "none", Places: 1, All: 1, Failed: []Failure{{
			What: "records that differ have the same event.id: only the first of them is an event", Lost: alike,
		}}}}}, nil
	}
	control := t.scenario(ctx, nil)
	if f := t.judge(control, nil); f != nil {
		f.What = "without any fault"
		return &Tests{Kinds: []Tested{{Fault: "none", Places: 1, All: 1, Failed: []Failure{*f}}}}, nil
	}
	out := &Tests{}
	for _, k := range kinds() {
		tested, err := t.try(ctx, k, control, most)
		if err != nil {
			return nil, err
		}
		out.Kinds = append(out.Kinds, tested)
	}
	return out, nil
}

// try injects one kind of fault wherever it may happen.
func (t *tester) try(ctx context.Context, k *kind, control *outcome, most int) (Tested, error) {
	out := Tested{Fault: k.name}
	if k.why != nil {
		if out.Why = k.why(t.Config); out.Why != "" {
			return out, nil
		}
	}
	faults := t.places(k, control)
	out.All = len(faults)
	for _, f := range sample(faults, most) {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		result := t.scenario(ctx, f)
		if !result.injected {
			continue // what was asked after the fault could not happen was all that was asked
		}
		out.Places++
		failure := t.judge(result, f)
		if f.unit != nil {
			failure = t.late(&out, f, failure)
		}
		if failure != nil {
			out.Failed = append(out.Failed, *failure)
		}
	}
	if out.Places == 0 {
		out.Why = "the conversation has no place for it"
	}
	return out, nil
}

// late counts a late record as found or not promised, and leaves of the failure what was promised.
func (t *tester) late(out *Tested, f *fault, failure *Failure) *Failure {
	for _, r := range f.unit.reads {
		if failure == nil || !slices.Contains(failure.Lost, string(r.ID)) {
			continue
		}
		if !t.model.promises(f, r, t.clocks()[f.run]) {
			failure.Lost = slices.DeleteFunc(failure.Lost, func(id string) bool { return id == string(r.ID) })
			if name := f.unit.name(); !slices.Contains(out.NotPromised, name) {
				out.NotPromised = append(out.NotPromised, name)
			}
		}
	}
	if failure != nil && !failure.empty() {
		return failure
	}
	if !slices.Contains(out.NotPromised, f.unit.name()) {
		out.Found++
	}
	return nil
}

func (f *Failure) empty() bool {
	return len(f.Lost)+len(f.Twice)+len(f.New)+len(f.Changed) == 0 && f.Order == "" && f.Error == ""
}

// places is wherever a fault may happen.
func (t *tester) places(k *kind, control *outcome) []*fault {
	var all []*fault
	switch {
	case k.request:
		for i, a := range control.log {
			if k.fits(t.Config, a) {
				all = append(all, &fault{kind: k, at: i, times: k.times})
			}
		}
	case k.name == faultReordered:
		for run := range t.clocks() {
			all = append(all, &fault{kind: k, run: run})
		}
	default:
		for _, p := range t.model.sorted() {
			for _, u := range p.units {
				is := slices.ContainsFunc(u.reads, func(r httppoll.Content) bool { return slices.Contains(t.want, r.ID) })
				if is && !u.leaf.split.Fixed {
					all = append(all, &fault{kind: k, run: u.run, unit: u})
				}
			}
		}
	}
	return all
}

// sample takes so many, evenly, with the first and the last.
func sample(all []*fault, most int) []*fault {
	n := len(all)
	if most <= 0 || n <= most {
		return all
	}
	if most == 1 {
		return all[:1]
	}
	var some []*fault
	for i := range most {
		some = append(some, all[i*(n-1)/(most-1)])
	}
	return some
}

func (t *tester) clocks() []time.Time {
	var all []time.Time
	for _, run := range t.replay.Runs {
		all = append(all, run.Clock)
	}
	return all
}

// judge compares what came with what should have; nil if it is the same.
func (t *tester) judge(o *outcome, f *fault) *Failure {
	out := &Failure{}
	count := map[event.ID]int{}
	for _, e := range o.events {
		switch {
		case !slices.Contains(t.want, e.ID):
			out.New = append(out.New, string(e.ID))
		case t.Config.Detail.URL == "" && !slices.Contains(t.bodies[e.ID], string(e.Body)):
			out.Changed = append(out.Changed, string(e.ID))
		}
		if count[e.ID]++; count[e.ID] == 2 {
			out.Twice = append(out.Twice, string(e.ID))
		}
	}
	for _, id := range t.want {
		if count[id] == 0 {
			out.Lost = append(out.Lost, string(id))
		}
	}
	if o.err != nil {
		out.Error = o.err.Error()
	}
	if (f == nil || f.kind.request) && t.Config.Cursor.Order == "ascending" && out.empty() {
		out.Order = disorder(o.events, t.replay.raw)
	}
	if out.empty() {
		return nil
	}
	switch {
	case f == nil:
	case f.unit != nil:
		out.What = fmt.Sprintf("%s shows one run later than it did", f.unit.name())
	case f.kind.request && f.at < len(o.log):
		out.Request, out.What = f.at, o.log[f.at].method+" "+o.log[f.at].url
	default:
		out.What = fmt.Sprintf("run %d", f.run+1)
	}
	return out
}

// disorder compares the order of the same events, within each partition: among them there is none.
func disorder(got, want []event.StoredRaw) string {
	// What showed late came behind newer events, and comes in its place where it is read later: that is no disorder.
	late, newest := map[event.ID]bool{}, map[string]time.Time{}
	for _, e := range want {
		name := e.Header[mapping.HeaderPartition]
		if late[e.ID] = e.Time.Before(newest[name]); !late[e.ID] {
			newest[name] = e.Time
		}
	}
	byPart := func(events []event.StoredRaw) map[string][]event.ID {
		parts := map[string][]event.ID{}
		for _, e := range events {
			if name := e.Header[mapping.HeaderPartition]; !late[e.ID] {
				parts[name] = append(parts[name], e.ID)
			}
		}
		return parts
	}
	is := byPart(got)
	for name, ids := range byPart(want) {
		for i, id := range ids {
			if is[name][i] != id {
				return fmt.Sprintf("%s came where %s belongs", is[name][i], id)
			}
		}
	}
	return ""
}
