package poison

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"stackstream/collectors"
	"stackstream/event"
)

// source hands over mutants until there were enough, and then nothing any more. It fails now and then, and then begins
// behind its cursor with what it cannot know to be durable, and with some that surely are: as a queue does.
type source struct {
	enough int
	fails  map[int]bool // at which number of mutants it does

	mu      sync.Mutex
	mutator *mutator
	batches []batch // handed over and not known to be durable
	all     chan struct{}
}

// batch is a number of mutants, and how many there were with them.
type batch struct {
	events []event.Raw
	last   int
}

// overlap is how many that are durable are handed over again after a failure.
const overlap = kept / 2

func newSource(m *mutator, enough int) *source {
	return &source{
		enough: enough, mutator: m, all: make(chan struct{}),
		fails: map[int]bool{enough / 5: true, enough / 2: true, enough * 4 / 5: true},
	}
}

func (s *source) candidate() collectors.Candidate {
	return collectors.Candidate{Kind: "amqp", Shards: []collectors.Shard{{
		Name: "amqp", Spec: collectors.Spec{Repeats: 2 * window},
		New: func(collectors.Report) (collectors.Source, error) { return s, nil },
	}}}
}

func (*source) Available(context.Context) error { return nil }

func (s *source) Run(ctx context.Context, from event.From, emit collectors.Emit) error {
	for _, b := range s.unfinished() {
		if err := s.hand(ctx, b, emit); err != nil {
			return nil
		}
	}
	for {
		b, failing := s.next()
		if len(b.events) == 0 && !failing {
			break
		}
		if err := s.hand(ctx, b, emit); err != nil {
			return nil
		}
		if failing {
			return errors.New("the source fails")
		}
	}
	<-ctx.Done()
	return nil
}

// unfinished is what has to come again.
func (s *source) unfinished() []batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mutator
	var again batch
	for i := range min(m.made, overlap) {
		mu := m.recent[(m.made-1-i)%kept]
		again.events = append(again.events, mu.raw())
	}
	// Oldest first, and only those before what is handed over again anyway.
	pending := 0
	for _, b := range s.batches {
		pending += len(b.events)
	}
	all := append([]batch(nil), s.batches...)
	if pending >= len(again.events) {
		return all
	}
	sure := again.events[pending:]
	for i, j := 0, len(sure)-1; i < j; i, j = i+1, j-1 {
		sure[i], sure[j] = sure[j], sure[i]
	}
	return append([]batch{{events: sure}}, all...)
}

// next makes a batch, and says whether the source fails behind it.
func (s *source) next() (b batch, failing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mutator
	for n := 1 + m.random.IntN(300); n > 0 && m.made < s.enough && !failing; n-- {
		mu := m.next()
		b.events = append(b.events, mu.raw())
		failing = s.fails[m.made]
	}
	b.last = m.made
	if len(b.events) > 0 {
		s.batches = append(s.batches, b)
		if m.made == s.enough {
			close(s.all)
		}
	}
	return b, failing
}

func (s *source) hand(ctx context.Context, b batch, emit collectors.Emit) error {
	if len(b.events) == 0 {
		return nil
	}
	cursor, err := json.Marshal(b.last)
	if err != nil {
		return err
	}
	out := collectors.Batch{Events: append([]event.Raw(nil), b.events...)}
	if b.last > 0 {
		out.Cursor = cursor
		out.Done = func() { s.durable(b.last) }
	}
	return emit(ctx, out)
}

func (s *source) durable(last int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.batches) > 0 && s.batches[0].last <= last {
		s.batches = s.batches[1:]
	}
}

// wants is how many different events there were, 0 before all are made.
func (s *source) wants() int {
	select {
	case <-s.all:
		return len(s.mutator.want)
	default:
		return 0
	}
}

// raw is what a source makes of a mutant. One that has no identity of its own gets it from the Collector.
func (mu *mutant) raw() event.Raw {
	r := event.Raw{
		Format: mu.format, ContentType: "application/json", Body: mu.body, Header: map[string]string{"Evt-Exchange": "nova"},
	}
	if !mu.hashed {
		r.ID = mu.id
	}
	if mu.compression != "" {
		r.Header["Evt-Compression"] = mu.compression
	}
	return r
}
