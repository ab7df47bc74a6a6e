package checker_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"stackstream/chaos/checker"
)

// fault is one that is planted into a run, and what has to be found then: this, and nothing else.
type fault struct {
	name  string
	plant faults
	want  []found
}

type found struct {
	kind  checker.Kind
	where string
	count int // 0 is any
}

const (
	raw        = "EVENTS_RAW"
	normalized = "EVENTS_NORMALIZED"
	dead       = "EVENTS_DEAD"
	objects    = "EVENTS_BODIES"
)

// A checker that can't find fault proves nothing: each kind of fault is planted, in many runs.
func TestPlantedFaultsAreFoundAndNamed(t *testing.T) {
	shapes := []shape{
		{providers: 1, sources: 1, lanes: 1, windows: 10, window: 12, dead: 10},
		{providers: 2, sources: 2, lanes: 2, windows: 5, window: 12, dead: 10, loose: 30, either: 5, many: 5, large: 5, nameless: 5, maybe: 5},
	}
	for _, f := range slices.Concat(handedFaults(), rawFaults(), normalizedFaults(), deadFaults(), cursorFaults(), subscriberFaults()) {
		t.Run(f.name, func(t *testing.T) {
			for seed := range uint64(2) {
				for _, s := range shapes {
					s.seed = seed
					v := newRun(s, f.plant).tell(seed).Verdict()
					var got []found
					for _, x := range v.Found {
						got = append(got, found{x.Kind, x.Where, x.Count})
						if len(x.Examples) == 0 || x.Examples[0] == "" {
							t.Errorf("%s in %s has no example", x.Kind, x.Where)
						}
					}
					if !slices.EqualFunc(got, f.want, func(a, b found) bool {
						return a.kind == b.kind && a.where == b.where && (a.count == b.count || b.count == 0)
					}) {
						t.Fatalf("shape %+v: want %v\n%v", s, f.want, v)
					}
				}
			}
		})
	}
}

// ordinary is the place of the nth raw event that is an ordinary one, whose like comes behind it in the same batch and lane.
func ordinary(items []rawItem, nth int) int {
	plain := func(it rawItem) bool {
		return !it.cursor && it.h.Fate == checker.Normal && it.h.Events == 0 && !it.h.Maybe && it.h.ID != ""
	}
	for i := range items[:len(items)-1] {
		a, b := items[i], items[i+1]
		if plain(a) && plain(b) && a.h.Lane != "" && a.h.Lane == b.h.Lane && !a.h.Loose && !b.h.Loose && b.watermark.IsZero() {
			if nth--; nth < 0 {
				return i
			}
		}
	}
	panic("no such event in this run")
}

func copyItem(it rawItem) rawItem {
	it.watermark = time.Time{}
	return it
}

func handedFaults() []fault {
	return []fault{
		{"it is not told of an event", faults{handed: func(all *[]checker.Handed) {
			i := slices.IndexFunc(*all, func(h checker.Handed) bool { return !h.Maybe && h.Fate == checker.Normal })
			*all = slices.Delete(*all, i, i+1)
		}}, []found{{checker.Invented, raw, 1}}},
		{"an event that never arrives", faults{handed: func(all *[]checker.Handed) {
			*all = append(*all, checker.Handed{Provider: "cloud0", ID: "never", Body: []byte("x"), Confirmed: time.Now()})
		}}, []found{{checker.Lost, raw, 1}}},
		{"an event of another provider", faults{handed: func(all *[]checker.Handed) {
			h := (*all)[0]
			h.Provider, h.Lane, h.Maybe = "cloud9", "", false
			*all = append(*all, h)
		}}, []found{{checker.Lost, raw, 1}}},
	}
}

func rawFaults() []fault {
	return []fault{
		{"lost", faults{raw: func(all *[]rawItem) {
			i := ordinary(*all, 1)
			*all = slices.Delete(*all, i, i+1)
		}}, []found{{checker.Lost, raw, 1}}},
		{"a batch is lost", faults{raw: func(all *[]rawItem) {
			i := ordinary(*all, 0)
			*all = slices.Delete(*all, i, i+2)
		}}, []found{{checker.Lost, raw, 2}}},
		{"twice", faults{raw: func(all *[]rawItem) {
			i := ordinary(*all, 1)
			*all = slices.Insert(*all, i+1, copyItem((*all)[i]))
		}}, []found{{checker.Twice, raw, 1}}},
		{"again much later", faults{raw: func(all *[]rawItem) {
			i := ordinary(*all, 0)
			*all = slices.Insert(*all, len(*all)-1, copyItem((*all)[i]))
			last := &(*all)[len(*all)-2]
			last.source = (*all)[len(*all)-1].source
			last.provider = (*all)[len(*all)-1].provider
			if last.provider != (*all)[i].provider { // another cloud's
				last.provider, last.source = (*all)[i].provider, "late"
			}
		}}, []found{{checker.Twice, raw, 1}}},
		{"two change places", faults{raw: func(all *[]rawItem) {
			i := ordinary(*all, 1)
			(*all)[i], (*all)[i+1] = (*all)[i+1], (*all)[i]
		}}, []found{{checker.OutOfOrder, raw, 1}}},
		{"two bodies change places", faults{raw: func(all *[]rawItem) {
			i := ordinary(*all, 1)
			a, b := &(*all)[i], &(*all)[i+1]
			a.body, b.body = b.body, a.body
		}}, []found{{checker.Altered, raw, 2}}},
		{"a byte is altered", faults{raw: func(all *[]rawItem) {
			it := &(*all)[ordinary(*all, 1)]
			it.body = bytes.Replace(it.body, []byte("payload"), []byte("paYload"), 1)
		}}, []found{{checker.Altered, raw, 1}}},
		{"invented", faults{raw: func(all *[]rawItem) {
			i := ordinary(*all, 1)
			it := copyItem((*all)[i])
			it.h.ID, it.h.Lane = "invented", ""
			*all = slices.Insert(*all, i, it)
		}}, []found{{checker.Invented, raw, 1}}},
		{"a hole in the numbers", faults{raw: func(all *[]rawItem) {
			(*all)[ordinary(*all, 1)].skip = 1
		}}, []found{{checker.BadNumber, raw, 1}}},
		{"no id", faults{raw: editRaw(func(m *checker.Message) { delete(m.Header, "Evt-Id") })},
			[]found{{checker.Invented, raw, 1}, {checker.Lost, raw, 1}, {checker.Malformed, raw, 1}}},
		{"a body in an object of another name", faults{raw: editRaw(set("Evt-Body-Object", "sha256-"+hexSum(nil)))},
			[]found{{checker.Altered, raw, 1}}},
		{"an object of no name", faults{raw: editRaw(set("Evt-Body-Object", "x"))},
			[]found{{checker.Altered, raw, 1}, {checker.Malformed, raw, 1}}},
		{"an object is missing", faults{object: func(all map[string][]byte) {
			for name := range all {
				delete(all, name)
			}
		}}, []found{{checker.Lost, objects, 0}}},
		{"an object is altered", faults{object: func(all map[string][]byte) {
			for name := range all {
				all[name] = []byte("x")
			}
		}}, []found{{checker.Altered, objects, 0}}},
		{"the sequence goes back", faults{raw: editRaw(func(m *checker.Message) { m.Sequence = 1 })},
			[]found{{checker.BadNumber, raw, 1}, {checker.Invented, normalized, 1}, {checker.Lost, raw, 1}, {checker.Regressed, raw, 1}}},
		{"a foreign message", faults{raw: func(all *[]rawItem) {
			i := ordinary(*all, 1)
			it := copyItem((*all)[i])
			it.cursor, it.edit = true, func(m *checker.Message) { m.Subject = "events.else" }
			*all = slices.Insert(*all, i, it)
		}}, []found{{checker.Malformed, raw, 1}}},
	}
}

func editRaw(edit func(*checker.Message)) func(*[]rawItem) {
	return func(all *[]rawItem) { (*all)[ordinary(*all, 1)].edit = edit }
}

// normal is the place of the nth ordinary event in EVENTS_NORMALIZED whose like comes behind it.
func normal(items []normItem, nth int) int {
	plain := func(it normItem) bool {
		return !it.cursor && !it.dead && it.raw.h.Events == 0 && it.raw.h.Fate == checker.Normal && it.raw.h.ID != "" && len(it.body)%11 != 0
	}
	for i := range items[:len(items)-1] {
		if plain(items[i]) && plain(items[i+1]) && items[i].provider == items[i+1].provider {
			if nth--; nth < 0 {
				return i
			}
		}
	}
	panic("no such event in this run")
}

// letter is the place of the first dead letter that had to be one.
func letter(items []normItem) int {
	return slices.IndexFunc(items, func(it normItem) bool { return it.dead && it.raw.h.Fate == checker.DeadLetter })
}

func editNormalized(edit func(*checker.Message)) func(*[]normItem) {
	return func(all *[]normItem) { (*all)[normal(*all, 1)].edit = edit }
}

func editLetter(edit func(*checker.Message)) func(*[]normItem) {
	return func(all *[]normItem) { (*all)[letter(*all)].edit = edit }
}

func set(name, value string) func(*checker.Message) {
	return func(m *checker.Message) { m.Header[name] = []string{value} }
}

// alter changes members of a message's body.
func alter(change func(map[string]any)) func(*checker.Message) {
	return func(m *checker.Message) {
		var e map[string]any
		if err := json.Unmarshal(m.Body, &e); err != nil {
			panic(err)
		}
		change(e)
		m.Body = encode(e)
	}
}

func normalizedFaults() []fault {
	one := func(kind checker.Kind) []found { return []found{{kind, normalized, 1}} }
	return []fault{
		{"a raw event is not normalized", faults{norm: func(all *[]normItem) {
			i := normal(*all, 1)
			*all = slices.Delete(*all, i, i+1)
		}}, one(checker.Lost)},
		{"a raw event is not even a dead letter", faults{norm: func(all *[]normItem) {
			i := letter(*all)
			*all = slices.Delete(*all, i, i+1)
		}}, one(checker.Lost)},
		{"normalized twice", faults{norm: func(all *[]normItem) {
			i := normal(*all, 1)
			*all = slices.Insert(*all, i, (*all)[i])
		}}, one(checker.Twice)},
		{"a dead letter twice", faults{norm: func(all *[]normItem) {
			i := letter(*all)
			*all = slices.Insert(*all, i, (*all)[i])
		}}, one(checker.Twice)},
		{"two change places in NORMALIZED", faults{norm: func(all *[]normItem) {
			i := normal(*all, 1)
			(*all)[i], (*all)[i+1] = (*all)[i+1], (*all)[i]
		}}, one(checker.OutOfOrder)},
		{"two canonical bodies change places", faults{norm: func(all *[]normItem) {
			i := normal(*all, 1)
			a, b := &(*all)[i], &(*all)[i+1]
			a.body, b.body = b.body, a.body
			a.edit = alter(func(e map[string]any) { e["source"] = a.raw.source })
			b.edit = alter(func(e map[string]any) { e["source"] = b.raw.source })
		}}, []found{{checker.Altered, normalized, 2}}},
		{"two payloads change places", faults{norm: func(all *[]normItem) {
			i := normal(*all, 1)
			a, b := &(*all)[i], &(*all)[i+1]
			payloads := [2]json.RawMessage{a.raw.body, b.raw.body}
			a.edit = alter(func(e map[string]any) { e["payload"] = payloads[1] })
			b.edit = alter(func(e map[string]any) { e["payload"] = payloads[0] })
		}}, []found{{checker.Altered, normalized, 2}}},
		{"invented in NORMALIZED", faults{norm: func(all *[]normItem) {
			i := normal(*all, 1)
			it := (*all)[i]
			it.raw.h.ID = "invented"
			it.edit = alter(func(e map[string]any) { e["message_id"] = "invented" })
			*all = slices.Insert(*all, i, it)
		}}, one(checker.Invented)},
		{"a hole in the numbers of NORMALIZED", faults{norm: func(all *[]normItem) {
			(*all)[normal(*all, 1)].skip = 2
		}}, one(checker.BadNumber)},
		{"a dead letter that should not be", faults{norm: func(all *[]normItem) {
			it := &(*all)[normal(*all, 1)]
			it.dead, it.body = true, it.raw.body
		}}, one(checker.BadFate)},
		{"not a dead letter that should be", faults{norm: func(all *[]normItem) {
			it := &(*all)[letter(*all)]
			it.raw.h.Body = []byte(`{}`)
			it.dead, it.body = false, encode(map[string]any{
				"message_id": partID(*it), "event_type": "compute.instance.update", "timestamp": "2026-11-22T06:06:06Z",
				"payload": map[string]any{}, "provider": it.provider, "source": it.raw.source, "pad": len(partID(*it)),
			})
		}}, one(checker.BadFate)},
		{"another raw sequence", faults{norm: editNormalized(set("Evt-Raw-Seq", "1000000"))}, one(checker.BadOrigin)},
		{"another raw number", faults{norm: editNormalized(set("Evt-Raw-Evt-Seq", "1000000"))}, one(checker.BadOrigin)},
		{"another source", faults{norm: editNormalized(func(m *checker.Message) {
			alter(func(e map[string]any) { e["source"] = "x" })(m)
			set("Evt-Raw-Source", "x")(m)
			set("ce-evtsource", "x")(m)
		})}, one(checker.BadOrigin)},
		{"no raw sequence", faults{norm: editNormalized(func(m *checker.Message) { delete(m.Header, "Evt-Raw-Evt-Seq") })},
			[]found{{checker.BadOrigin, normalized, 1}, {checker.Malformed, normalized, 1}}},
		{"another source in the body", faults{norm: editNormalized(alter(func(e map[string]any) { e["source"] = "x" }))}, one(checker.Malformed)},
		{"another provider in the body", faults{norm: editNormalized(alter(func(e map[string]any) { e["provider"] = "x" }))}, one(checker.Malformed)},
		{"no payload", faults{norm: editNormalized(alter(func(e map[string]any) { delete(e, "payload") }))},
			[]found{{checker.Altered, normalized, 1}, {checker.Malformed, normalized, 1}}},
		{"a timestamp without a zone", faults{norm: editNormalized(alter(func(e map[string]any) { e["timestamp"] = "2026-11-22T06:06:06" }))},
			one(checker.Malformed)},
		{"no event_type", faults{norm: editNormalized(alter(func(e map[string]any) { e["event_type"] = "" }))}, one(checker.Malformed)},
		{"no CloudEvent", faults{norm: editNormalized(func(m *checker.Message) { delete(m.Header, "ce-specversion") })}, one(checker.Malformed)},
		{"another cloud's CloudEvent", faults{norm: editNormalized(set("ce-source", "/providers/x"))}, one(checker.Malformed)},
		{"another type in the header", faults{norm: editNormalized(set("ce-type", "x"))}, one(checker.Malformed)},
		{"a dead letter without a reason", faults{norm: editLetter(func(m *checker.Message) { m.Header["Evt-Reason"] = []string{""} })},
			one(checker.Malformed)},
		{"a dead letter without the error", faults{norm: editLetter(func(m *checker.Message) { delete(m.Header, "Evt-Detail") })},
			one(checker.Malformed)},
		{"a dead letter with an altered body", faults{norm: editLetter(func(m *checker.Message) {
			delete(m.Header, "Evt-Body-Object")
			m.Body = []byte("altered")
		})}, one(checker.Altered)},
	}
}

func deadFaults() []fault {
	one := func(kind checker.Kind) []found { return []found{{kind, dead, 1}} }
	return []fault{
		{"a dead letter is missing from EVENTS_DEAD", faults{dead: func(all *[]checker.Message) { *all = slices.Delete(*all, 1, 2) }}, one(checker.Lost)},
		{"twice in EVENTS_DEAD", faults{dead: func(all *[]checker.Message) { *all = append(*all, (*all)[0]) }}, one(checker.Twice)},
		{"invented in EVENTS_DEAD", faults{dead: func(all *[]checker.Message) {
			m := (*all)[0]
			m.Header = header("Evt-Id", "x", "Evt-Seq", "10000", "Evt-Reason", "x")
			*all = append(*all, m)
		}}, one(checker.Invented)},
		{"altered in EVENTS_DEAD", faults{dead: func(all *[]checker.Message) {
			m := &(*all)[1]
			m.Header = header("Evt-Id", m.Header["Evt-Id"][0], "Evt-Seq", m.Header["Evt-Seq"][0], "Evt-Reason", "other")
		}}, one(checker.Altered)},
		{"out of order in EVENTS_DEAD", faults{dead: func(all *[]checker.Message) {
			for i, m := range (*all)[1:] {
				if m.Subject == (*all)[i].Subject {
					(*all)[i], (*all)[i+1] = (*all)[i+1], (*all)[i]
					return
				}
			}
			panic("one dead letter of each")
		}}, one(checker.OutOfOrder)},
	}
}
