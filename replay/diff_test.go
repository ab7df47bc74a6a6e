package replay_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
	"stackstream/normalizer"
	"stackstream/publisher"
	"stackstream/replay"
)

// normalize makes NORMALIZED of RAW with a converter, as the normalizer does.
func (w *world) normalize(t *testing.T, s *stream, c normalizer.Converter) {
	t.Helper()
	conversion := normalizer.Conversion{Converters: map[string]normalizer.Converter{"test": c}, Bodies: w}
	n := publisher.NewNormalized(s, w, cloud, publisher.Options{Limits: publisher.Limits{MaxBody: 2000}})
	if _, err := n.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	var outcomes []event.Outcome
	for _, m := range w.raw.messages {
		if isRaw(m.Subject) {
			raw, err := event.ParseRaw(m)
			if err != nil {
				t.Fatal(err)
			}
			outcomes = append(outcomes, conversion.Convert(raw, raw.Body))
		}
	}
	if _, err := n.Commit(t.Context(), outcomes, event.RawStream{}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) comparison(s *stream, c normalizer.Converter, each func(replay.Difference) error) *replay.Comparison {
	var none event.StreamSeq
	conversion := normalizer.Conversion{Converters: map[string]normalizer.Converter{"test": c}, Bodies: w}
	end := event.StreamSeq(len(w.raw.messages))
	return &replay.Comparison{
		Provider: cloud, From: 1, To: end, Conversion: conversion, Each: each,
		Raw: &part{s: &w.raw, match: isRaw, next: 1, to: end, expired: &w.expired},
		Normalized: &part{s: s, next: 1, to: event.StreamSeq(len(s.messages)), expired: &none, match: func(subject string) bool {
			return strings.Count(subject, ".") == 2
		}},
	}
}

// changed converts as converter does, but for what its functions say.
type changed struct {
	converter
	convert func(raw event.Raw) (normalizer.Converted, error)
}

func (c changed) Name() string { return "test/3" }

func (c changed) Convert(raw event.Raw) (normalizer.Converted, error) {
	out, err := c.convert(raw)
	if out.Events == nil && err == nil {
		return c.converter.Convert(raw)
	}
	return out, err
}

func TestCompare(t *testing.T) {
	w := newWorld()
	w.add("panko", "same", nil)
	w.add("panko", "other", nil)
	letter := w.add("panko", "bad", nil)
	w.add("panko", "fails", nil)
	w.add("panko", "panic", nil)
	w.add("panko", "two,of", nil)
	w.add("panko", "large", nil)
	w.add("panko", "same", nil) // expired in NORMALIZED
	w.add(event.SourceRedrive, "bad", &event.Repair{Letter: 3, Drop: true, Source: "panko", Seq: 3, Sequence: letter})
	w.add(event.SourceRedrive, "bad", &event.Repair{Letter: 3, Source: "panko", Seq: 3, Sequence: letter})
	var normalized stream
	w.normalize(t, &normalized, converter{"2"})
	for i, m := range normalized.messages {
		if m.Header.Get(event.HeaderRawSeq) == "15" {
			normalized.messages[i].Subject = "gone.for.good.now"
		}
	}
	// A rewind.
	first := normalized.messages[0]
	normalized.messages = append(normalized.messages, first)

	var found []replay.Difference
	mended := changed{converter{"2"}, func(raw event.Raw) (normalizer.Converted, error) {
		switch string(raw.Body) {
		case "other":
			out, err := converter{"2"}.Convert(raw)
			out.Events[0].Message, out.Events[0].Payload = "mended", []byte(`{"more":"","version":2}`)
			return out, err
		case "bad":
			return converter{"2"}.Convert(event.Raw{ID: raw.ID, Body: []byte("good")})
		case "fails":
			return normalizer.Converted{}, errors.New("worse")
		case "two,of":
			return converter{"2"}.Convert(event.Raw{ID: raw.ID, Body: []byte("two,of,three")})
		}
		return normalizer.Converted{}, nil
	}}
	tally, err := w.comparison(&normalized, mended, func(d replay.Difference) error {
		found = append(found, d)
		return nil
	}).Compare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := replay.Tally{
		Raw: 10, Same: 2, Changed: 2, Revived: 2, Died: 1, StillDead: 1, Missing: 1, Skipped: 1, Redriven: 1, Again: 1,
		Fields: map[string]uint64{"message": 1, "payload.version": 1, "(an event more)": 1},
		Types:  map[string]uint64{"other": 1, "two": 1},
	}
	if diff := cmp.Diff(want, tally); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	var kinds []string
	for _, d := range found {
		kinds = append(kinds, d.Kind+" "+string(d.ID))
	}
	if diff := cmp.Diff([]string{
		"changed panko-2", "revived panko-3", "died panko-4", "changed panko-6", "missing panko-8", "revived redrive-2",
	}, kinds); diff != "" {
		t.Fatalf("told (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]replay.Change{
		{Path: "payload.version", Old: []byte(`"2"`), New: []byte(`2`)}, {Path: "message", New: []byte(`"mended"`)},
	}, found[0].Changes); diff != "" || found[0].Number != 2 || found[0].NewConverter != "test/3" || found[0].OldConverter != "test/2" {
		t.Errorf("the first is %+v; changes (-want +got):\n%s", found[0], diff)
	}
	if d := found[3]; d.Of != 3 || !strings.Contains(string(d.New), `"event_type":"three"`) {
		t.Errorf("the event that is new is %+v", d)
	}
	if d := found[1]; d.Reason != event.ReasonMalformed || d.Detail != "bad" || !strings.Contains(string(d.New), `"event_type":"good"`) {
		t.Errorf("the letter that would be an event is %+v", d)
	}
}

func TestCompareTypes(t *testing.T) {
	w := newWorld()
	for _, body := range []string{"a", "b", "bad"} {
		w.add("panko", body, nil)
	}
	var normalized stream
	w.normalize(t, &normalized, converter{"1"})
	c := w.comparison(&normalized, converter{"2"}, func(replay.Difference) error { return nil })
	c.Match = func(kind string) bool { return kind == "a" }
	tally, err := c.Compare(t.Context())
	if err != nil || tally.Changed != 1 || tally.Filtered != 1 || tally.StillDead != 1 {
		t.Errorf("%+v (%v)", tally, err)
	}
}

// What nobody wants to hear any more ends it.
func TestCompareEndsWithItsReader(t *testing.T) {
	w := newWorld()
	w.add("panko", "a", nil)
	var normalized stream
	w.normalize(t, &normalized, converter{"1"})
	enough := errors.New("enough")
	_, err := w.comparison(&normalized, converter{"2"}, func(replay.Difference) error { return enough }).Compare(t.Context())
	if !errors.Is(err, enough) {
		t.Errorf("it ends with %v", err)
	}
}
