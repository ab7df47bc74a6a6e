package checker_test

import (
	"slices"
	"strings"
	"time"

	"stackstream/chaos/checker"
)

// lastCursor is the place of the last cursor in EVENTS_RAW or EVENTS_NORMALIZED.
func lastCursor[T any](items []T, isCursor func(T) bool) int {
	for i := len(items) - 1; ; i-- {
		if isCursor(items[i]) {
			return i
		}
	}
}

func rawCursor(it rawItem) bool   { return it.cursor }
func normCursor(it normItem) bool { return it.cursor }

// watermarks is the place of an event with a watermark, and of the next one of its source, which has a later one.
func watermarks(items []rawItem) (a, b int) {
	last := map[string]int{}
	for b, y := range items {
		if y.cursor || y.watermark.IsZero() {
			continue
		}
		a, ok := last[y.provider+y.source]
		if ok && items[a].watermark.Before(y.watermark) {
			return a, b
		}
		last[y.provider+y.source] = b
	}
	panic("no two watermarks")
}

// honest leaves out the watermark of a raw event that was tampered with.
func honest(all *[]normItem) {
	for i := range *all {
		if (*all)[i].raw.edit != nil {
			(*all)[i].raw.watermark = time.Time{}
		}
	}
}

// keep makes a cursor one that whoever reads the stream has seen.
func keep(m *checker.Message) { m.Time = time.Unix(1, 0) }

func cursorFaults() []fault {
	again := func(change func(map[string]any)) faults {
		return faults{raw: func(all *[]rawItem) {
			it := (*all)[lastCursor(*all, rawCursor)]
			it.edit = alter(change)
			*all = append(*all, it)
		}}
	}
	normAgain := func(change func(map[string]any)) faults {
		return faults{norm: func(all *[]normItem) {
			it := (*all)[lastCursor(*all, normCursor)]
			it.edit = alter(change)
			*all = append(*all, it)
		}}
	}
	far := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	past := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	return []fault{
		{"a cursor's position moves back", again(func(r map[string]any) { r["position"], r["watermark"] = 0, past }),
			[]found{{checker.BadCursor, raw, 0}}},
		{"a cursor's watermark moves back", again(func(r map[string]any) { r["watermark"] = past }), []found{{checker.BadCursor, raw, 0}}},
		{"a cursor is ahead of the events", again(func(r map[string]any) { r["position"] = 1e6 }), []found{{checker.BadCursor, raw, 0}}},
		{"a cursor is gone", again(func(r map[string]any) { delete(r, "position"); delete(r, "watermark") }), []found{{checker.BadCursor, raw, 0}}},
		{"a cursor can't be read", faults{raw: func(all *[]rawItem) {
			(*all)[lastCursor(*all, rawCursor)].edit = func(m *checker.Message) { m.Body = []byte("{") }
		}}, []found{{checker.Malformed, raw, 0}}},
		{"two cursors with one sequence", faults{read: func(all *[]checker.Message) {
			i := slices.IndexFunc(*all, func(m checker.Message) bool { return strings.HasPrefix(m.Subject, "events.cursor.raw.") })
			m := (*all)[i]
			alter(func(r map[string]any) { r["position"] = 1e6 })(&m)
			*all = append(*all, m)
		}}, []found{{checker.BadCursor, raw, 0}}},
		{"the normalizer's cursor moves back", normAgain(func(r map[string]any) { r["raw_seq"] = 1 }), []found{{checker.BadCursor, normalized, 0}}},
		{"the normalizer's position moves back", normAgain(func(r map[string]any) { r["position"] = 1 }), []found{{checker.BadCursor, normalized, 0}}},
		{"a source's position moves back", normAgain(func(r map[string]any) {
			for _, at := range r["sources"].(map[string]any) {
				at.(map[string]any)["position"], at.(map[string]any)["watermark"] = 0, past
			}
		}), []found{{checker.BadCursor, normalized, 0}}},
		{"a source's position is ahead", normAgain(func(r map[string]any) {
			for _, at := range r["sources"].(map[string]any) {
				at.(map[string]any)["position"] = 1e6
			}
		}), []found{{checker.BadCursor, normalized, 0}}},
		{"RAW is another stream", normAgain(func(r map[string]any) { r["raw_created"] = far }), []found{{checker.BadCursor, normalized, 0}}},
		{"an event's watermark moves back", faults{raw: func(all *[]rawItem) {
			_, b := watermarks(*all)
			(*all)[b].edit = set("Evt-Watermark", past.Format(time.RFC3339))
		}}, []found{{checker.BadCursor, raw, 1}}},
		{"an event's watermark says too much", faults{raw: func(all *[]rawItem) {
			a, b := watermarks(*all)
			(*all)[a].edit = set("Evt-Watermark", (*all)[b].watermark.Format(time.RFC3339Nano))
		}, norm: honest}, []found{{checker.BadWatermark, raw, 1}}},
		{"a cursor's watermark says too much", faults{raw: func(all *[]rawItem) {
			a, b := watermarks(*all)
			c := a + slices.IndexFunc((*all)[a:], rawCursor)
			(*all)[c].watermark = (*all)[b].watermark
			(*all)[c].edit = keep
		}}, []found{{checker.BadWatermark, raw, 0}}},
		{"the normalizer's watermark says too much", faults{norm: func(all *[]normItem) {
			var items []rawItem
			for _, it := range *all {
				items = append(items, it.raw)
				items[len(items)-1].cursor = it.cursor
			}
			a, b := watermarks(items)
			(*all)[a].raw.watermark = items[b].watermark
			*all = slices.Insert(*all, a+1, normItem{provider: items[a].provider, raw: items[a], cursor: true, edit: keep})
		}}, []found{{checker.BadWatermark, normalized, 0}}},
		{"no time", faults{raw: editRaw(set("Evt-Watermark", "now"))}, []found{{checker.Malformed, raw, 1}}},
	}
}

func subscriberFaults() []fault {
	on := func(name string, change func(*[]checker.Message)) faults {
		return faults{sees: func(who string, saw *[]checker.Message) {
			if who == name {
				change(saw)
			}
		}}
	}
	lose := func(all *[]checker.Message) {
		m := (*all)[2]
		*all = slices.DeleteFunc(*all, func(x checker.Message) bool { return x.Sequence == m.Sequence })
	}
	repeat := func(all *[]checker.Message) { *all = slices.Insert(*all, 3, (*all)[2]) }
	swap := func(all *[]checker.Message) { (*all)[2], (*all)[3] = (*all)[3], (*all)[2] }
	foreign := func(all *[]checker.Message) {
		m := (*all)[2]
		m.Sequence = 0
		m.Header = header("ce-id", "refused", "Evt-Seq", "3", "Nats-Sequence", "1000000")
		*all = slices.Insert(*all, 3, m)
	}
	var all []fault
	untold := func(all *[]checker.Message) { (*all)[2].Header["Nats-Last-Sequence"] = []string{"1"} }
	other := func(all *[]checker.Message) {
		i := slices.IndexFunc(*all, func(m checker.Message) bool { return m.Header["Evt-Body-Object"] == nil })
		(*all)[i].Body = []byte("{}")
	}
	for _, s := range []struct {
		name string
		do   func(*[]checker.Message)
		who  string
		kind checker.Kind
	}{
		{"is not told what it missed", untold, "plain", checker.UntoldGap},
		{"sees another body", other, "plain", checker.Altered},
		{"sees another body", other, "durable", checker.Altered},
		{"sees another body", other, "exact", checker.Altered},
		{"misses one", lose, "exact", checker.Lost},
		{"misses one", lose, "exact-dead", checker.Lost},
		{"misses one", lose, "durable", checker.Lost},
		{"sees one twice", repeat, "exact", checker.Twice},
		{"sees one twice", repeat, "exact-dead", checker.Twice},
		{"sees one twice", repeat, "plain", checker.Twice},
		{"sees two out of order", swap, "exact", checker.OutOfOrder},
		{"sees two out of order", swap, "plain", checker.OutOfOrder},
		{"sees one that was not committed", foreign, "plain", checker.Invented},
		{"sees one that was not committed", foreign, "durable", checker.Invented},
		{"sees one that was not committed", foreign, "exact", checker.Invented},
	} {
		all = append(all, fault{s.who + " " + s.name, on(s.who, s.do), []found{{s.kind, s.who, 1}}})
	}
	return all
}
