package checker_test

import (
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"stackstream/chaos/checker"
)

// redriving is a small run in which dead letters are converted again and dropped.
type redriving struct{ raw, norm, dead []checker.Message }

// newRedriving has five events of which four are dead letters: the second becomes an event, the third a dead letter again, and
// that one an event, the fourth is dropped and then becomes an event, and the fifth is dropped.
func newRedriving() *redriving {
	r := &redriving{}
	body := func(n int) []byte { return encode(map[string]any{"n": n}) }
	event := func(n int) {
		r.put(&r.raw, "events.raw.cloud.http", header("Evt-Id", "e-"+strconv.Itoa(n), "Evt-Seq", strconv.Itoa(n)), body(n))
	}
	for n := 1; n <= 5; n++ {
		event(n)
	}
	r.put(&r.raw, "events.cursor.raw.cloud.http", nil, encode(map[string]any{"position": 5}))
	numbers := 0
	repair := func(name string, letter, n int) {
		numbers++
		h := header("Evt-Id", "e-"+strconv.Itoa(n), "Evt-Seq", strconv.Itoa(numbers), name, strconv.Itoa(letter), "Evt-Raw-Source", "http",
			"Evt-Message-Format", "2")
		text := body(n)
		if name == "Evt-Dropped" {
			text = nil
		}
		r.put(&r.raw, "events.raw.cloud.redrive", h, text)
	}
	repair("Evt-Redriven", 2, 2) // 7
	repair("Evt-Redriven", 3, 3) // 8
	repair("Evt-Dropped", 4, 4)  // 9
	repair("Evt-Redriven", 7, 3) // 10
	repair("Evt-Redriven", 4, 4) // 11
	repair("Evt-Dropped", 5, 5)  // 12
	r.put(&r.raw, "events.cursor.raw.cloud.redrive", nil, encode(map[string]any{"position": 6}))

	seq := 0
	outcome := func(dead bool, source string, n, raw, rawNumber, letter int) {
		seq++
		h := header("Evt-Seq", strconv.Itoa(seq), "Evt-Raw-Seq", strconv.Itoa(raw), "Evt-Raw-Source", source, "Evt-Raw-Evt-Seq", strconv.Itoa(rawNumber))
		if letter > 0 {
			maps.Copy(h, header("Evt-Redriven", strconv.Itoa(letter), "Evt-Origin-Source", "http"))
		}
		id := "e-" + strconv.Itoa(n)
		if dead {
			maps.Copy(h, header("Evt-Id", id, "Evt-Reason", "malformed", "Evt-Detail", "d"))
			r.put(&r.norm, "events.dead.cloud", h, body(n))
			r.put(&r.dead, "events.dead.cloud", h, body(n))
			return
		}
		maps.Copy(h, header("ce-specversion", "1.0", "ce-id", id, "ce-source", "/providers/cloud", "ce-type", "t", "ce-evtsource", "http"))
		r.put(&r.norm, "events.normalized.cloud", h, encode(map[string]any{
			"message_id": id, "event_type": "t", "timestamp": "2026-11-22T06:06:06Z", "payload": map[string]any{}, "provider": "cloud", "source": "http",
		}))
	}
	state := func(letter int, state string, made int) {
		record := map[string]any{"letter": letter, "state": state, "at": time.Now()}
		if made > 0 {
			record["seq"] = made
		}
		r.put(&r.norm, "events.deadstate.cloud", nil, encode(record))
		r.put(&r.dead, "events.deadstate.cloud", nil, encode(record))
	}
	outcome(false, "http", 1, 1, 1, 0)
	for n := 2; n <= 5; n++ {
		outcome(true, "http", n, n, n, 0)
	}
	outcome(false, "redrive", 2, 7, 1, 2)
	state(2, "redriven", 6)
	outcome(true, "redrive", 3, 8, 2, 3)
	state(3, "dead", 7)
	state(4, "dropped", 0)
	outcome(false, "redrive", 3, 10, 4, 7)
	state(7, "redriven", 8)
	outcome(false, "redrive", 4, 11, 5, 4)
	state(4, "redriven", 9)
	state(5, "dropped", 0)
	r.put(&r.norm, "events.cursor.normalized.cloud", nil, encode(map[string]any{"position": 9, "raw_seq": 12, "sources": map[string]any{
		"http": map[string]any{"position": 5}, "redrive": map[string]any{"position": 6},
	}}))
	return r
}

func (r *redriving) put(all *[]checker.Message, subject string, h map[string][]string, body []byte) {
	*all = append(*all, checker.Message{Subject: subject, Header: maps.Clone(h), Body: body, Sequence: uint64(len(*all) + 1)})
}

func (r *redriving) verdict() checker.Verdict {
	c := checker.New(checker.Options{})
	for n := 1; n <= 5; n++ {
		fate := checker.DeadLetter
		if n == 1 {
			fate = checker.Normal
		}
		c.Handed(checker.Handed{Provider: "cloud", ID: "e-" + strconv.Itoa(n), Body: encode(map[string]any{"n": n}), Fate: fate})
	}
	for _, m := range r.raw {
		c.Raw(m)
	}
	for _, m := range r.norm {
		c.Normalized(m)
	}
	for _, m := range r.dead {
		c.Dead(m)
	}
	return c.Verdict()
}

func TestRedrivenLettersAreNoViolation(t *testing.T) {
	v := newRedriving().verdict()
	if !v.OK() || v.Raw != v.Dealt {
		t.Error(v)
	}
}

// Each way in which redriving may go wrong is planted and found.
func TestRedrivingGoneWrong(t *testing.T) {
	at := func(all []checker.Message, subject string, nth int) int {
		for i, m := range all {
			if m.Subject == subject {
				if nth--; nth < 0 {
					return i
				}
			}
		}
		panic("no such message")
	}
	renumber := func(all []checker.Message) {
		for i := range all {
			all[i].Sequence = uint64(i + 1)
		}
	}
	const redrive, states, letters, events = "events.raw.cloud.redrive", "events.deadstate.cloud", "events.dead.cloud", "events.normalized.cloud"
	for name, test := range map[string]struct {
		plant func(r *redriving)
		want  found
	}{
		"a letter is redriven twice": {func(r *redriving) { r.raw[at(r.raw, redrive, 3)].Header["Evt-Redriven"][0] = "2" },
			found{checker.Twice, raw, 0}},
		"and dropped after that": {func(r *redriving) { r.raw[at(r.raw, redrive, 5)].Header["Evt-Dropped"][0] = "3" },
			found{checker.Twice, raw, 0}},
		"what is redriven is no letter": {func(r *redriving) { r.raw[at(r.raw, redrive, 0)].Header["Evt-Redriven"][0] = "1" },
			found{checker.Invented, raw, 1}},
		"it is another letter's event": {func(r *redriving) { r.raw[at(r.raw, redrive, 0)].Header["Evt-Redriven"][0] = "5" },
			found{checker.Altered, raw, 1}},
		"it has another body": {func(r *redriving) { r.raw[at(r.raw, redrive, 0)].Body = []byte("x") },
			found{checker.Altered, raw, 1}},
		"it says nothing about a letter": {func(r *redriving) { delete(r.raw[at(r.raw, redrive, 0)].Header, "Evt-Redriven") },
			found{checker.Malformed, raw, 1}},
		"it is redriven and dropped": {func(r *redriving) { r.raw[at(r.raw, redrive, 0)].Header["Evt-Dropped"] = []string{"2"} },
			found{checker.Malformed, raw, 1}},
		"a redriven letter becomes nothing": {func(r *redriving) {
			i := at(r.norm, events, 1)
			r.norm = slices.Delete(r.norm, i, i+1)
			renumber(r.norm)
		}, found{checker.Lost, normalized, 0}},
		"a dropped letter becomes an event": {func(r *redriving) {
			m := &r.norm[at(r.norm, events, 1)]
			m.Header["Evt-Raw-Seq"][0], m.Header["Evt-Raw-Evt-Seq"][0] = "9", "3"
		}, found{checker.BadOrigin, normalized, 0}},
		"an event does not say that it was a letter": {func(r *redriving) { delete(r.norm[at(r.norm, events, 1)].Header, "Evt-Redriven") },
			found{checker.BadOrigin, normalized, 1}},
		"an event says that it was one": {func(r *redriving) { r.norm[at(r.norm, events, 0)].Header["Evt-Redriven"] = []string{"5"} },
			found{checker.BadOrigin, normalized, 1}},
		"an event says another source": {func(r *redriving) { r.norm[at(r.norm, events, 1)].Header["Evt-Origin-Source"][0] = "panko" },
			found{checker.Malformed, normalized, 1}},
		"no record of what became of it": {func(r *redriving) {
			r.norm = slices.Delete(r.norm, at(r.norm, states, 0), at(r.norm, states, 0)+1)
			renumber(r.norm)
		}, found{checker.Lost, normalized, 1}},
		"a record of nothing": {func(r *redriving) {
			r.put(&r.norm, states, nil, encode(map[string]any{"letter": 5, "state": "dropped"}))
		}, found{checker.Invented, normalized, 1}},
		"a record of something else": {func(r *redriving) {
			r.norm[at(r.norm, states, 0)].Body = encode(map[string]any{"letter": 2, "state": "dead", "seq": 6})
		}, found{checker.Altered, normalized, 1}},
		"a record of another event": {func(r *redriving) {
			r.norm[at(r.norm, states, 0)].Body = encode(map[string]any{"letter": 2, "state": "redriven", "seq": 5})
		}, found{checker.Altered, normalized, 1}},
		"a record that is none": {func(r *redriving) { r.norm[at(r.norm, states, 0)].Body = []byte(`{"letter": 2, "state": "gone"}`) },
			found{checker.Malformed, normalized, 1}},
		"a record apart from its event": {func(r *redriving) {
			i := at(r.norm, states, 0)
			m := r.norm[i]
			r.norm = slices.Insert(slices.Delete(r.norm, i, i+1), len(r.norm)-2, m)
			renumber(r.norm)
		}, found{checker.Altered, normalized, 1}},
		"a record is not copied": {func(r *redriving) {
			i := at(r.dead, states, 1)
			r.dead = slices.Delete(r.dead, i, i+1)
			renumber(r.dead)
		}, found{checker.Lost, dead, 1}},
		"a record is copied twice": {func(r *redriving) {
			m := r.dead[at(r.dead, states, 0)]
			r.put(&r.dead, m.Subject, nil, m.Body)
		}, found{checker.Invented, dead, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRedriving()
			test.plant(r)
			v := r.verdict()
			if !slices.ContainsFunc(v.Found, func(x checker.Violation) bool {
				return x.Kind == test.want.kind && x.Where == test.want.where && (test.want.count == 0 || x.Count == test.want.count)
			}) {
				t.Errorf("want %v\n%v", test.want, v)
			}
		})
	}
}
