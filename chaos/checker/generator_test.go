package checker_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"stackstream/chaos/checker"
)

const marker = "token-"

// shape is what a run is like.
type shape struct {
	seed                      uint64
	providers, sources, lanes int
	windows, window           int
	loose, dead, either, many int // of a hundred
	large, nameless, maybe    int
}

// faults are planted while a run is made, each into what one part of the pipeline wrote.
type faults struct {
	handed func(*[]checker.Handed)
	raw    func(*[]rawItem)
	norm   func(*[]normItem)
	dead   func(*[]checker.Message)
	read   func(*[]checker.Message)
	sees   func(name string, saw *[]checker.Message)
	object func(map[string][]byte)
}

// rawItem is an event in EVENTS_RAW, or a cursor.
type rawItem struct {
	provider, source string
	h                checker.Handed
	body             []byte
	watermark        time.Time
	cursor           bool
	skip             uint64 // numbers before its own
	edit             func(*checker.Message)
	sequence         uint64 // once it is written, as is the number
	number           uint64
}

// normItem is an event or a dead letter in EVENTS_NORMALIZED, or a cursor.
type normItem struct {
	provider string
	raw      rawItem
	dead     bool
	part     int
	body     []byte
	cursor   bool
	skip     uint64
	edit     func(*checker.Message)
}

// run is all that a Checker is told of one.
type run struct {
	rnd     *rand.Rand
	start   time.Time
	handed  []checker.Handed
	raw     []checker.Message
	norm    []checker.Message
	dead    []checker.Message
	reads   []checker.Message
	sees    map[string][]checker.Message
	objects map[string][]byte
	// tampered: something is wrong with the objects.
	tampered bool
}

func newRun(s shape, f faults) *run {
	r := &run{rnd: rand.New(rand.NewPCG(s.seed, 7)), start: time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC),
		sees: map[string][]checker.Message{}, objects: map[string][]byte{"sha256-" + hexSum(nil): {}}}
	arrivals := r.handOver(s)
	items := r.collect(arrivals)
	if f.handed != nil {
		f.handed(&r.handed)
	}
	if f.raw != nil {
		f.raw(&items)
	}
	r.writeRaw(s, items)
	norm := r.normalize(s, items)
	if f.norm != nil {
		f.norm(&norm)
	}
	r.writeNormalized(norm)
	for _, m := range r.norm {
		if isDeadLetter(m) {
			r.dead = append(r.dead, m)
		}
	}
	if f.dead != nil {
		f.dead(&r.dead)
	}
	for i := range r.dead {
		r.dead[i].Sequence = uint64(i + 1)
	}
	r.look(f)
	return r
}

func isDeadLetter(m checker.Message) bool { return m.Header["Evt-Reason"] != nil }

func (r *run) chance(of int) bool { return r.rnd.IntN(100) < of }

// handOver makes events, and returns what arrives at each source, in order.
func (r *run) handOver(s shape) map[[2]string][]checker.Handed {
	arrivals := map[[2]string][]checker.Handed{}
	n := 0
	for p := range s.providers {
		for src := range s.sources {
			at := [2]string{fmt.Sprintf("cloud%d", p), fmt.Sprintf("amqp-%d", src)}
			var queues [][]checker.Handed
			for lane := range s.lanes {
				var queue []checker.Handed
				name := fmt.Sprintf("%s/%s/%d", at[0], at[1], lane)
				if lane == 2 {
					name = ""
				}
				for w := range s.windows {
					loose := r.chance(s.loose)
					var window []checker.Handed
					for range 1 + r.rnd.IntN(s.window) {
						n++
						window = append(window, r.event(s, n, at[0], name, w, loose))
					}
					r.handed = append(r.handed, window...)
					if loose {
						r.rnd.Shuffle(len(window), func(i, j int) { window[i], window[j] = window[j], window[i] })
					}
					queue = append(queue, window...)
				}
				queues = append(queues, queue)
			}
			arrivals[at] = merge(r.rnd, queues...)
		}
	}
	return arrivals
}

func (r *run) event(s shape, n int, provider, lane string, window int, loose bool) checker.Handed {
	h := checker.Handed{
		Provider: provider, Lane: lane, Window: window, Loose: loose,
		Confirmed: r.start.Add(time.Duration(window)*time.Second + time.Duration(r.rnd.IntN(1000))*time.Millisecond),
	}
	switch n % 4 {
	case 0:
		h.ID = fmt.Sprintf("%08x-1111-2222-3333-444444444444", n)
	case 1:
		h.ID = fmt.Sprintf("req %d äöü", n)
	case 2:
		h.ID = fmt.Sprintf("%016x", n)
	case 3:
		h.ID = fmt.Sprintf("%032X", n)
	}
	if r.chance(s.nameless) {
		h.ID = ""
	}
	h.Body = fmt.Appendf(nil, `{"message_id": %q, "payload": {"token": "%s%d-x"}}`, h.ID, marker, n)
	switch {
	case r.chance(s.dead):
		h.Fate = checker.DeadLetter
		h.Body = fmt.Appendf(nil, `{"broken": %d`, n)
	case r.chance(s.either):
		h.Fate = checker.Either
	case r.chance(s.many):
		h.Events = 2 + r.rnd.IntN(2)
		h.Body = fmt.Appendf(nil, `{"several": %d}`, n)
	}
	h.Maybe = r.chance(s.maybe)
	return h
}

// merge puts queues together at random, each in its order.
func merge[T any](rnd *rand.Rand, queues ...[]T) []T {
	var out []T
	queues = slices.DeleteFunc(slices.Clone(queues), func(q []T) bool { return len(q) == 0 })
	for len(queues) > 0 {
		i := rnd.IntN(len(queues))
		n := 1 + rnd.IntN(min(len(queues[i]), 4))
		out = append(out, queues[i][:n]...)
		if queues[i] = queues[i][n:]; len(queues[i]) == 0 {
			queues = slices.Delete(queues, i, i+1)
		}
	}
	return out
}

// collect makes batches of what arrives, with a cursor behind each, and puts those of all sources into one order.
func (r *run) collect(arrivals map[[2]string][]checker.Handed) []rawItem {
	var queues [][][]rawItem
	for _, at := range slices.SortedFunc(maps.Keys(arrivals), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		var batches [][]rawItem
		left := slices.DeleteFunc(slices.Clone(arrivals[at]), func(h checker.Handed) bool { return h.Maybe && r.chance(50) })
		for len(left) > 0 {
			n := 1 + r.rnd.IntN(min(len(left), 6))
			var batch []rawItem
			for _, h := range left[:n] {
				batch = append(batch, rawItem{provider: at[0], source: at[1], h: h, body: h.Body})
			}
			left = left[n:]
			watermark := r.start.Add(time.Hour)
			for _, h := range left {
				if h.Confirmed.Before(watermark) {
					watermark = h.Confirmed
				}
			}
			batch[n-1].watermark = watermark
			batches = append(batches, append(batch, rawItem{provider: at[0], source: at[1], watermark: watermark, cursor: true}))
		}
		queues = append(queues, batches)
	}
	return slices.Concat(merge(r.rnd, queues...)...)
}

// writeRaw writes EVENTS_RAW.
func (r *run) writeRaw(s shape, items []rawItem) {
	numbers := map[string]uint64{}
	for i := range items {
		it := &items[i]
		key := it.provider + "." + it.source
		it.sequence = uint64(i + 1)
		if it.cursor {
			r.raw = append(r.raw, checker.Message{
				Subject: "events.cursor.raw." + key, Sequence: it.sequence, Body: encode(map[string]any{
					"position": numbers[key], "watermark": it.watermark, "batch": strconv.Itoa(i), "written_at": r.start,
				}),
			})
			if it.edit != nil {
				it.edit(&r.raw[len(r.raw)-1])
			}
			continue
		}
		numbers[key] += 1 + it.skip
		it.number = numbers[key]
		h := header("Evt-Id", idOf(it.h), "Evt-Seq", strconv.FormatUint(it.number, 10), "Evt-Received", show(r.start))
		if !it.watermark.IsZero() {
			h["Evt-Watermark"] = []string{show(it.watermark)}
		}
		m := checker.Message{Subject: "events.raw." + key, Header: h, Body: it.body, Sequence: it.sequence}
		if r.chance(s.large) {
			r.toObject(&m)
			m.Body = nil
		}
		if it.edit != nil {
			it.edit(&m)
		}
		r.raw = append(r.raw, m)
	}
}

func (r *run) toObject(m *checker.Message) {
	name := "sha256-" + hexSum(m.Body)
	r.objects[name] = m.Body
	m.Header["Evt-Body-Object"] = []string{name}
	m.Header["Evt-Body-Size"] = []string{strconv.Itoa(len(m.Body))}
}

// normalize makes outcomes of the raw events, in batches with a cursor, those of all providers in one order.
func (r *run) normalize(s shape, items []rawItem) []normItem {
	byProvider := map[string][]normItem{}
	for _, it := range items {
		if it.cursor {
			continue
		}
		dead := it.h.Fate == checker.DeadLetter || it.h.Fate == checker.Either && r.chance(50)
		parts := max(it.h.Events, 1)
		if dead {
			parts = 1
		}
		for part := range parts {
			byProvider[it.provider] = append(byProvider[it.provider],
				normItem{raw: it, dead: dead, part: part, provider: it.provider})
		}
		byProvider[it.provider][len(byProvider[it.provider])-1].cursor = r.chance(30)
	}
	var queues [][][]normItem
	for _, p := range slices.Sorted(maps.Keys(byProvider)) {
		byProvider[p][len(byProvider[p])-1].cursor = true
		var batches [][]normItem
		var batch []normItem
		for _, it := range byProvider[p] {
			end := it.cursor
			it.cursor = false
			if batch = append(batch, it); end {
				batches = append(batches, append(batch, normItem{raw: it.raw, cursor: true, provider: p}))
				batch = nil
			}
		}
		queues = append(queues, batches)
	}
	norm := slices.Concat(merge(r.rnd, queues...)...)
	for i := range norm {
		if it := &norm[i]; !it.cursor {
			it.body = r.bodyOf(*it)
		}
	}
	return norm
}

func (r *run) bodyOf(it normItem) []byte {
	if it.dead {
		return it.raw.body
	}
	return encode(map[string]any{
		"message_id": partID(it), "event_type": "compute.instance.update", "timestamp": "2026-11-22T06:06:06.755824Z",
		"payload": json.RawMessage(it.raw.h.Body), "provider": it.provider, "source": it.raw.source,
	})
}

func partID(it normItem) string {
	id := it.raw.h.ID
	if id == "" {
		id = hexSum(it.raw.h.Body)
	}
	if it.raw.h.Events > 1 {
		id += "." + strconv.Itoa(it.part+1)
	}
	return id
}

// writeNormalized writes EVENTS_NORMALIZED.
func (r *run) writeNormalized(items []normItem) {
	numbers := map[string]uint64{}
	sources := map[string]map[string]any{}
	for i := range items {
		it := &items[i]
		sequence := uint64(i + 1)
		if it.cursor {
			r.norm = append(r.norm, checker.Message{
				Subject: "events.cursor.normalized." + it.provider, Sequence: sequence, Body: encode(map[string]any{
					"raw_seq": it.raw.sequence, "raw_created": r.start, "position": numbers[it.provider], "sources": sources[it.provider],
					"batch": "b", "written_at": r.start,
				}),
			})
			if it.edit != nil {
				it.edit(&r.norm[len(r.norm)-1])
			}
			continue
		}
		if sources[it.provider] == nil {
			sources[it.provider] = map[string]any{}
		}
		at := map[string]any{"position": it.raw.number}
		if was, ok := sources[it.provider][it.raw.source].(map[string]any); ok {
			at["watermark"] = was["watermark"]
			at["position"] = max(it.raw.number, was["position"].(uint64))
		}
		if !it.raw.watermark.IsZero() {
			at["watermark"] = it.raw.watermark
		}
		sources[it.provider][it.raw.source] = at
		numbers[it.provider] += 1 + it.skip
		h := header("Evt-Seq", strconv.FormatUint(numbers[it.provider], 10), "Evt-Raw-Seq", strconv.FormatUint(it.raw.sequence, 10),
			"Evt-Raw-Source", it.raw.source, "Evt-Raw-Evt-Seq", strconv.FormatUint(it.raw.number, 10), "Evt-Converter", "test/1")
		m := checker.Message{Subject: "events.normalized." + it.provider, Header: h, Body: it.body, Sequence: sequence}
		if it.dead {
			m.Subject = "events.dead." + it.provider
			maps.Copy(h, header("Evt-Id", idOf(it.raw.h), "Evt-Reason", "malformed", "Evt-Detail", "not%20JSON"))
			if len(it.body)%7 == 0 {
				r.toObject(&m)
				m.Body = nil
			}
		} else {
			maps.Copy(h, header("ce-specversion", "1.0", "ce-id", escape(partID(*it)), "ce-source", "/providers/"+it.provider,
				"ce-type", "compute.instance.update", "ce-evtsource", it.raw.source))
			if len(it.body)%11 == 0 {
				r.shorten(&m)
			}
		}
		if it.edit != nil {
			it.edit(&m)
		}
		r.norm = append(r.norm, m)
	}
}

// shorten leaves the event to an object.
func (r *run) shorten(m *checker.Message) {
	r.toObject(m)
	var e map[string]any
	if err := json.Unmarshal(m.Body, &e); err != nil {
		panic(err)
	}
	e["payload"] = nil
	e["body_object"] = map[string]any{"bucket": "EVENTS_BODIES", "name": m.Header["Evt-Body-Object"][0], "size": len(m.Body)}
	m.Body = encode(e)
}
