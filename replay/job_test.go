package replay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stackstream/event"
	"stackstream/publisher"
	"stackstream/replay"
)

// expected is what a job has to write, told without jobs.
func (w *world) expected(record event.Replay, match func(string) bool) (want []string, counts event.ReplayCounts) {
	for _, m := range w.raw.messages {
		raw, err := event.ParseRaw(m)
		if err != nil || m.Sequence < record.From || m.Sequence > record.To {
			continue
		}
		counts.Raw++
		body := string(raw.Body)
		switch r := raw.Repair; {
		case r != nil && (r.Drop || r.Sequence >= record.From && r.Sequence <= record.To):
			counts.Skipped++
		case body == "bad" || body == "panic":
			counts.Dead++
			reason := map[string]event.Reason{"bad": event.ReasonMalformed, "panic": event.ReasonPanic}[body]
			want = append(want, fmt.Sprintf("%d dead %s", m.Sequence, reason))
		default:
			for kind := range strings.SplitSeq(body, ",") {
				if match != nil && !match(kind) {
					counts.Filtered++
					continue
				}
				counts.Events++
				want = append(want, fmt.Sprintf("%d %s", m.Sequence, kind))
			}
		}
	}
	return want, counts
}

// Killed at any moment, in the middle of commits too, a job that is begun again writes what one run would have: everything once,
// in order, numbered without a hole.
func TestAJobThatIsKilledWritesEverythingOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var wrong string
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			sources := []event.Source{"panko", "amqp-nova"}
			bodies := []string{"a", "b", "a,b", "b,c,a,a", "bad", "panic"}
			n := rapid.IntRange(1, 25).Draw(rt, "raw events")
			for range n {
				body := rapid.SampledFrom(bodies).Draw(rt, "body")
				if rapid.IntRange(0, 4).Draw(rt, "repair") > 0 {
					w.add(rapid.SampledFrom(sources).Draw(rt, "source"), body, nil)
					continue
				}
				repair := event.Repair{Letter: 1, Drop: rapid.Bool().Draw(rt, "drop")}
				if i := rapid.IntRange(-1, len(w.raw.messages)/2-1).Draw(rt, "original"); i >= 0 {
					raw, err := event.ParseRaw(w.raw.messages[2*i])
					if err != nil {
						t.Fatal(err)
					}
					repair.Source, repair.Seq, repair.Sequence = raw.Source, raw.Seq, raw.Sequence
				}
				w.add(event.SourceRedrive, body, &repair)
			}
			end := len(w.raw.messages)
			from := event.StreamSeq(rapid.IntRange(1, end).Draw(rt, "from"))
			made := w.span(from, event.StreamSeq(rapid.IntRange(int(from), end).Draw(rt, "to")))
			made.Rate = uint64(rapid.IntRange(0, 4).Draw(rt, "rate"))
			var match func(string) bool
			if rapid.Bool().Draw(rt, "types") {
				match = func(kind string) bool { return kind == "a" }
			}

			var die context.CancelFunc
			w.out.before, w.out.after = dies(rt, "before", &die), dies(rt, "after", &die)
			var last event.Replay
			for deaths := 0; ; deaths++ {
				if deaths == 6 {
					w.out.before, w.out.after = nil, nil // every run ends
				}
				ctx, kill := context.WithCancel(t.Context())
				die = kill
				job := w.job(fmt.Sprint("process-", deaths))
				job.Match = match
				record, err := job.Start(ctx, begin(made))
				if err == nil {
					record, err = job.Run(ctx, record)
				}
				died := ctx.Err() != nil
				kill()
				if err == nil {
					last = record
					break
				}
				if !died {
					wrong = "a job that was not killed ends with " + err.Error()
					return
				}
			}
			want, counts := w.expected(made, match)
			if diff := cmp.Diff(want, lines(w.written())); diff != "" {
				wrong = "written (-want +got):\n" + diff
				return
			}
			checkNumbers(t, w.written())
			if diff := cmp.Diff(counts, last.Counts); diff != "" || last.State != event.ReplayDone || last.Position != event.Seq(len(want)) {
				wrong = fmt.Sprintf("the record says %s at %d; counts (-want +got):\n%s", last.State, last.Position, diff)
			}
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// dies draws whether a process dies at a commit.
func dies(rt *rapid.T, when string, die *context.CancelFunc) func(*event.Batch) error {
	return func(*event.Batch) error {
		if rapid.IntRange(0, 4).Draw(rt, "dies "+when) > 0 {
			return nil
		}
		(*die)()
		return context.Canceled
	}
}

func TestTwoProcessesWorkOnOneJob(t *testing.T) {
	w := newWorld()
	for range 10 {
		w.add("panko", "a", nil)
	}
	made := w.span(1, 20)
	first, second := w.job("host/1"), w.job("host/2")
	record, err := first.Start(t.Context(), begin(made))
	if err != nil {
		t.Fatal(err)
	}
	other, err := second.Start(t.Context(), begin(made))
	if err != nil {
		t.Fatal(err)
	}
	_, err = first.Run(t.Context(), record)
	var halted *replay.HaltedError
	if !errors.As(err, &halted) || !strings.HasPrefix(err.Error(), "host/2 works on the job since ") {
		t.Errorf("the first one ends with %v", err)
	}
	if _, err := second.Run(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	want, _ := w.expected(made, nil)
	if diff := cmp.Diff(want, lines(w.written())); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
}

// halt writes what an operator's command does.
func (w *world) halt(t *testing.T, state event.ReplayState) {
	t.Helper()
	_, err := publisher.Command(t.Context(), &w.out, event.ReplayCursorSubject(jobName), event.ReplayCommandsSubject(jobName),
		publisher.Options{Owner: "ada"}, func(r *event.Replay, _ bool) (event.Command, error) {
			r.State, r.Halted = state, &event.Pause{By: "ada", Why: "enough", At: midnight}
			return event.Command{Verb: string(state)}, nil
		})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnOperatorStopsAJob(t *testing.T) {
	for state, want := range map[event.ReplayState]string{
		event.ReplayPaused:    "paused since 2026-11-22T00:00:00Z by ada: enough",
		event.ReplayCancelled: "cancelled since 2026-11-22T00:00:00Z by ada: enough",
		"":                    "the job was removed",
	} {
		w := newWorld()
		for range 10 {
			w.add("panko", "a", nil)
		}
		made := w.span(1, 20)
		job := w.job("host/1")
		commits := 0
		job.Progress = func(event.Replay) {
			if commits++; commits > 1 {
				return
			}
			if state == "" {
				w.out.messages = nil
			} else {
				w.halt(t, state)
			}
		}
		made.Rate = 5 // so that there is a second batch
		record, err := job.Start(t.Context(), begin(made))
		if err != nil {
			t.Fatal(err)
		}
		_, err = job.Run(t.Context(), record)
		if err == nil || err.Error() != want {
			t.Errorf("%s: the job ends with %v, want %s", state, err, want)
		}
		if state != event.ReplayPaused {
			continue
		}
		again := w.job("host/2")
		record, err = again.Start(t.Context(), func(r event.Replay, _ bool) (event.Replay, error) {
			r.State, r.Halted, r.Rate = event.ReplayRunning, nil, 0
			return r, nil
		})
		if err == nil {
			_, err = again.Run(t.Context(), record)
		}
		all, _ := w.expected(made, nil)
		if diff := cmp.Diff(all, lines(w.written())); diff != "" || err != nil {
			t.Errorf("after it was resumed (%v), written (-want +got):\n%s", err, diff)
		}
	}
}

func TestRawEventsThatExpired(t *testing.T) {
	w := newWorld()
	for range 4 {
		w.add("panko", "a", nil)
		w.add("amqp", "b", nil)
	}
	lost := w.add("panko", "a", nil)
	w.add("amqp", "b", nil)
	again := w.add(event.SourceRedrive, "a", &event.Repair{Letter: 1, Source: "panko", Seq: 5, Sequence: lost})
	made := w.span(1, event.StreamSeq(len(w.raw.messages)))
	// All is gone but the repair of an event that is gone as well, and what lies behind it.
	w.expired = again - 1
	w.add("panko", "a", nil)

	run := func(accept bool) (event.Replay, error) {
		job := w.job("host/1")
		job.AcceptGap = accept
		record, err := job.Start(t.Context(), begin(made))
		if err != nil {
			t.Fatal(err)
		}
		return job.Run(t.Context(), record)
	}
	_, err := run(false)
	var gap *replay.GapError
	if !errors.As(err, &gap) || event.KindOf(err) != event.Expired ||
		!strings.Contains(err.Error(), "no longer has events 1 to 5 of source panko (5)") {
		t.Fatalf("the job ends with %v", err)
	}
	record, err := run(true)
	if err != nil {
		t.Fatal(err)
	}
	if record.Counts.Lost != 10 || record.Counts.Raw != 1 || record.State != event.ReplayDone || len(record.Gaps) != 2 {
		t.Errorf("the record is %+v", record)
	}
	if diff := cmp.Diff([]string{fmt.Sprint(again, " a")}, lines(w.written())); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
}

// What lies before the gap is written, and the number that is missing is told.
func TestAGapInTheMiddle(t *testing.T) {
	for _, accept := range []bool{false, true} {
		w := newWorld()
		for range 6 {
			w.add("panko", "a", nil)
		}
		made := w.span(1, 12)
		w.raw.messages[4].Subject, w.raw.messages[6].Subject = "gone", "gone" // numbers 3 and 4
		job := w.job("host/1")
		job.AcceptGap = accept
		record, err := job.Start(t.Context(), begin(made))
		if err != nil {
			t.Fatal(err)
		}
		record, err = job.Run(t.Context(), record)
		want := []string{"1 a", "3 a"}
		if accept {
			want = append(want, "9 a", "11 a")
			if err != nil || record.Counts.Lost != 2 || !slices.Equal(record.Gaps, []event.ReplayGap{{Source: "panko", From: 3, To: 4}}) {
				t.Errorf("accepted: %v, %+v", err, record)
			}
		} else if err == nil || !strings.Contains(err.Error(), "events 3 to 4 of source panko (2)") {
			t.Errorf("the job ends with %v", err)
		}
		if diff := cmp.Diff(want, lines(w.written())); diff != "" {
			t.Errorf("written (-want +got):\n%s", diff)
		}
	}
}

// A server that can't be read, or shows less than there is, is waited for; one that does so for long is believed.
func TestRawThatCanNotBeRead(t *testing.T) {
	for name, test := range map[string]struct {
		fails time.Duration
		kind  event.Kind
		ends  event.Kind
	}{
		"unavailable for an hour":    {time.Hour, event.Unavailable, 0},
		"shorter for a moment":       {20 * time.Second, event.Regressed, 0},
		"shorter than it was":        {time.Hour, event.Regressed, event.Regressed},
		"refused":                    {time.Hour, event.Invalid, event.Invalid},
		"an error of unknown nature": {time.Minute, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.add("panko", "a", nil)
				job, until := w.job("host/1"), time.Now().Add(test.fails)
				waits := 0
				job.Waiting = func(error) { waits++ }
				job.Raw = func(r *event.Replay) replay.Range {
					return &part{s: &w.raw, match: isRaw, next: r.RawSeq + 1, to: r.To, expired: &w.expired, fail: func() error {
						if time.Now().After(until) {
							return nil
						}
						if test.kind == 0 {
							return errors.New("broken")
						}
						return &event.Error{Kind: test.kind, Op: "read"}
					}}
				}
				record, err := job.Start(t.Context(), begin(w.span(1, 2)))
				if err != nil {
					t.Fatal(err)
				}
				record, err = job.Run(t.Context(), record)
				if event.KindOf(err) != test.ends || (err == nil) != (record.State == event.ReplayDone) {
					t.Errorf("the job ends with %v, %s", err, record.State)
				}
				if (waits > 0) != (test.kind != event.Invalid) {
					t.Errorf("it waited %d times", waits)
				}
			})
		})
	}
}

// What no collector wrote is a dead letter in its place, and a message of a newer version stops the job.
func TestForeignMessages(t *testing.T) {
	w := newWorld()
	w.add("panko", "a", nil)
	w.raw.put(event.Message{Subject: event.RawSubject(cloud, "panko"), Header: event.Header{}, Body: []byte("who am I")})
	w.add("panko", "b", nil)
	made := w.span(1, event.StreamSeq(len(w.raw.messages)))
	job := w.job("host/1")
	record, err := job.Start(t.Context(), begin(made))
	if err != nil {
		t.Fatal(err)
	}
	if record, err = job.Run(t.Context(), record); err != nil || record.Counts.Dead != 1 {
		t.Fatalf("%v, %+v", err, record.Counts)
	}
	if diff := cmp.Diff([]string{"1 a", "3 dead malformed", "4 b"}, lines(w.written())); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}

	w = newWorld()
	w.add("panko", "a", nil)
	w.add("panko", "b", nil)
	w.raw.messages[2].Header.Set(event.HeaderMessageFormat, "99")
	made = w.span(1, 4)
	job = w.job("host/1")
	if record, err = job.Start(t.Context(), begin(made)); err != nil {
		t.Fatal(err)
	}
	_, err = job.Run(t.Context(), record)
	var newer *event.NewerError
	if !errors.As(err, &newer) {
		t.Errorf("the job ends with %v", err)
	}
	if diff := cmp.Diff([]string{"1 a"}, lines(w.written())); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
}
