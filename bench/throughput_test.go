//go:build bench

package bench

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"testing"

	"stackstream/bench/measure"
)

// The names of what is measured. Each but the ceilings has those that it is measured against: the lowest of them counts.
const (
	partDrain     = "drain"
	partPublish   = "publish"
	partConsume   = "consume"
	partChain     = "chain"
	partOneHop    = "one hop"
	partAgain     = "normalize again"
	partTwoHops   = "two hops"
	batchOfOurs   = 500
	chainRaw      = "BENCH_RAW"
	chainEnd      = "BENCH_NORMALIZED"
	ceilingStream = "BENCH"
)

var against = map[string][]string{
	partOneHop:  {partDrain},
	partAgain:   {partPublish, partConsume},
	partTwoHops: {partChain},
}

// rates is all that belongs to throughput.
type rates struct {
	w              *world
	synced, plain  *servers
	pipeline       *pipeline
	drained, chain string // virtual hosts
	written        string // file with what publish writes
}

func newRates(t *testing.T, w *world) *rates {
	t.Helper()
	r := &rates{w: w, synced: w.startServers(t, "synced", true), plain: w.startServers(t, "plain", false)}
	r.pipeline = w.newPipeline(t, r.synced, "")
	r.drained, r.chain = w.broker.VHost(t), w.broker.VHost(t)
	w.queue(t, r.drained, "drain")
	w.queue(t, r.chain, "chain")
	lines := make([][]byte, len(w.bodies))
	for i := range lines {
		lines[i] = w.bodies.body(i)
	}
	r.written = w.file(t, "bodies.jsonl", string(bytes.Join(lines, []byte("\n"))))
	return r
}

// ceiling starts one part of the command ceiling.
func (r *rates) ceiling(t testing.TB, part string, events int, args ...string) *process {
	t.Helper()
	return r.w.start(t, part, r.w.program("ceiling"), nil, append([]string{
		part, "-events", strconv.Itoa(events), "-batch", strconv.Itoa(batchOfOurs)}, args...)...)
}

func on(s *servers) []string { return []string{"-nats", strings.Join(s.urls, ",")} }

// round measures everything once: each ceiling just before what is measured against it.
func (r *rates) round(t testing.TB, n int) map[string]result {
	t.Helper()
	w, out := r.w, map[string]result{}

	w.fill(t, r.drained, w.bodies, n)
	c := r.ceiling(t, "drain", n, "-amqp", w.broker.URL(r.drained), "-queue", "drain")
	out[partDrain] = watch(t, n, c.said, []watched{c.watched(), w.brokerWatched()}, c)
	c.stop(t)

	w.fill(t, r.pipeline.vhost, w.bodies, n)
	count := beyond(t, r.pipeline.collected)
	collector := r.pipeline.run(t, "collector")
	out[partOneHop] = watch(t, n, count, append(r.synced.watched(), collector.watched(), w.brokerWatched()), collector)
	collector.stop(t)

	w.stream(t, r.synced, ceilingStream)
	c = r.ceiling(t, "publish", n, append(on(r.synced), "-subject", ceilingStream, "-bodies", r.written)...)
	out[partPublish] = watch(t, n, c.said, append(r.synced.watched(), c.watched()), c)
	c.stop(t)
	c = r.ceiling(t, "consume", n, append(on(r.synced), "-stream", ceilingStream, "-consumer", "consume")...)
	out[partConsume] = watch(t, n, c.said, append(r.synced.watched(), c.watched()), c)
	c.stop(t)
	r.synced.remove(t, ceilingStream)

	// What one hop has collected is what a normalizer finds that was away, or was set back.
	count = beyond(t, r.pipeline.normalized)
	normalizer := r.pipeline.run(t, "normalizer")
	out[partAgain] = watch(t, n, count, append(r.synced.watched(), normalizer.watched()), normalizer)
	normalizer.stop(t)

	w.fill(t, r.chain, w.bodies, n)
	first, second := r.startChain(t, n)
	out[partChain] = watch(t, n, second.said, append(r.plain.watched(), first.watched(), second.watched(), w.brokerWatched()), first, second)
	r.endChain(t, first, second)

	w.fill(t, r.pipeline.vhost, w.bodies, n)
	count = beyond(t, r.pipeline.normalized)
	normalizer = r.pipeline.run(t, "normalizer")
	r.pipeline.ready(t, normalizer)
	collector = r.pipeline.run(t, "collector")
	out[partTwoHops] = watch(t, n, count,
		append(r.synced.watched(), collector.watched(), normalizer.watched(), w.brokerWatched()), collector, normalizer)
	collector.stop(t)
	normalizer.stop(t)
	return out
}

// startChain starts the hand-tuned chain for a number of events.
func (r *rates) startChain(t testing.TB, n int) (first, second *process) {
	t.Helper()
	r.w.stream(t, r.plain, chainRaw)
	r.w.stream(t, r.plain, chainEnd)
	second = r.ceiling(t, "normalize", n, append(on(r.plain), "-stream", chainRaw, "-consumer", "chain", "-subject", chainEnd)...)
	r.plain.awaitAsked(t, chainRaw, "chain")
	first = r.ceiling(t, "collect", n,
		append(on(r.plain), "-subject", chainRaw, "-amqp", r.w.broker.URL(r.chain), "-queue", "chain")...)
	return first, second
}

func (r *rates) endChain(t testing.TB, first, second *process) {
	t.Helper()
	first.stop(t)
	second.stop(t)
	r.plain.remove(t, chainRaw, chainEnd)
}

// throughput is how many events a second go through the pipeline when there are always more, and what each of them costs.
func throughput(t *testing.T, w *world, report *report) {
	r := newRates(t, w)
	r.pipeline.warmUp(t, 2*batchOfOurs)
	rounds := make([]map[string]result, w.opt.Rounds)
	for i := range rounds {
		rounds[i] = r.round(t, w.opt.Events)
		t.Logf("round %d of %d: two hops %.0f events/s, the chain %.0f", i+1, len(rounds), rounds[i][partTwoHops].rate(),
			rounds[i][partChain].rate())
	}
	report.Throughput = summarize(rounds)
	report.Stored = append(report.Stored, r.pipeline.stored(t, w.bodies.mean()))
}

// rateRow is one part over all rounds.
type rateRow struct {
	Name      string             `json:"name"`
	Rate      measure.Spread     `json:"events_per_second"`
	Against   []string           `json:"against,omitempty"` // the lowest of these, in each round
	Ratio     *measure.Spread    `json:"ratio,omitempty"`
	Processes map[string]costRow `json:"processes"`
	Rounds    []result           `json:"rounds"`
}

// costRow is one process over all rounds.
type costRow struct {
	CPU  measure.Spread `json:"cpu_us_per_event"`
	Peak measure.Spread `json:"peak_rss_mib"`
}

func summarize(rounds []map[string]result) (rows []rateRow) {
	for _, name := range []string{partDrain, partOneHop, partPublish, partConsume, partAgain, partChain, partTwoHops} {
		row := rateRow{Name: name, Against: against[name], Processes: map[string]costRow{}}
		var rates, ratios []float64
		for _, round := range rounds {
			row.Rounds = append(row.Rounds, round[name])
			rates = append(rates, round[name].rate())
			var ceilings []float64
			for _, ceiling := range row.Against {
				ceilings = append(ceilings, round[ceiling].rate())
			}
			if len(ceilings) > 0 {
				ratios = append(ratios, round[name].rate()/slices.Min(ceilings))
			}
		}
		row.Rate = measure.SpreadOf(rates)
		if len(ratios) > 0 {
			ratio := measure.SpreadOf(ratios)
			row.Ratio = &ratio
		}
		row.Processes = costs(row.Rounds)
		rows = append(rows, row)
	}
	return rows
}

// costs has the processes of all rounds.
func costs(rounds []result) map[string]costRow {
	out := map[string]costRow{}
	for name := range rounds[0].Processes {
		var cpu, peak []float64
		for _, r := range rounds {
			cpu, peak = append(cpu, r.Processes[name].CPU), append(peak, r.Processes[name].Peak)
		}
		out[name] = costRow{measure.SpreadOf(cpu), measure.SpreadOf(peak)}
	}
	return out
}
