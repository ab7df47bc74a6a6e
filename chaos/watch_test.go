//go:build chaos

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/chaos/checker"
)

const (
	// lookEvery is how often the cursors are read, and scrapeEvery how often the programs are asked for their metrics.
	lookEvery   = 200 * time.Millisecond
	scrapeEvery = time.Second
)

// record is what is of interest of a cursor, raw or normalized.
type record struct {
	Position  uint64          `json:"position"`
	Watermark time.Time       `json:"watermark"`
	Owner     string          `json:"owner"`
	Cursor    json.RawMessage `json:"cursor"`
	Sources   map[string]struct {
		Position uint64 `json:"position"`
	} `json:"sources"`
}

// pid is that of the process which wrote the record.
func (r record) pid() int {
	_, text, _ := strings.Cut(r.Owner, "/")
	pid, _ := strconv.Atoi(text)
	return pid
}

// amqpState is what is of interest of the cursor of a source that consumes notifications.
type amqpState struct {
	Claims map[string]struct {
		Bound bool
		Lost  time.Time
	} `json:"claims"`
	GapsTotal int            `json:"gaps_total"`
	Dropped   map[string]int `json:"dropped"`
}

func (r record) amqp() (s amqpState) {
	_ = json.Unmarshal(r.Cursor, &s) // nothing is there yet
	return s
}

// watch looks at the cursors and the programs from outside while everything runs, and tells the checker what it saw.
type watch struct {
	w *world

	mu       sync.Mutex
	cursors  map[string]record // by subject
	moved    map[string]time.Time
	stalls   map[string]stall
	counters map[string]float64            // of all lives of all processes, by name and result
	last     map[string]map[string]float64 // of the present life, by process and pid
	rss      map[string]int                // peak, in KiB, by process
	waiting  []*takeover
	done     []takeover
}

// stall is the longest time in which a cursor did not move though there was something to do.
type stall struct {
	What  string
	Took  time.Duration
	Until time.Time
}

// takeover is how long it took until the work of a process that is gone was done by another.
type takeover struct {
	What  string // was done
	Work  string // "alpha/amqp", or the provider for the normalizer
	Alone bool   // nothing else was wrong meanwhile
	Took  time.Duration

	pid   int
	since time.Time
}

func newWatch(w *world) *watch {
	return &watch{
		w: w, cursors: map[string]record{}, moved: map[string]time.Time{}, stalls: map[string]stall{},
		counters: map[string]float64{}, last: map[string]map[string]float64{}, rss: map[string]int{},
	}
}

// sources of a provider, as they collect when all is well.
func (w *world) sources(provider string) []string {
	switch {
	case slices.Contains(w.opt.polled, provider):
		return []string{"panko"}
	case provider == w.opt.notified[0]:
		return []string{"amqp"}
	default:
		return []string{"amqp", "amqp-compute"}
	}
}

func (w *world) providers() []string {
	return append(append([]string{}, w.opt.notified...), w.opt.polled...)
}

func rawCursor(provider, source string) string { return "events.cursor.raw." + provider + "." + source }
func normalizedCursor(provider string) string  { return "events.cursor.normalized." + provider }

// run looks until ctx ends.
func (x *watch) run(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() {
		for sleep(ctx, lookEvery) {
			x.look(ctx)
		}
	})
	group.Go(func() {
		for sleep(ctx, scrapeEvery) {
			x.scrape(ctx)
		}
	})
	group.Wait()
}

func (x *watch) look(ctx context.Context) {
	for _, p := range x.w.providers() {
		for _, s := range x.w.sources(p) {
			if at, body, ok := x.read(ctx, "EVENTS_RAW", rawCursor(p, s)); ok {
				x.w.check.Cursor(checker.Message{Subject: rawCursor(p, s), Body: body, Sequence: at})
				x.take(rawCursor(p, s), p+"/"+s, body)
			}
		}
		if at, body, ok := x.read(ctx, "EVENTS_NORMALIZED", normalizedCursor(p)); ok {
			x.w.check.Cursor(checker.Message{Subject: normalizedCursor(p), Body: body, Sequence: at})
			x.take(normalizedCursor(p), p, body)
		}
		x.stalled(p)
	}
}

// read reads the last message on a subject, from the leader: a replica that lags would look like a cursor moved back.
func (x *watch) read(ctx context.Context, stream, subject string) (at uint64, body []byte, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	answer, err := x.w.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, fmt.Appendf(nil, `{"last_by_subj": %q}`, subject))
	if err != nil {
		return 0, nil, false
	}
	var found struct {
		Message struct {
			Sequence uint64 `json:"seq"`
			Data     []byte `json:"data"`
		} `json:"message"`
		Error *struct{} `json:"error"`
	}
	if json.Unmarshal(answer.Data, &found) != nil || found.Error != nil {
		return 0, nil, false
	}
	return found.Message.Sequence, found.Message.Data, true
}

func (x *watch) take(subject, work string, body []byte) {
	var r record
	if json.Unmarshal(body, &r) != nil {
		return // the checker tells
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cursors[subject].Position != r.Position {
		x.moved[subject] = time.Now()
	}
	x.cursors[subject] = r
	kept := x.waiting[:0]
	for _, t := range x.waiting {
		if t.Work == work && r.pid() == t.pid && x.idle(work, r) {
			t.since = time.Now() // nobody can write before there is something to be written
		}
		if t.Work != work || r.pid() == t.pid {
			kept = append(kept, t)
			continue
		}
		t.Took = time.Since(t.since)
		t.Alone = t.Alone && x.w.faults.quiet(t.since, t.What)
		x.done = append(x.done, *t)
	}
	x.waiting = kept
}

// idle tells whether there is nothing to do for a source, or for a provider's normalizer.
func (x *watch) idle(work string, r record) bool {
	if strings.Contains(work, "/") {
		return uint64(x.w.traffic.sum(work)) <= r.Position
	}
	for _, s := range x.w.sources(work) {
		if x.cursors[rawCursor(work, s)].Position > r.Sources[s].Position {
			return false
		}
	}
	return true
}

// stalled keeps the longest time in which something was to be done for a provider and nothing was.
func (x *watch) stalled(provider string) {
	handed, collected := x.w.traffic.sum(provider), x.collected(provider)
	x.mu.Lock()
	defer x.mu.Unlock()
	normalized := x.cursors[normalizedCursor(provider)]
	dealt := 0
	for _, s := range normalized.Sources {
		dealt += int(s.Position)
	}
	note := func(what string, since time.Time) {
		if took := time.Since(since); !since.IsZero() && took > x.stalls[what].Took {
			x.stalls[what] = stall{what, took, time.Now()}
		}
	}
	// Something may be on its way at any time: a source stands still when a whole backlog waits.
	if handed-collected >= x.w.opt.backlog {
		var last time.Time
		for _, s := range x.w.sources(provider) {
			if m := x.moved[rawCursor(provider, s)]; m.After(last) {
				last = m
			}
		}
		note("collect "+provider, last)
	}
	if collected > dealt {
		note("normalize "+provider, x.moved[normalizedCursor(provider)])
	}
}

// collected is how many events of a provider's sources are in RAW.
func (x *watch) collected(provider string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, s := range x.w.sources(provider) {
		n += int(x.cursors[rawCursor(provider, s)].Position)
	}
	return n
}

// dealt is how many raw events of a provider became events or dead letters.
func (x *watch) dealt(provider string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, s := range x.cursors[normalizedCursor(provider)].Sources {
		n += int(s.Position)
	}
	return n
}

func (x *watch) watermark(provider, source string) time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.cursors[rawCursor(provider, source)].Watermark
}

func (x *watch) cursor(subject string) record {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.cursors[subject]
}

// awaitBound waits until a source is bound to an exchange: what is published before nobody promised to collect.
func (x *watch) awaitBound(ctx context.Context, provider, source, exchange string) {
	for {
		c := x.cursor(rawCursor(provider, source)).amqp().Claims[exchange]
		if c.Bound && c.Lost.IsZero() || !sleep(ctx, 50*time.Millisecond) {
			return
		}
	}
}

// gone has the takeovers of a process's work timed from now on, and tells whether it had any. It is called when the process is
// killed or paused.
func (x *watch) gone(what string, pid int) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	var works []string
	for _, p := range x.w.providers() {
		for _, s := range x.w.sources(p) {
			if x.cursors[rawCursor(p, s)].pid() == pid {
				works = append(works, p+"/"+s)
			}
		}
		if x.cursors[normalizedCursor(p)].pid() == pid {
			works = append(works, p)
		}
	}
	for _, work := range works {
		x.waiting = append(x.waiting, &takeover{What: what, Work: work, Alone: true, pid: pid, since: time.Now()})
	}
	return len(works) > 0
}

// taken tells whether all work of a process that is gone is done by others.
func (x *watch) taken(pid int) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, t := range x.waiting {
		if t.pid == pid {
			return false
		}
	}
	return true
}

// settled tells whether all takeovers after something that was done are over.
func (x *watch) settled(what string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return !slices.ContainsFunc(x.waiting, func(t *takeover) bool { return t.What == what })
}

// takeovers are those that are over.
func (x *watch) takeovers() []takeover {
	x.mu.Lock()
	defer x.mu.Unlock()
	return append([]takeover(nil), x.done...)
}

// replicas says what is wrong with the replicas of the streams: "" if all are there and current.
func (w *world) replicas(ctx context.Context) string {
	var wrong []string
	for _, name := range []string{"EVENTS_RAW", "EVENTS_NORMALIZED", "EVENTS_DEAD"} {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		stream, err := w.js.Stream(ctx, name)
		cancel()
		if err != nil {
			wrong = append(wrong, name+": "+err.Error())
			continue
		}
		c := stream.CachedInfo().Cluster
		if c == nil || c.Leader == "" || len(c.Replicas) != nodes-1 {
			wrong = append(wrong, name+" has no leader or too few replicas")
			continue
		}
		for _, r := range c.Replicas {
			if !r.Current || r.Offline {
				wrong = append(wrong, fmt.Sprintf("%s: replica %s is not current, %d behind", name, r.Name, r.Lag))
			}
		}
	}
	return strings.Join(wrong, "; ")
}

// stream is a stream's handle, asked for anew each time: its leader may be another one.
func (w *world) stream(ctx context.Context, name string) (natsjs.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return w.js.Stream(ctx, name)
}

var errNothing = errors.New("nothing to do it to")
