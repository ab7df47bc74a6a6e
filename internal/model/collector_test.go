package model_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/publisher"
)

// epoch is the time of the event with the number 0.
var epoch = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

func timeOf(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }

// maxBody is the largest body that a message carries; limits make batches small, so that a commit takes several.
const maxBody = 1200

var limits = publisher.Limits{Events: 3, MaxBody: maxBody}

// service is an event service with a fixed number of events.
type service struct {
	w      *world
	source event.Source
	events []event.Raw
	page   int
	// overlap is how many events before its cursor a poll shows again.
	overlap int

	// Of a queue: which events were acknowledged, and who consumes.
	acked    []bool
	consumer *consuming
}

// newService makes n events: most are good, some give two, are malformed, or too large for a message.
func newService(w *world, s event.Source, n int) *service { return newServiceOf(w, s, string(s), n) }

// newServiceOf does so with ids that begin with a prefix, so that two services may show the same events.
func newServiceOf(w *world, s event.Source, prefix string, n int) *service {
	svc := &service{w: w, source: s, page: 2, overlap: 2, acked: make([]bool, n)}
	for i := range n {
		body := "good"
		switch i % 5 {
		case 1:
			body = "two"
		case 2:
			body = "bad"
		case 3:
			body = "good" + strings.Repeat("x", 2*maxBody)
		}
		svc.events = append(svc.events, event.Raw{
			ID: event.ID(fmt.Sprintf("%s-%d", prefix, i)), Time: timeOf(i), Received: timeOf(1000 + i), Format: "test", Body: []byte(body),
		})
	}
	return svc
}

// collects makes the main function of a process that collects from a service with what make makes of it. Where kinds are
// chosen it waits until its own is.
func (w *world) collects(svc *service, make func(p *process) collectors.Source, spec collectors.Spec, parts parts) func(context.Context, *process) {
	return func(ctx context.Context, p *process) {
		p.works(ctx, func(ctx context.Context) error {
			l := log{p, w.raw}
			var fence event.Fence
			if w.chosen != "" {
				var err error
				if fence, err = l.untilChosen(ctx, svc.source); err != nil {
					return err
				}
			}
			loop := &collectors.Loop{
				Provider: cloud, Name: svc.source, Source: parts.source(make(p)), Spec: spec,
				Writer: parts.writer(publisher.NewRaw(parts.log(l), bodies{p}, cloud, svc.source, fence,
					publisher.Options{Owner: p.name, Limits: limits})),
				Memory: parts.memory(memory{log: l}), Log: zerolog.Nop(),
			}
			return loop.Run(ctx)
		})
	}
}

// untilChosen waits until the kind of a source is chosen, and returns the fence that holds while it is.
func (l log) untilChosen(ctx context.Context, s event.Source) (fence event.Fence, err error) {
	subject := event.ChoiceSubject(cloud)
	err = l.p.ask(ctx, request{
		name: "reads the choice", ready: func() bool { return l.p.w.chosen == s }, fates: []fate{fine, diesBefore},
		serve: func(fate) {
			fence = event.Fence{Subject: subject, Sequence: l.s.last(subject, l.s.end())}
			l.p.known[subject] = fence.Sequence
		},
	})
	return fence, err
}

// chooses makes the choice of a kind.
func (w *world) chooses(s event.Source) {
	subject := event.ChoiceSubject(cloud)
	w.chosen = s
	if _, err := w.raw.append(event.Batch{
		Cursor: event.Message{Subject: subject, Body: []byte("{}")}, Expect: w.raw.last(subject, w.raw.end()),
	}); err != nil {
		w.fail("choose %s: %w", s, err)
	}
}

func (w *world) polls(svc *service, parts parts) func(context.Context, *process) {
	return w.collects(svc, func(p *process) collectors.Source { return &poll{svc, p} }, collectors.Spec{}, parts)
}

func (w *world) consumes(svc *service, parts parts) func(context.Context, *process) {
	return w.collects(svc, func(p *process) collectors.Source { return &consuming{service: svc, p: p} }, collectors.Spec{Repeats: 100}, parts)
}

// poll shows all events, page by page, from an overlap before the cursor on.
type poll struct {
	*service
	p *process
}

func (*poll) Available(context.Context) error { return nil }

func (s *poll) Run(ctx context.Context, from event.From, emit collectors.Emit) error {
	at := 0
	if from.Cursor != nil {
		at, _ = strconv.Atoi(string(from.Cursor))
	}
	for next := max(0, at-s.overlap); ; {
		end, times, failed := 0, 1, false
		err := s.p.ask(ctx, request{
			name: "fetches a page", fates: []fate{fine, unavailable, repeats, diesBefore},
			serve: func(f fate) {
				end = min(next+s.page, len(s.events))
				failed = f == unavailable
				if f == repeats {
					times = 2
				}
			},
		})
		switch {
		case err != nil:
			return err
		case failed:
			return errors.New("500")
		}
		read := max(at, end)
		b := collectors.Batch{
			Events: slices.Clone(s.events[next:end]), Cursor: json.RawMessage(strconv.Itoa(read)),
			Watermark: timeOf(read - 1), Floor: timeOf(max(0, read-s.overlap)),
		}
		for range times {
			if err := emit(ctx, b); err != nil {
				return err
			}
		}
		if next = end; next == len(s.events) {
			break
		}
	}
	<-ctx.Done()
	return nil
}

// consuming is one consumer of a queue, which has a single active consumer: whoever begins to consume takes over, and
// what the one before did not acknowledge comes again, in its place. What is acknowledged is gone.
type consuming struct {
	*service
	p    *process
	next int
}

func (*consuming) Available(context.Context) error { return nil }

var errClosed = errors.New("the channel is closed")

func (s *consuming) Run(ctx context.Context, _ event.From, emit collectors.Emit) error {
	if err := s.p.ask(ctx, request{
		name: "begins to consume", fates: []fate{fine, diesBefore},
		serve: func(fate) { s.consumer, s.next = s, max(0, slices.Index(append(s.acked, false), false)) },
	}); err != nil {
		return err
	}
	for {
		var first, end int
		var lost bool
		if err := s.p.ask(ctx, request{
			name:  "takes from the queue",
			ready: func() bool { return s.next < len(s.events) }, // one that was replaced learns it when something comes
			fates: []fate{fine, unavailable, diesBefore},
			serve: func(f fate) {
				if lost = f == unavailable || s.consumer != s; lost {
					return
				}
				first, end = s.next, min(s.next+s.page, len(s.events))
				s.next = end
			},
		}); err != nil {
			return err
		}
		if lost {
			return errClosed
		}
		if err := emit(ctx, collectors.Batch{
			Events: slices.Clone(s.events[first:end]), Watermark: timeOf(end - 1), Done: func() { s.acknowledge(first, end) },
		}); err != nil {
			return err
		}
	}
}

func (s *consuming) acknowledge(first, end int) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.p.ctx.Err() != nil || s.consumer != s {
		return
	}
	for i := first; i < end; i++ {
		s.acked[i] = true
		s.w.check.acknowledged(s.events[i].ID)
	}
}
