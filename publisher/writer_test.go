package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/event"
)

// answer is what a scripted Log says to one Append, and what it does before it answers.
type answer struct {
	err    error
	before func(s *stream, b event.Batch, earlier []event.Batch)
}

func kind(k event.Kind) error { return &event.Error{Kind: k, Op: "append"} }

func storeIt(s *stream, b event.Batch, _ []event.Batch) { _, _ = s.Append(context.Background(), b) }

func storeFirst(s *stream, _ event.Batch, earlier []event.Batch) {
	_, _ = s.Append(context.Background(), earlier[0])
}

func storeForeign(s *stream, b event.Batch, _ []event.Batch) {
	b.Cursor.Body = []byte(`{"batch":"other","owner":"host-2","position":7}`)
	b.Messages = nil
	_, _ = s.Append(context.Background(), b)
}

// script is a Log over s that answers Append by the script, and then as s does.
func script(s *stream, answers []answer) (Log, *[]event.Batch) {
	var batches []event.Batch
	return fakeLog{
		append: func(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
			n := len(batches)
			batches = append(batches, b)
			if n >= len(answers) {
				return s.Append(ctx, b)
			}
			if answers[n].before != nil {
				answers[n].before(s, b, batches)
			}
			if answers[n].err != nil {
				return 0, answers[n].err
			}
			return s.Append(ctx, b)
		},
		readCursor: s.ReadCursor,
	}, &batches
}

func TestWhatBecomesOfABatch(t *testing.T) {
	tests := []struct {
		name     string
		answers  []answer
		kind     event.Kind // of the error, 0 for none
		attempts int
		results  []event.Kind
		rereads  int
		text     string // in the error
	}{
		{
			name: "stored", attempts: 1, results: []event.Kind{0},
		},
		{
			name: "stored, answer lost", answers: []answer{{event.Unknown, storeIt}},
			attempts: 1, results: []event.Kind{event.Unknown, 0}, rereads: 1,
		},
		{
			name: "an error without a kind is not definite", answers: []answer{{errors.New("connection closed"), storeIt}},
			attempts: 1, results: []event.Kind{event.Unknown, 0}, rereads: 1,
		},
		{
			name: "not stored, no answer", answers: []answer{{event.Unknown, nil}},
			attempts: 2, results: []event.Kind{event.Unknown, 0}, rereads: 1,
		},
		{
			name:     "the first attempt is stored while the second is under way",
			answers:  []answer{{event.Unknown, nil}, {nil, storeFirst}},
			attempts: 2, results: []event.Kind{event.Unknown, event.Fenced, 0}, rereads: 2,
		},
		{
			name: "the first of three attempts is stored",
			answers: []answer{
				{event.Unknown, nil}, {event.Unknown, nil}, {event.Unknown, storeFirst},
			},
			attempts: 3, results: []event.Kind{event.Unknown, event.Unknown, event.Unknown, 0}, rereads: 3,
		},
		{
			name: "full and unavailable", answers: []answer{{kind(event.Full), nil}, {kind(event.Unavailable), nil}},
			attempts: 3, results: []event.Kind{event.Full, event.Unavailable, 0},
		},
		{
			name: "another writer was first", answers: []answer{{nil, storeForeign}}, kind: event.Fenced,
			attempts: 1, results: []event.Kind{event.Fenced}, rereads: 1, text: `written by "host-2"`,
		},
		{
			name: "no answer, and another writer was first", answers: []answer{{event.Unknown, storeForeign}},
			kind: event.Fenced, attempts: 1, results: []event.Kind{event.Unknown}, rereads: 1, text: `written by "host-2"`,
		},
		{
			name: "the fence has moved", kind: event.Fenced, attempts: 1, results: []event.Kind{event.Fenced}, rereads: 1,
			answers: []answer{{nil, func(s *stream, _ event.Batch, _ []event.Batch) {
				s.put(event.Message{Subject: event.ChoiceSubject(provider)})
			}}},
		},
		{
			name: "refused as invalid", answers: []answer{{kind(event.Invalid), nil}}, kind: event.Invalid,
			attempts: 1, results: []event.Kind{event.Invalid},
		},
		{
			name: "too large whatever is done", kind: event.Invalid, text: "too-large",
			answers:  slices.Repeat([]answer{{kind(event.TooLarge), nil}}, 5),
			attempts: 2, results: []event.Kind{event.TooLarge, event.TooLarge},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &stream{}
			log, batches := script(s, tt.answers)
			var results []event.Kind
			rereads, waits, resumed := 0, 0, 0
			raw := NewRaw(log, newBodies(), provider, source, event.Fence{Subject: event.ChoiceSubject(provider)}, Options{
				Owner: "host-1",
				Hooks: Hooks{
					Result: func(k event.Kind, events, bytes int, _ time.Duration) {
						results = append(results, k)
						if events > 0 && (events != 2 || bytes != 900 && k != event.TooLarge) {
							t.Errorf("result %v of %d events, %d bytes", k, events, bytes)
						}
					},
					Reread:  func() { rereads++ },
					Waiting: func(error) { waits++ },
					Resumed: func() { resumed++ },
				},
			})
			atOnce(&raw.writer)
			open(t, raw)
			events := []event.Raw{{ID: "a", Body: make([]byte, 900)}, {ID: "b"}}
			at, err := raw.Commit(t.Context(), events, progress(2))
			if event.KindOf(err) != tt.kind {
				t.Fatalf("commit: %v, want kind %v", err, tt.kind)
			}
			if err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %q does not say %q", err, tt.text)
			}
			if err == nil && (len(at) != 2 || s.messages[at[1]-1].Header.Get(event.HeaderID) != "b" || s.end() != 3) {
				t.Errorf("stored at %v of %d messages", at, s.end())
			}
			ids := map[string]bool{}
			for _, b := range *batches {
				ids[b.ID] = true
				var c event.RawCursor
				if err := json.Unmarshal(b.Cursor.Body, &c); err != nil || c.Batch != b.ID || c.Owner != "host-1" {
					t.Errorf("batch %q has the cursor %s", b.ID, b.Cursor.Body)
				}
			}
			if len(*batches) != tt.attempts || len(ids) != tt.attempts {
				t.Errorf("%d attempts with %d ids, want %d", len(*batches), len(ids), tt.attempts)
			}
			if !slices.Equal(results, tt.results) || rereads != tt.rereads {
				t.Errorf("results %v and %d rereads, want %v and %d", results, rereads, tt.results, tt.rereads)
			}
			if (waits > 0) != (resumed == 1) {
				t.Errorf("%d pauses, %d times resumed", waits, resumed)
			}
			_, err = raw.Commit(t.Context(), nil, event.Progress{})
			if mustOpen := event.KindOf(err) == event.Invalid; mustOpen != (tt.kind != 0) {
				t.Errorf("the next commit without Open: %v", err)
			}
		})
	}
}

func open(t *testing.T, raw *Raw) event.RawCursor {
	t.Helper()
	c, err := raw.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCommitBeforeOpen(t *testing.T) {
	s := &stream{}
	raw := NewRaw(s, newBodies(), provider, source, event.Fence{}, Options{})
	if _, err := raw.Commit(t.Context(), nil, event.Progress{}); event.KindOf(err) != event.Invalid {
		t.Errorf("raw: %v", err)
	}
	norm := NewNormalized(s, newBodies(), provider, Options{})
	if _, err := norm.Commit(t.Context(), nil, rawStream); event.KindOf(err) != event.Invalid {
		t.Errorf("normalized: %v", err)
	}
	if s.end() != 0 {
		t.Errorf("%d messages are stored", s.end())
	}
}

// A refusal says which sequence it found; a cursor from before that is no answer.
func TestRereadAsksForWhatTheRefusalSaw(t *testing.T) {
	var asked []event.StreamSeq
	raw := NewRaw(fakeLog{
		append: func(context.Context, event.Batch) (event.StreamSeq, error) {
			return 0, &event.Error{Kind: event.Fenced, Last: 41}
		},
		readCursor: func(_ context.Context, _ string, atLeast event.StreamSeq) (event.Stored, bool, error) {
			asked = append(asked, atLeast)
			return event.Stored{}, false, nil
		},
	}, newBodies(), provider, source, event.Fence{}, Options{})
	open(t, raw)
	if _, err := raw.Commit(t.Context(), nil, event.Progress{}); event.KindOf(err) != event.Fenced {
		t.Errorf("commit: %v", err)
	}
	if !slices.Equal(asked, []event.StreamSeq{0, 41}) {
		t.Errorf("the cursor was read at least at %v", asked)
	}
}

// A stream that was made anew between the refusal and the look at the cursor never gets to where the refusal saw it.
func TestRereadOfAStreamMadeAnewEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		raw := NewRaw(fakeLog{
			append: func(context.Context, event.Batch) (event.StreamSeq, error) {
				return 0, &event.Error{Kind: event.Fenced, Last: 41}
			},
			readCursor: func(_ context.Context, _ string, atLeast event.StreamSeq) (event.Stored, bool, error) {
				if atLeast > 0 {
					return event.Stored{}, false, kind(event.Regressed)
				}
				return event.Stored{}, false, nil
			},
		}, newBodies(), provider, source, event.Fence{}, Options{})
		open(t, raw)
		if _, err := raw.Commit(ctx, nil, event.Progress{}); event.KindOf(err) != event.Fenced {
			t.Errorf("commit: %v", err)
		}
	})
}

// A server that could not store the end of a batch shows the cursor that the batch begins with: the one that was to be replaced, once
// more. It is not another writer's, unless it was written in another way.
func TestCursorThatABatchBeginsWithIsTheSame(t *testing.T) {
	for name, test := range map[string]struct {
		header event.Header
		want   event.Kind
	}{
		"at the beginning of a batch": {event.Header{headerBatchSequence: {"1"}}, 0},
		"at the end of one":           {event.Header{headerBatchSequence: {"2"}}, event.Fenced},
		"by itself":                   {nil, event.Fenced},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stream{}
				var again event.StreamSeq
				half := func(s *stream, _ event.Batch, earlier []event.Batch) {
					cursor := earlier[0].Cursor
					cursor.Header = test.header
					again = s.put(cursor)
				}
				log, batches := script(s, []answer{{}, {err: kind(event.Unknown), before: half}})
				raw := NewRaw(log, newBodies(), provider, source, event.Fence{}, Options{})
				open(t, raw)
				if _, err := raw.Commit(t.Context(), nil, event.Progress{}); err != nil {
					t.Fatal(err)
				}
				if _, err := raw.Commit(t.Context(), nil, event.Progress{}); event.KindOf(err) != test.want {
					t.Errorf("it ends with %v", err)
				}
				if test.want == 0 && (*batches)[2].Expect != again {
					t.Errorf("the next attempt expects %d, want %d", (*batches)[2].Expect, again)
				}
			})
		})
	}
}

func TestBrokenCursorIsInvalid(t *testing.T) {
	s := &stream{}
	s.put(event.Message{Subject: event.RawCursorSubject(provider, source), Body: []byte("{")})
	raw := NewRaw(s, newBodies(), provider, source, event.Fence{}, Options{})
	if _, err := raw.Open(t.Context()); event.KindOf(err) != event.Invalid {
		t.Errorf("open: %v", err)
	}
}

func TestPausesGrowToACapAndNeverEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const attempts = 200
		var tried []time.Time
		ctx, cancel := context.WithCancel(t.Context())
		said := 0
		raw := NewRaw(fakeLog{
			append: func(context.Context, event.Batch) (event.StreamSeq, error) {
				if tried = append(tried, time.Now()); len(tried) == attempts {
					cancel()
				}
				return 0, kind(event.Full)
			},
			readCursor: (&stream{}).ReadCursor,
		}, newBodies(), provider, source, event.Fence{}, Options{Hooks: Hooks{Waiting: func(err error) {
			if event.KindOf(err) == event.Full {
				said++
			}
		}}})
		open(t, raw)
		_, err := raw.Commit(ctx, nil, event.Progress{})
		if !errors.Is(err, context.Canceled) || said != attempts-1 {
			t.Fatalf("commit: %v after %d pauses", err, said)
		}
		different := map[time.Duration]bool{}
		for i := 1; i < attempts; i++ {
			pause := tried[i].Sub(tried[i-1])
			different[pause] = true
			if pause > 30*time.Second || pause < 50*time.Millisecond || i > 20 && pause < 10*time.Second {
				t.Errorf("pause %d is %v", i, pause)
			}
		}
		if len(different) < attempts/2 {
			t.Errorf("only %d different pauses: no jitter", len(different))
		}
	})
}

func TestPauseEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		bodies := newBodies()
		bodies.fail = func() error { return kind(event.Unavailable) }
		resumed := 0
		raw := NewRaw(&stream{}, bodies, provider, source, event.Fence{}, Options{
			Limits: Limits{MaxBody: 10}, Hooks: Hooks{Resumed: func() { resumed++ }},
		})
		open(t, raw)
		began := time.Now()
		_, err := raw.Commit(ctx, []event.Raw{{ID: "a", Body: make([]byte, 11)}}, event.Progress{})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute || resumed != 1 {
			t.Errorf("commit: %v after %v, resumed %d times", err, time.Since(began), resumed)
		}
	})
}

func TestBodiesRefusedForGood(t *testing.T) {
	bodies := newBodies()
	bodies.fail = func() error { return kind(event.TooLarge) }
	s := &stream{}
	raw := NewRaw(s, bodies, provider, source, event.Fence{}, Options{Limits: Limits{MaxBody: 10}})
	open(t, raw)
	_, err := raw.Commit(t.Context(), []event.Raw{{ID: "a", Body: make([]byte, 11)}}, event.Progress{})
	if event.KindOf(err) != event.Invalid || s.end() != 0 {
		t.Errorf("commit: %v, %d messages", err, s.end())
	}
}

// A writer that a newer version has overtaken finds a cursor that it can't read, and leaves it alone.
func TestACursorOfANewerVersion(t *testing.T) {
	s := &stream{}
	put := func(body string) {
		s.put(event.Message{Subject: event.RawCursorSubject(provider, source), Body: []byte(body)})
	}
	raw := NewRaw(s, newBodies(), provider, source, event.Fence{}, Options{})
	open(t, raw)
	put(`{"position": 3, "batch": "b", "format": 99}`)
	var newer *event.NewerError
	if _, err := raw.Commit(t.Context(), []event.Raw{{ID: "a"}}, event.Progress{}); !errors.As(err, &newer) || event.KindOf(err) != event.Invalid {
		t.Errorf("commit: %v", err)
	}
	if _, err := raw.Open(t.Context()); !errors.As(err, &newer) {
		t.Errorf("open: %v", err)
	}
	if _, err := raw.Commit(t.Context(), []event.Raw{{ID: "a"}}, event.Progress{}); err == nil || s.end() != 1 {
		t.Errorf("commit without open: %v, and the stream ends at %d", err, s.end())
	}
	put(`{"position": 3, "batch": "b"}`)
	if c := open(t, raw); c.Position != 3 {
		t.Errorf("it goes on behind %d", c.Position)
	}
}
