package author

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/cassette"
	"stackstream/internal/mapping"
	"stackstream/internal/records"
)

// The faults.
const (
	faultTwice     = "page twice"
	faultDoubled   = "record on two pages"
	faultCut       = "answer cut short"
	faultHTML      = "login page with 200"
	fault500       = "500"
	faultDown      = "connection lost, six times"
	fault429       = "429, Retry-After in seconds"
	fault429Long   = "429 four times, Retry-After"
	fault429Date   = "429, Retry-After as a date"
	fault401       = "401"
	faultBack      = "leads back"
	faultKilled    = "killed"
	faultReordered = "reordered"
	faultLate      = "late record"
)

// kind is a kind of fault.
type kind struct {
	name string
	// request says that it happens to requests.
	request bool
	times   int
	// fits tells whether it may happen to a request.
	fits func(c httppoll.Config, a asking) bool
	// why, if not empty, is why it is not injected at all.
	why func(c httppoll.Config) string
}

func kinds() []*kind {
	any := func(httppoll.Config, asking) bool { return true }
	further := func(_ httppoll.Config, a asking) bool { return a.page && a.asked.Page > 0 && len(a.before.units) > 0 }
	paged := func(c httppoll.Config) string {
		if c.Pagination.Type == httppoll.PageNone {
			return "pagination.type is none"
		}
		return ""
	}
	return []*kind{
		{name: faultTwice, request: true, fits: further, why: paged},
		{name: faultDoubled, request: true, why: paged, fits: func(c httppoll.Config, a asking) bool {
			return further(c, a) && !a.sheet.like.split.Fixed
		}},
		{name: faultBack, request: true, why: leadsBack, fits: func(c httppoll.Config, a asking) bool {
			return a.page && a.asked.Page > 0 && len(a.chain.pages) > 1 && !a.chain.pages[0].split.Fixed && a.sheet.like.index > 0
		}},
		{name: faultCut, request: true, fits: func(_ httppoll.Config, a asking) bool {
			return !a.login && (!a.page || len(a.sheet.like.body) > 1)
		}},
		{name: faultHTML, request: true, fits: func(_ httppoll.Config, a asking) bool { return !a.login }},
		{name: fault500, request: true, fits: any},
		{name: faultDown, request: true, times: 6, fits: any},
		{name: fault429, request: true, fits: any},
		{name: fault429Long, request: true, times: 4, fits: any},
		{name: fault429Date, request: true, fits: any},
		{name: fault401, request: true, fits: func(_ httppoll.Config, a asking) bool { return !a.login }, why: func(c httppoll.Config) string {
			if reflect.ValueOf(c.Auth).IsZero() {
				return "auth is not set"
			}
			return ""
		}},
		{name: faultKilled, request: true, fits: any},
		{name: faultReordered, why: func(c httppoll.Config) string {
			if c.Cursor.Order == "ascending" {
				return "not promised: cursor.order is ascending"
			}
			return ""
		}},
		{name: faultLate, why: func(c httppoll.Config) string {
			if c.Request.Decode == records.JSON && c.Records.Shape == records.One {
				return "the answer is the record"
			}
			return ""
		}},
	}
}

func leadsBack(c httppoll.Config) string {
	switch c.Pagination.Type {
	case httppoll.PageToken, httppoll.PageURL, httppoll.PageLink:
		return ""
	}
	return "pagination.type is " + c.Pagination.Type + ": no page says what follows"
}

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
	if out.All == 0 {
		out.Why = "the conversation has no place for it"
	}
	for _, f := range sample(faults, most) {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		out.Places++
		result := t.scenario(ctx, f)
		failure := t.judge(result, f)
		if f.unit != nil {
			failure = t.late(&out, f, failure)
		}
		if failure != nil {
			out.Failed = append(out.Failed, *failure)
		}
	}
	return out, nil
}

// late counts a late record as found or not promised, and leaves of the failure what was promised.
func (t *tester) late(out *Tested, f *fault, failure *Failure) *Failure {
	lost := 0
	for _, r := range f.unit.reads {
		if failure == nil || !slices.Contains(failure.Lost, string(r.ID)) {
			continue
		}
		lost++
		if !t.model.promises(f, r, t.clocks()[f.run]) {
			failure.Lost = slices.DeleteFunc(failure.Lost, func(id string) bool { return id == string(r.ID) })
			lost--
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
				if !u.leaf.split.Fixed && slices.ContainsFunc(u.reads, func(r httppoll.Content) bool { return slices.Contains(t.want, r.ID) }) {
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

// outcome is what came of a scenario.
type outcome struct {
	events []event.StoredRaw
	log    []asking
	err    error
}

func (o *outcome) has(id event.ID) bool {
	return slices.ContainsFunc(o.events, func(e event.StoredRaw) bool { return e.ID == id })
}

// patience is how often a run is tried again until the source is taken for one that does not recover.
const patience = 12

// scenario plays all runs, and one more, with a fault, until each has succeeded.
func (t *tester) scenario(ctx context.Context, f *fault) *outcome {
	clocks := t.clocks()
	now := &clock{now: clocks[0]}
	svc := &service{
		model: t.model, clock: now, told: clocks, before: t.replay.before, fault: f, sessions: map[string]*session{}, served: map[string]sheet{},
		others: &cassette.Player{Cassette: t.cassette, Login: isLogin, Ignore: t.proofParameters(), Again: true},
		world:  world{hidden: map[*unit]bool{}, late: map[*unit]bool{}},
	}
	l := &ledger{}
	out := &outcome{}
	var source *httppoll.Source
	for run := range len(clocks) + 1 {
		last := run == len(clocks)
		svc.world.run = max(svc.world.run, min(run, len(clocks)-1))
		if last {
			now.reach(now.Now().Add(t.Config.Schedule.Every))
		} else {
			now.reach(clocks[run])
		}
		if f != nil && f.unit != nil {
			svc.world.hidden[f.unit], svc.world.late[f.unit] = run <= f.run, run > f.run
		}
		svc.world.reversed = f != nil && f.kind.name == faultReordered && run == f.run
		if source, out.err = t.recover(ctx, svc, source, l); out.err != nil {
			break
		}
	}
	out.events, out.log = l.all(), svc.log
	return out
}

// recover polls until a run succeeds, as the poller and the collector do: what may pass is tried again by the same source, all
// else by a new one, after what the service asked for, or growing pauses.
func (t *tester) recover(ctx context.Context, svc *service, source *httppoll.Source, l *ledger) (*httppoll.Source, error) {
	pause := time.Second
	var failed error
	for try, waits := 0, 0; try < patience && waits < patience*100; try++ {
		if source == nil {
			svc.report(false, "")
			var err error
			if source, err = t.model.reader.Anew(httppoll.Options{
				Version: t.Version, Format: app.HTTPFormat(string(t.Kind), t.Provider), Report: svc.report,
				Transport: func(http.RoundTripper) http.RoundTripper { return svc },
				Clock:     httppoll.Clock{Now: svc.clock.Now, Pause: svc.clock.Pause},
			}); err != nil {
				return nil, err
			}
		}
		runCtx, cancel := context.WithCancel(ctx)
		svc.kill = cancel
		failed = t.poll(runCtx, source, l)
		cancel()
		if failed == nil && !svc.waits() {
			return source, nil
		}
		if failed == nil { // the rest is read when its time has come
			failed, try, waits = errNotAll, try-1, waits+1
			_ = svc.clock.Pause(ctx, max(t.Config.Schedule.Every, time.Minute))
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		wait := pause
		var asked *collectors.RetryAfter
		if errors.As(failed, &asked) {
			wait = max(wait, asked.After)
		}
		if !errors.Is(failed, event.Unavailable) || wait > 30*time.Second {
			source = nil
		}
		pause = min(2*pause, time.Minute)
		_ = svc.clock.Pause(ctx, wait)
	}
	return nil, fmt.Errorf("does not recover: %w", failed)
}

var errNotAll = errors.New("not all was read")

// judge compares what came with what should have; nil if it is the same.
func (t *tester) judge(o *outcome, f *fault) *Failure {
	out := &Failure{}
	count := map[event.ID]int{}
	var got []event.ID
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
		got = append(got, e.ID)
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
	byPart := func(events []event.StoredRaw) map[string][]event.ID {
		parts := map[string][]event.ID{}
		for _, e := range events {
			name := e.Header[mapping.HeaderPartition]
			parts[name] = append(parts[name], e.ID)
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
