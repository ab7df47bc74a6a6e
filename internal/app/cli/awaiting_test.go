package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/event"
	"stackstream/jetstream"
)

// A server that is away is waited for as long as it takes, and each reason is said once.
func TestAServerThatIsAwayIsWaitedFor(t *testing.T) {
	away := func(why error) error { return &event.Error{Kind: event.Unavailable, Op: "read", Err: why} }
	synctest.Test(t, func(t *testing.T) {
		var said []string
		w := newAwaiting(func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
		began, tries := time.Now(), 0
		err := w.try(t.Context(), func() error {
			switch tries++; {
			case tries <= 100:
				return away(errors.New("no connection"))
			case tries <= 200:
				return away(errors.New("no leader"))
			}
			return nil
		})
		want := []string{"waiting: read: unavailable: no connection", "waiting: read: unavailable: no leader"}
		if err != nil || !slices.Equal(said, want) {
			t.Errorf("%v, it said %q", err, said)
		}
		if passed := time.Since(began); passed < 5*time.Minute || passed > 30*time.Minute {
			t.Errorf("it asked 200 times within %s", passed)
		}

		for name, stays := range map[string]error{
			"refused":    &event.Error{Kind: event.Invalid, Op: "read", Err: errors.New("no right")},
			"no stream":  away(fmt.Errorf("%w: run stackstream provision first", jetstream.ErrNoSuchStream)),
			"of no kind": errors.New("boom"),
			"taken over": &event.Error{Kind: event.Fenced, Op: "read"},
		} {
			if err := w.try(t.Context(), func() error { return stays }); !errors.Is(err, stays) {
				t.Errorf("%s: %v", name, err)
			}
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err = w.try(ctx, func() error { return away(errors.New("no leader")) })
		if err == nil || err.Error() != "interrupted while waiting: read: unavailable: no leader" {
			t.Errorf("when it is interrupted it says %v", err)
		}
	})
}

// A command that only looks gives up after a while, and waits anew for a server that was there meanwhile.
func TestAServerThatIsAwayForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		w := Program{Stderr: &said}.awaiting()
		away := &event.Error{Kind: event.Unavailable, Op: "read", Err: errors.New("no connection")}
		for range 2 {
			said.Reset()
			began := time.Now()
			if err := w.try(t.Context(), func() error { return away }); !errors.Is(err, away) {
				t.Errorf("it ended with %v", err)
			}
			if passed := time.Since(began); passed < answerWait || passed > 2*answerWait || said.String() != "waiting: read: unavailable: no connection\n" {
				t.Errorf("it waited for %s and said %q", passed, said.String())
			}
			<-time.After(2 * awaitingCalm)
		}
		back := time.Now().Add(answerWait / 2)
		err := w.try(t.Context(), func() error {
			if time.Now().Before(back) {
				return away
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
