package normalizer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"stackstream/event"
)

const (
	// BatchEvents bounds what is read, converted and committed at once. Two batches of a provider are in memory at most:
	// one being committed and the next one.
	BatchEvents = 500
	// BatchBytes bounds the same in bytes of bodies, or of what they became where that is more; one larger body goes alone.
	BatchBytes = 1 << 20
	// DrainTimeout is how long a commit may still take after the service was told to end.
	DrainTimeout = 10 * time.Second
	// BeatEvery is the time between two calls of Hooks.Beat for a provider.
	BeatEvery = 5 * time.Second
)

// Config is what a Service works with. All of it is required but for Lease, Hooks and Log.
type Config struct {
	// Converters by the format of the raw event (Raw.Format).
	Converters map[string]Converter
	// Committer makes the committer of a provider. It is called once for each run of a provider.
	Committer func(event.Provider) Committer
	Feed      Feed
	Bodies    Bodies
	// Lease is nil where there can be no other instance.
	Lease Lease
	// Look is how often the cursor is looked at while there is nothing to write, or nothing can be done: an operator may have
	// changed it. Never if it is 0: who writes learns of it in any case.
	Look  time.Duration
	Hooks Hooks
	// Log gets one line for each change of a provider's state.
	Log zerolog.Logger
}

// Service normalizes the raw events of many providers. Providers do not wait for one another; the events of one
// provider keep their order. Any number of instances may run for the same providers: a lease lets one of them
// work, and the fenced Committer makes sure that only one gets through.
type Service struct {
	cfg Config
}

// New checks the configuration.
func New(cfg Config) (*Service, error) {
	var missing []error
	need := func(ok bool, name string) {
		if !ok {
			missing = append(missing, fmt.Errorf("normalizer: no %s", name))
		}
	}
	need(len(cfg.Converters) > 0, "converters")
	need(cfg.Committer != nil, "committer")
	need(cfg.Feed != nil, "feed")
	need(cfg.Bodies != nil, "bodies")
	for format, c := range cfg.Converters {
		need(c != nil, fmt.Sprintf("converter for format %q", format))
	}
	return &Service{cfg: cfg}, errors.Join(missing...)
}

// Run works for the providers until ctx ends and returns nil then. Nothing else ends it: what fails is tried again for
// ever, and Hooks.Status says so.
func (s *Service) Run(ctx context.Context, providers ...event.Provider) error {
	var all sync.WaitGroup
	for _, p := range providers {
		all.Go(func() { _ = s.RunProvider(ctx, p) }) // nil: it ends with ctx only
	}
	all.Wait()
	<-ctx.Done() // with no provider, too
	return nil
}

// RunProvider works for one provider until ctx ends and returns nil then. The batch being committed is finished first,
// within DrainTimeout; the lease is released last. It must not run twice at once for a provider in one process.
func (s *Service) RunProvider(ctx context.Context, p event.Provider) error {
	w := newWorker(&s.cfg, p)
	defer w.beat()()
	w.run(ctx)
	return nil
}
