package checker_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"stackstream/chaos/checker"
)

var subscribers = []checker.Subscriber{
	{Name: "exact"},
	{Name: "exact-dead", Dead: true, Providers: []string{"cloud0"}},
	{Name: "durable", Promise: checker.AtLeastOnce},
	{Name: "plain", Promise: checker.Plain},
}

// look is what subscribers and somebody who reads cursors see.
func (r *run) look(f faults) {
	last := map[string]uint64{}
	for _, m := range r.norm {
		name := m.Subject
		switch {
		case m.Header == nil:
			continue
		case isDeadLetter(m):
			if name == "events.dead.cloud0" {
				r.sees["exact-dead"] = append(r.sees["exact-dead"], m)
			}
			continue
		}
		if name == "events.normalized.cloud0" {
			r.sees["exact-dead"] = append(r.sees["exact-dead"], m)
		}
		r.sees["exact"] = append(r.sees["exact"], m)
		r.sees["durable"] = append(r.sees["durable"], m)
		if again := r.sees["durable"]; r.chance(10) {
			r.sees["durable"] = append(again, again[r.rnd.IntN(len(again))])
		}
		if !r.chance(20) {
			plain := m
			plain.Sequence = 0
			plain.Header = maps.Clone(m.Header)
			maps.Copy(plain.Header, header("Nats-Sequence", strconv.FormatUint(m.Sequence, 10),
				"Nats-Last-Sequence", strconv.FormatUint(last[name], 10)))
			r.sees["plain"] = append(r.sees["plain"], plain)
		}
		last[name] = m.Sequence
	}
	for _, m := range slices.Concat(r.raw, r.norm) {
		if strings.HasPrefix(m.Subject, "events.cursor.") && r.chance(60) {
			r.reads = append(r.reads, m)
			if r.chance(20) {
				r.reads = append(r.reads, r.reads[r.rnd.IntN(len(r.reads))])
			}
		}
	}
	if f.read != nil {
		f.read(&r.reads)
	}
	if f.object != nil {
		f.object(r.objects)
		r.tampered = true
	}
	for _, s := range subscribers {
		saw := r.sees[s.Name]
		if f.sees != nil {
			f.sees(s.Name, &saw)
		}
		r.sees[s.Name] = saw
	}
}

// tell tells a Checker of the run, in an order that is drawn: what is told of one part keeps its own.
func (r *run) tell(seed uint64) *checker.Checker {
	c := checker.New(checker.Options{Marker: marker})
	rnd := rand.New(rand.NewPCG(seed, 1))
	var queues [][]func()
	queue := func(messages []checker.Message, take func(checker.Message)) {
		var q []func()
		for _, m := range messages {
			q = append(q, func() { take(m) })
		}
		queues = append(queues, q)
	}
	var handed []func()
	for _, h := range r.handed {
		handed = append(handed, func() { c.Handed(h) })
	}
	queues = append(queues, handed)
	// A stream keeps the last cursor only, and who reads it while it grows sees some of the others.
	seen := func(messages []checker.Message) []checker.Message {
		last := map[string]uint64{}
		for _, m := range messages {
			last[m.Subject] = m.Sequence
		}
		return slices.DeleteFunc(slices.Clone(messages), func(m checker.Message) bool {
			return m.Header == nil && m.Time.IsZero() && m.Sequence != last[m.Subject] && rnd.IntN(2) == 0
		})
	}
	queue(seen(r.raw), c.Raw)
	queue(seen(r.norm), c.Normalized)
	queue(r.dead, c.Dead)
	queue(r.reads, c.Cursor)
	for _, s := range subscribers {
		queue(r.sees[s.Name], c.Subscribe(s).Saw)
	}
	if rnd.IntN(3) == 0 { // one after the other
		rnd.Shuffle(len(queues), func(i, j int) { queues[i], queues[j] = queues[j], queues[i] })
		queues = [][]func(){slices.Concat(queues...)}
	}
	for _, f := range merge(rnd, queues...) {
		f()
	}
	if r.tampered || rnd.IntN(2) == 0 {
		for _, name := range c.Objects() {
			c.Object(name, r.objects[name])
		}
	}
	return c
}
