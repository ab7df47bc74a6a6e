package author

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"stackstream/collectors/httppoll"
	"stackstream/internal/cassette"
)

// isLogin tells whether a request only proves who we are.
func isLogin(req *http.Request) bool {
	_, asks := httppoll.AskedOf(req.Context())
	return !asks
}

// Recorded says what a run took and brought.
type Recorded struct {
	Clock            time.Time
	Requests, Events int
	// Why it is not over, and in what time it goes on.
	Why string
	In  time.Duration
}

// recordTries is how often a run is begun that ends early.
const recordTries = 6

// Record polls the service so many times, as far apart as the configuration says, and returns the conversation without the
// secrets. said is told of each run.
func (s *Subject) Record(ctx context.Context, runs int, said func(run int, r Recorded)) (*cassette.Cassette, error) {
	redactor, err := s.redactor()
	if err != nil {
		return nil, err
	}
	recorder := &cassette.Recorder{Login: isLogin}
	now, waits := &recordClock{}, &waiting{}
	source, err := s.open(httppoll.Options{
		Transport: func(next http.RoundTripper) http.RoundTripper {
			recorder.Next = next
			return keeping{recorder, redactor, now}
		},
		Clock: httppoll.Clock{Now: now.Now}, Report: waits.report,
	})
	if err != nil {
		return nil, err
	}
	l := &ledger{}
	var all []cassette.Run
	for run, try := 0, 1; run < runs; try++ {
		now.begin()
		number := run + 1
		asked, had := recorder.Requests(), len(l.all())
		err := s.limited(ctx, source, l)
		r := Recorded{Clock: now.began, Requests: recorder.Requests() - asked, Events: len(l.all()) - had, In: s.Config.Schedule.Every}
		why, in, again := waits.again(err, time.Second<<try)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case again && try < recordTries:
			r.Why, r.In = redactor.Text(why), in
		case err != nil || again:
			return nil, fmt.Errorf("run %d: %s", number, redactor.Text(why))
		default:
			run, try = run+1, 0
		}
		if err := s.learn(redactor); err != nil { // its file may have been replaced
			return nil, err
		}
		all = append(all, cassette.Run{Clock: r.Clock, Requests: r.Requests, Unfinished: again})
		said(number, r)
		if run < runs {
			if err := wait(ctx, r.In); err != nil {
				return nil, err
			}
		}
	}
	return recorder.Cassette(string(s.Kind), all, redactor), nil
}

// limited is poll within max_run.
func (s *Subject) limited(ctx context.Context, source *httppoll.Source, l *ledger) error {
	most := s.Config.Schedule.MaxRun
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("it took longer than %s (schedule.max_run)", most))
	defer cancel()
	return s.poll(ctx, source, l)
}

// keeping tells the redactor what leads from page to page.
type keeping struct {
	http.RoundTripper
	redactor *cassette.Redactor
	clock    *recordClock
}

func (k keeping) RoundTrip(req *http.Request) (*http.Response, error) {
	if a, asks := httppoll.AskedOf(req.Context()); asks {
		k.redactor.Keep(a.Value)
		k.redactor.Keep(a.Token)
	}
	k.clock.run()
	return k.RoundTripper.RoundTrip(req)
}

// recordClock is the machine's, but that it stands still from the beginning of a run to its first request: that is the time
// that a run goes by, which is kept to be played back.
type recordClock struct {
	mu     sync.Mutex
	began  time.Time
	stands bool
}

// begin begins a run.
func (c *recordClock) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	// YAML keeps what is written, and a monotonic reading is not.
	c.began, c.stands = time.Now().UTC().Round(0), true
}

func (c *recordClock) run() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stands = false
}

func (c *recordClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stands {
		return c.began
	}
	return time.Now()
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
