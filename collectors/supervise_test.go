package collectors_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/event"
)

func TestCollectorTriesAgain(t *testing.T) {
	bubble(t, "with growing pauses, and shows each change once", func(t *testing.T) {
		f := newFleet()
		var starts []time.Duration
		failing := &script{run: func(context.Context, event.From, collectors.Emit) error {
			starts = append(starts, time.Since(midnight))
			return errors.New("connection refused")
		}}
		stop := run(t, f.collector("a", "panko", kind("panko", failing)))
		after(30 * time.Minute)
		f.wantStates(t, "a/: starting", "a/: live configured", "a/panko: starting", "a/panko: backoff connection refused")
		for i := 1; i < len(starts); i++ {
			if pause := starts[i] - starts[i-1]; pause < 500*time.Millisecond || pause > 90*time.Second {
				t.Errorf("pause %d is %s", i, pause)
			}
		}
		if n := len(starts); n < 20 || n > 70 {
			t.Errorf("tried %d times in half an hour", n)
		}
		stop()
	})

	bubble(t, "soon after there was progress", func(t *testing.T) {
		f := newFleet()
		var tries atomic.Int64
		moody := &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
			if n := int(tries.Add(1)); n > 10 {
				if err := emit(ctx, collectors.Batch{Events: raws(n, n)}); err != nil {
					return err
				}
			}
			return errors.New("connection reset")
		}}
		stop := run(t, f.collector("a", "panko", kind("panko", moody)))
		after(10 * time.Minute)
		before := tries.Load()
		after(10 * time.Minute)
		if n := tries.Load() - before; n < 300 {
			t.Errorf("%d tries in 10 minutes with progress each time", n)
		}
		stop()
	})

	bubble(t, "not before the service said", func(t *testing.T) {
		f := newFleet()
		var starts []time.Duration
		limited := &script{run: func(context.Context, event.From, collectors.Emit) error {
			starts = append(starts, time.Since(midnight))
			return &collectors.RetryAfter{After: 10 * time.Minute, Err: errors.New("429")}
		}}
		stop := run(t, f.collector("a", "panko", kind("panko", limited)))
		after(55 * time.Minute)
		if len(starts) != 6 {
			t.Errorf("asked at %v; want every 10 minutes", starts)
		}
		stop()
	})

	bubble(t, "and is live again only when something was handed over", func(t *testing.T) {
		f := newFleet()
		n := 0
		source := &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
			if n++; n < 4 {
				return errors.New("503")
			}
			if err := emit(ctx, collectors.Batch{Events: raws(1, 5)}); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		}}
		stop := run(t, f.collector("a", "panko", kind("panko", source)))
		after(time.Minute)
		f.wantStates(t, "a/: starting", "a/: live configured", "a/panko: starting", "a/panko: backoff 503", "a/panko: live")
		stop()
	})

	bubble(t, "after a panic, whose stack is in the log alone", func(t *testing.T) {
		f := newFleet()
		var out bytes.Buffer
		c := f.collector("a", "panko", kind("panko", &script{
			run: func(context.Context, event.From, collectors.Emit) error { panic("assignment to entry in nil map") },
		}))
		c.Deps.Log = zerolog.New(&out)
		stop := run(t, c)
		stop()
		f.wantStates(t, "a/: starting", "a/: live configured", "a/panko: starting",
			"a/panko: backoff panic: assignment to entry in nil map")
		if !strings.Contains(out.String(), `"stack":"goroutine`) {
			t.Errorf("the log has no stack: %s", out.String())
		}
	})

	bubble(t, "after it was fenced by its own kind", func(t *testing.T) {
		f := newFleet()
		n := 0
		f.log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
			if n++; n == 1 {
				return false, &event.Error{Kind: event.Fenced, Op: "append"}
			}
			return true, nil
		}
		stop := run(t, f.collector("a", "panko", kind("panko", emits(collectors.Batch{Events: raws(1, 5)}))))
		after(time.Minute)
		if got := f.log.IDs(cloud); !slices.Equal(got, ids(1, 5)) {
			t.Errorf("RAW has %v", got)
		}
		stop()
	})
}

func TestCollectorSharesWork(t *testing.T) {
	bubble(t, "the second takes over when the first ends", func(t *testing.T) {
		f := newFleet()
		source := func() collectors.Candidate { return kind("panko", emits(collectors.Batch{Events: raws(1, 5)})) }
		stopA := run(t, f.collector("a", "panko", source()))
		stopB := run(t, f.collector("b", "panko", source()))
		after(time.Minute)
		stopA()
		after(time.Minute)
		f.wantStates(t, "a/: starting", "a/: live configured", "a/panko: starting", "a/panko: live",
			"b/: starting", "b/: live configured", "b/panko: starting", "b/panko: standby held by a",
			"b/panko: starting", "b/panko: live")
		if got := f.log.IDs(cloud); !slices.Equal(got, ids(1, 5)) {
			t.Errorf("RAW has %v", got)
		}
		stopB()
	})

	bubble(t, "one that can't reach the service leaves the lease to who can", func(t *testing.T) {
		f := newFleet()
		cut := &script{run: func(context.Context, event.From, collectors.Emit) error { return errors.New("no route to host") }}
		stopA := run(t, f.collector("a", "panko", kind("panko", cut)))
		stopB := run(t, f.collector("b", "panko", kind("panko", emits(collectors.Batch{Events: raws(1, 5)}))))
		after(time.Hour)
		if got := f.log.IDs(cloud); !slices.Equal(got, ids(1, 5)) {
			t.Errorf("RAW has %v", got)
		}
		if states := f.states.all(); states[len(states)-1] != "a/panko: standby held by b" {
			t.Errorf("states:\n%s", strings.Join(states, "\n"))
		}
		stopA()
		stopB()
	})

	bubble(t, "one that lost its lease asks for it again", func(t *testing.T) {
		f := newFleet()
		stop := run(t, f.collector("a", "panko", kind("panko", emits(collectors.Batch{Events: raws(1, 5)}))))
		f.leases.Lose(collectors.LeaseKey(cloud, "panko"))
		after(time.Minute)
		f.wantStates(t, "a/: starting", "a/: live configured", "a/panko: starting", "a/panko: live",
			"a/panko: backoff the lease was lost", "a/panko: live")
		stop()
	})

	bubble(t, "the sources of a kind run side by side, and a failing one does not stop the other", func(t *testing.T) {
		f := newFleet()
		failing := &script{run: func(context.Context, event.From, collectors.Emit) error { return errors.New("no such vhost") }}
		amqp := collectors.Candidate{Kind: "amqp", Shards: []collectors.Shard{
			kind("amqp-nova", emits(collectors.Batch{Events: raws(1, 5), Cursor: number(5)})).Shards[0],
			kind("amqp-cinder", failing).Shards[0],
			kind("amqp-glance", emits(collectors.Batch{Events: raws(6, 9), Cursor: number(9)})).Shards[0],
		}}
		stop := run(t, f.collector("a", "amqp", amqp))
		after(time.Minute)
		if got := len(f.log.IDs(cloud)); got != 9 {
			t.Errorf("RAW has %d events; want 9", got)
		}
		nova, glance := f.log.Cursor(cloud, "amqp-nova"), f.log.Cursor(cloud, "amqp-glance")
		if nova.Position != 5 || glance.Position != 4 {
			t.Errorf("the cursors are %+v and %+v", nova, glance)
		}
		stop()
	})
}

func TestCollectorDoesNotWaitForEverForASource(t *testing.T) {
	bubble(t, "but says which", func(t *testing.T) {
		f := newFleet()
		release := make(chan struct{})
		deaf := &script{run: func(context.Context, event.From, collectors.Emit) error { <-release; return nil }}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		c := f.collector("a", "panko", kind("panko", deaf))
		go func() { ended <- c.Run(ctx) }()
		after(time.Minute)
		cancel()
		err := <-ended
		if err == nil || err.Error() != "stop collecting for cloud: a source of kind panko does not return" {
			t.Errorf("Run returns %v", err)
		}
		close(release)
	})
}
