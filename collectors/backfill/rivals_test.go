package backfill_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/collectors/backfill"
	"stackstream/event"
)

func TestTheLaterOfTwoProcessesTakesOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour))
		wait := make(chan struct{})
		slow := &service{records: all, page: 5}
		slow.behind = func() {
			if slow.pages == 3 {
				<-wait
			}
		}
		first := make(chan error, 1)
		go func() {
			_, err := run(t.Context(), w.job("gap", second(0), second(90), slow))
			first <- err
		}()
		synctest.Wait()
		done, err := run(t.Context(), w.job("gap", second(0), second(90), &service{records: all}))
		if err != nil || done.Added != 90 {
			t.Errorf("the later one: %+v, %v", done, err)
		}
		close(wait)
		if err := <-first; !errors.Is(err, event.Fenced) || !strings.Contains(err.Error(), "another process has taken over the job") {
			t.Errorf("the earlier one ends with %v", err)
		}
		if got := w.added("gap"); len(got) != 90 {
			t.Errorf("%d were added", len(got))
		}
		w.once()
	})
}

func TestAnotherChoiceEndsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour))
		s := &service{records: all, page: 5}
		s.behind = func() {
			if s.pages == 3 {
				w.choose("ceilometer")
			}
		}
		_, err := run(t.Context(), w.job("gap", second(0), second(90), s))
		if !errors.Is(err, event.Fenced) || !strings.Contains(err.Error(), "choice of source was changed meanwhile (ceilometer: ") {
			t.Errorf("error %v", err)
		}
		w.live = nil
		if done, err := run(t.Context(), w.job("gap", second(0), second(90), &service{records: all})); err != nil || done.Added != 90 {
			t.Errorf("going on: %+v, %v", done, err)
		}
		w.once()
	})
}

func TestALiveSourceThatIsSetBackEndsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour))
		s := &service{records: all, page: 5}
		s.behind = func() {
			if s.pages == 3 {
				w.collect(live, event.Progress{Floor: second(20)})
				time.Sleep(6 * time.Second)
			}
		}
		_, err := run(t.Context(), w.job("gap", second(0), second(90), s))
		if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "the live source panko will read what is later than") {
			t.Errorf("error %v", err)
		}
		if s.pages > 4 {
			t.Errorf("it read %d pages", s.pages)
		}
	})
}

// Two jobs that begin at once do not both go on: neither would know what the other adds.
func TestTwoJobsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour))
		one, other := w.job("one", second(0), second(90), &service{records: all}), w.job("other", second(50), second(95), &service{records: all})
		looks := map[*backfill.Job]backfill.Outlook{}
		for _, j := range []*backfill.Job{one, other} {
			o, err := j.Look(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			looks[j] = o
		}
		w.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
			time.Sleep(time.Second) // so that both are under way
			return true, nil
		}
		ended := make(chan error, 2)
		for j, o := range looks {
			go func() { _, err := j.Run(t.Context(), o); ended <- err }()
		}
		failed := 0
		for range looks {
			if err := <-ended; err != nil {
				failed++
				if !strings.Contains(err.Error(), "the ranges overlap") {
					t.Error(err)
				}
			}
		}
		w.once()
		if failed == 0 {
			t.Error("both went on")
		}
		// Who stepped back is in nobody's way.
		for _, j := range []*backfill.Job{
			w.job("one", second(0), second(90), &service{records: all}), w.job("other", second(50), second(95), &service{records: all}),
		} {
			o, err := j.Look(t.Context())
			if err == nil && o.Before == nil {
				_, err = j.Run(t.Context(), o)
			}
			if err != nil {
				t.Error(err)
			}
		}
		w.once()
		if n := len(w.IDs(cloud)); n != 95 {
			t.Errorf("%d are there", n)
		}
	})
}

// A job that ran between the look and the beginning is noticed.
func TestAJobThatCameBetween(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour))
		j := w.job("gap", second(0), second(90), &service{records: all})
		o, err := j.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := run(t.Context(), w.job("other", second(20), second(60), &service{records: all})); err != nil {
			t.Fatal(err)
		}
		if done, err := j.Run(t.Context(), o); err != nil || done.Added != 50 || done.There != 40 {
			t.Errorf("%+v, %v", done, err)
		}
		w.once()
	})
}
