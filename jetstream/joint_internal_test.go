package jetstream

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/event"
)

func TestWhatGoesTogether(t *testing.T) {
	batch := func(cursor, fence string, events int) event.Batch {
		b := event.Batch{Cursor: event.Message{Subject: cursor}, Fence: event.Fence{Subject: fence}}
		for range events {
			b.Messages = append(b.Messages, event.Message{Subject: "events.raw.p.s", Body: make([]byte, 1000)})
		}
		return b
	}
	const a, b, c, choice = "events.cursor.raw.p.a", "events.cursor.raw.p.b", "events.cursor.raw.p.c", "events.cursor.raw.p"
	share := func(cursor, shared string) event.Batch {
		b := batch(cursor, choice, 1)
		b.Shared.Subject = shared
		return b
	}
	tells := batch(b, "", 1)
	tells.Messages[0].Subject = a
	many := make([]event.Batch, 20)
	for i := range many {
		many[i] = batch(a+string(rune('a'+i)), "", 49)
	}
	for name, test := range map[string]struct {
		batches []event.Batch
		want    []int // how many there are in each group
	}{
		"one":                           {[]event.Batch{batch(a, "", 1)}, []int{1}},
		"of sources that share a fence": {[]event.Batch{batch(a, choice, 1), batch(b, choice, 2), batch(c, "", 1)}, []int{3}},
		"of one source":                 {[]event.Batch{batch(a, "", 1), batch(a, "", 1), batch(b, "", 1)}, []int{2, 1}},
		"what others are fenced by":     {[]event.Batch{batch(a, choice, 1), batch(choice, "", 1)}, []int{1, 1}},
		"and the other way round":       {[]event.Batch{batch(choice, "", 1), batch(a, choice, 1)}, []int{1, 1}},
		"that share a record":           {[]event.Batch{share(a, "events.shared"), share(b, "events.shared"), share(c, "events.other")}, []int{2, 1}},
		"an event on another's cursor":  {[]event.Batch{batch(a, "", 1), tells, tells}, []int{1, 1, 1}},
		"no more than there may be":     {many, []int{10, 10}},
	} {
		t.Run(name, func(t *testing.T) {
			l := &Log{stream: event.StreamRaw}
			for i := range test.batches {
				l.waiting = append(l.waiting, &joining{batch: &test.batches[i], messages: buildMessages(l.stream, test.batches[i])})
			}
			var got []int
			for len(l.waiting) > 0 {
				first := l.waiting[0]
				together := l.gather()
				if len(together) == 0 || together[0] != first {
					t.Fatalf("who came first does not go: %d go", len(together))
				}
				got = append(got, len(together))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("groups of %v, want %v", got, test.want)
			}
		})
	}
}

func TestALargeBatchGoesByItself(t *testing.T) {
	for name, test := range map[string]struct {
		events, bytes int
		fence         string
		want          bool
	}{
		"small":                 {1, 1000, "", true},
		"many messages":         {joinMessages, 1, "", false},
		"many bytes":            {2, joinBytes / 2, "", false},
		"one that is the fence": {1, 1, "events.raw.p.s", false},
	} {
		b := event.Batch{Cursor: event.Message{Subject: "events.cursor.raw.p.s", Body: []byte("{}")}, Fence: event.Fence{Subject: test.fence}}
		for range test.events {
			b.Messages = append(b.Messages, event.Message{Subject: "events.raw.p.s", Body: make([]byte, test.bytes)})
		}
		if got := mayJoin(&b, buildMessages(event.StreamRaw, b)); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Who waits while others are under way may leave at any time, and what it left behind is not sent.
func TestWhoWaitsMayLeave(t *testing.T) {
	l := &Log{stream: event.StreamRaw, joint: make(chan struct{}, 1)}
	l.joint <- struct{}{}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	_, err := l.join(ctx, l.enter(ctx, &event.Batch{}, nil, true))
	if event.KindOf(err) != event.Unavailable || !errors.Is(err, gone) || len(l.waiting) > 0 {
		t.Errorf("%v, %d wait", err, len(l.waiting))
	}
}

// Who waits behind others that don't come through is told so, and is not sent afterwards.
func TestWhoWaitsTooLongIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Log{stream: event.StreamRaw, joint: make(chan struct{}, 1)}
		l.joint <- struct{}{}
		began := time.Now()
		_, err := l.join(t.Context(), l.enter(t.Context(), &event.Batch{}, nil, true))
		if event.KindOf(err) != event.Unavailable || !errors.Is(err, errInProcess) || len(l.waiting) > 0 || time.Since(began) != turnPatience {
			t.Errorf("after %v: %v, %d wait", time.Since(began), err, len(l.waiting))
		}
	})
}

// What goes together is given up when nobody waits for it any more, and not before.
func TestWhatGoesTogetherEndsWithTheLast(t *testing.T) {
	first, endFirst := context.WithCancel(t.Context())
	second, endSecond := context.WithCancel(t.Context())
	ctx, release := whileAny([]*joining{{ctx: first}, {ctx: second}})
	defer release()
	endFirst()
	if ctx.Err() != nil {
		t.Error("it ends with the first")
	}
	endSecond()
	<-ctx.Done()
}
