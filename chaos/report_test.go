//go:build chaos

package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"stackstream/chaos/checker"
)

// report is what is to be known of a run.
type report struct {
	Seed      uint64             `json:"seed"`
	Begun     time.Time          `json:"begun"`
	Took      string             `json:"took"`    // all of it
	Harmed    string             `json:"harmed"`  // from the first fault to the last
	Settled   string             `json:"settled"` // from the last fault until everything was dealt with
	Lease     string             `json:"lease_ttl"`
	Cores     int                `json:"cores"`
	Events    int                `json:"events"`
	Resent    int64              `json:"windows_sent_again"`
	Faults    int                `json:"faults"`
	ByKind    map[string]int     `json:"faults_by_kind"`
	LeftOut   []string           `json:"kinds_that_can_not_be_done_here,omitempty"`
	NotDone   []string           `json:"faults_not_done,omitempty"`
	Counters  map[string]float64 `json:"counters"`
	Takeovers []takeovers        `json:"takeovers"`
	// Unfinished are those that nobody had taken over when the run ended.
	Unfinished int            `json:"takeovers_not_seen"`
	Stalls     []stall        `json:"longest_stalls"`
	RSS        map[string]int `json:"peak_rss_kib"`
	// What NATS did not send to a plain subscriber, or sent twice, because servers were down or died.
	PlainMissed   int             `json:"plain_subscriber_missed"`
	PlainRepeated int             `json:"plain_subscriber_repeated"`
	Verdict       checker.Verdict `json:"verdict"`
}

// takeovers are those of one kind.
type takeovers struct {
	After           string  `json:"after"`
	Alone           bool    `json:"nothing_else_was_wrong"`
	Count           int     `json:"count"`
	Median, Longest float64 // seconds
}

func (w *world) newReport(v checker.Verdict, subs *subscribers, harm, healed, settled time.Time) report {
	plain := subs.all[plainly]
	n, by := w.faults.count()
	w.faults.mu.Lock()
	notDone := slices.Clone(w.faults.failed)
	w.faults.mu.Unlock()
	w.watch.mu.Lock()
	stalls := slices.SortedFunc(maps.Values(w.watch.stalls), func(a, b stall) int { return cmp.Compare(b.Took, a.Took) })
	rss := maps.Clone(w.watch.rss)
	unfinished := len(w.watch.waiting)
	w.watch.mu.Unlock()
	return report{
		Seed: w.opt.seed, Begun: w.begun.UTC(), Took: since(w.begun, time.Now()), Harmed: since(harm, healed),
		Settled: since(healed, settled), Lease: w.opt.lease.String(), Cores: runtime.NumCPU(), Events: w.traffic.sum(""),
		Resent: w.traffic.resent.Load(), Faults: n, ByKind: by, NotDone: notDone, LeftOut: w.faults.leftOut, Counters: w.watch.totals(),
		Takeovers: summarize(w.watch.takeovers()), Unfinished: unfinished, Stalls: stalls, RSS: rss, PlainMissed: plain.Missing(),
		PlainRepeated: plain.Repeats(), Verdict: v,
	}
}

func since(a, b time.Time) string { return b.Sub(a).Round(100 * time.Millisecond).String() }

func summarize(all []takeover) []takeovers {
	groups := map[takeovers][]time.Duration{}
	for _, t := range all {
		what, _, _ := strings.Cut(t.What, "-")
		key := takeovers{After: what, Alone: t.Alone}
		groups[key] = append(groups[key], t.Took)
	}
	var out []takeovers
	for key, times := range groups {
		slices.Sort(times)
		key.Count = len(times)
		key.Median, key.Longest = times[len(times)/2].Seconds(), times[len(times)-1].Seconds()
		out = append(out, key)
	}
	slices.SortFunc(out, func(a, b takeovers) int { return cmp.Or(cmp.Compare(a.After, b.After), cmp.Compare(a.Count, b.Count)) })
	return out
}

func (r report) text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("seed %d, %d cores, lease %s: took %s, harm for %s, all dealt with %s after the last fault", r.Seed, r.Cores, r.Lease, r.Took,
		r.Harmed, r.Settled)
	line("events handed out: %d; windows of notifications sent again: %d", r.Events, r.Resent)
	line("faults: %d", r.Faults)
	for _, kind := range slices.Sorted(maps.Keys(r.ByKind)) {
		line("  %4d %s", r.ByKind[kind], kind)
	}
	for _, kind := range r.LeftOut {
		line("       can't be done here: %s", kind)
	}
	if len(r.NotDone) > 0 {
		line("  %4d could not be done", len(r.NotDone))
	}
	line("unresolved acknowledgements: %.0f, cursors read again: %.0f, writers fenced: %.0f",
		r.Counters["stackstream_batches_total unknown"], r.Counters["stackstream_cursor_rereads_total"],
		r.Counters["stackstream_batches_total fenced"])
	line("all that the programs counted, as far as they lived to tell:")
	for _, name := range slices.Sorted(maps.Keys(r.Counters)) {
		if n := r.Counters[name]; n > 0 {
			line("  %9.0f %s", n, strings.TrimPrefix(name, "stackstream_"))
		}
	}
	line("takeovers, from the fault to the first write of another process:")
	for _, t := range r.Takeovers {
		line("  after %-20s %3d times, median %5.1f s, longest %5.1f s%s", t.After, t.Count, t.Median, t.Longest,
			pick(t.Alone, " (nothing else was wrong)", ""))
	}
	if r.Unfinished > 0 {
		line("  %d had not come when the process was back, or the run ended", r.Unfinished)
	}
	line("longest time in which something was to be done and nothing was:")
	for _, s := range r.Stalls {
		line("  %5.1f s %s", s.Took.Seconds(), s.What)
	}
	line("the plain subscriber missed %d events, and had %d twice, while servers were down", r.PlainMissed, r.PlainRepeated)
	line("peak memory:")
	for _, name := range slices.Sorted(maps.Keys(r.RSS)) {
		line("  %4d MiB %s", r.RSS[name]/1024, name)
	}
	b.WriteString(r.Verdict.String())
	return b.String()
}
