package collectors_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
)

const (
	cloud  event.Provider = "cloud"
	fakeSN event.Source   = "fake"
)

// script is a source made of functions.
type script struct {
	run       func(ctx context.Context, from event.From, emit collectors.Emit) error
	available func(ctx context.Context) error
}

func (s *script) Available(ctx context.Context) error {
	if s.available == nil {
		return nil
	}
	return s.available(ctx)
}

func (s *script) Run(ctx context.Context, from event.From, emit collectors.Emit) error {
	return s.run(ctx, from, emit)
}

// emits hands over the batches and then waits for the end.
func emits(batches ...collectors.Batch) *script {
	return &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
		for _, b := range batches {
			if err := emit(ctx, b); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return nil
	}}
}

// slowly does the same, each batch some time after the one before.
func slowly(batches ...collectors.Batch) *script {
	return &script{run: func(ctx context.Context, from event.From, emit collectors.Emit) error {
		return emits(batches...).run(ctx, from, func(ctx context.Context, b collectors.Batch) error {
			<-time.After(time.Millisecond)
			return emit(ctx, b)
		})
	}}
}

var midnight = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when a synctest bubble begins

// raws makes events with the numbers from first to last, one a second.
func raws(first, last int) []event.Raw {
	var events []event.Raw
	for i := first; i <= last; i++ {
		events = append(events, event.Raw{
			ID: event.ID(fmt.Sprint(i)), Time: midnight.Add(time.Duration(i-10000) * time.Second),
			Format: "fake", Body: []byte(fmt.Sprintf(`{"n":%d}`, i)),
		})
	}
	return events
}

func ids(first, last int) []event.ID {
	var all []event.ID
	for _, e := range raws(first, last) {
		all = append(all, e.ID)
	}
	return all
}

// bench is a loop under test and what was seen of it.
type bench struct {
	*collectors.Loop
	log        *collectorstest.Log
	commits    []collectors.Commit
	duplicates int
	hashed     int
	states     trace
	mu         sync.Mutex
	beaten     time.Time
	owed       time.Duration
	cancel     context.CancelFunc
	ended      chan error
}

func newBench(log *collectorstest.Log, source collectors.Source) *bench {
	b := &bench{log: log, ended: make(chan error, 1)}
	b.Loop = &collectors.Loop{
		Provider: cloud, Name: fakeSN, Source: source, Spec: collectors.Spec{Repeats: 100},
		Writer: log.NewWriter(cloud, fakeSN, event.Fence{}), Memory: log, Log: zerolog.Nop(),
		Hooks: collectors.Hooks{
			Committed:  func(_ event.Provider, _ event.Source, c collectors.Commit) { b.commits = append(b.commits, c) },
			Duplicates: func(_ event.Provider, _ event.Source, n int) { b.duplicates += n },
			Hashed:     func(_ event.Provider, _ event.Source, n int) { b.hashed += n },
			Beat: func(_ event.Provider, _ event.Source, within time.Duration) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.beaten, b.owed = time.Now(), within
			},
		},
		Report: func(s event.State, reason string) {
			b.states.add(strings.TrimSpace(string(s) + " " + reason))
		},
	}
	return b
}

func (b *bench) start(t *testing.T) {
	t.Helper()
	var ctx context.Context
	ctx, b.cancel = context.WithCancel(t.Context())
	go func() { b.ended <- b.Run(ctx) }()
	synctest.Wait()
}

// stop ends the loop in good order.
func (b *bench) stop(t *testing.T) {
	t.Helper()
	b.cancel()
	if err := <-b.ended; err != nil {
		t.Errorf("ctx has ended, and Run returns %v", err)
	}
}

func (b *bench) wantIDs(t *testing.T, want []event.ID) {
	t.Helper()
	if got := b.log.IDs(cloud); !slices.Equal(got, want) {
		t.Errorf("RAW has %v; want %v", got, want)
	}
}

// beat tells how long ago the last beat was, and how long it was to last.
func (b *bench) beat() (ago, owed time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Since(b.beaten), b.owed
}

// trace is what happened, in order.
type trace struct {
	mu    sync.Mutex
	lines []string
}

func (r *trace) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

func (r *trace) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// after lets virtual time pass.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}
