package powerloss

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/embedded"
	"stackstream/normalizer"
	"stackstream/normalizer/oslo"
	"stackstream/normalizer/rules"
	"stackstream/publisher"
)

// patience is how long anything may take.
const patience = 2 * time.Minute

// pipeline is the whole of it in this process: collectors and normalizer on one server.
type pipeline struct {
	client *jetstream.Client
	queues map[event.Provider]*queue
	now    func() int
	log    zerolog.Logger

	mu        sync.Mutex
	committed map[event.Provider][]commit // what the normalizer was told is durable
	trouble   []string                    // what was wrong meanwhile
}

// commit says that NORMALIZED is durable up to a position, and when that was known.
type commit struct {
	moment   int
	position event.Seq
}

func newPipeline(c *jetstream.Client, queues map[event.Provider]*queue, now func() int) *pipeline {
	return &pipeline{client: c, queues: queues, now: now, committed: map[event.Provider][]commit{}}
}

// normalized is how far NORMALIZED was known to be durable at a moment.
func (p *pipeline) normalized(name event.Provider, moment int) event.Seq {
	p.mu.Lock()
	defer p.mu.Unlock()
	var at event.Seq
	for _, c := range p.committed[name] {
		if c.moment <= moment {
			at = c.position
		}
	}
	return at
}

// run runs everything until each event of the queues is normalized.
func (p *pipeline) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	work, end := context.WithCancel(ctx)
	defer end()
	normalize, err := p.normalizer()
	if err != nil {
		return err
	}
	var loops sync.WaitGroup
	defer loops.Wait()
	defer end()
	for name, q := range p.queues {
		collector := p.collector(name, q)
		loops.Go(func() { p.say(collector.Run(work)) })
		loops.Go(func() { p.say(normalize.RunProvider(work, name)) })
	}
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !p.done() {
		select {
		case <-look.C:
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			return fmt.Errorf("the pipeline does not get to its end: %w; %s; %s", ctx.Err(), p.progress(), strings.Join(p.trouble, "; "))
		}
	}
	return nil
}

func (p *pipeline) done() bool {
	for name, q := range p.queues {
		if q.acknowledged(never-1) < len(q.events) || p.normalized(name, never) < event.Seq(len(q.events)) {
			return false
		}
	}
	return true
}

// progress is how far each provider got.
func (p *pipeline) progress() string {
	var all []string
	for name, q := range p.queues {
		done := event.Seq(0)
		if c := p.committed[name]; len(c) > 0 {
			done = c[len(c)-1].position
		}
		all = append(all, fmt.Sprintf("%s: of %d events %d are acknowledged and %d normalized", name, len(q.events),
			q.acknowledged(never-1), done))
	}
	return strings.Join(all, ", ")
}

func (p *pipeline) say(err error) {
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.trouble = append(p.trouble, err.Error())
	}
}

func (p *pipeline) status(s event.Status) {
	if s.State == event.StateBackoff || s.State == event.StateStopped || s.State == event.StateDegraded {
		p.say(fmt.Errorf("%s of %s: %s", s.Role, s.Provider, s.Reason))
	}
}

func (p *pipeline) options() publisher.Options {
	return publisher.Options{
		Owner: "test", Limits: publisher.Limits{MaxBody: maxBody, Bytes: 64 << 10}, Hooks: publisher.Hooks{Waiting: p.say},
	}
}

func (p *pipeline) collector(name event.Provider, q *queue) *collectors.Collector {
	raw, memory := p.client.Raw(), p.client.Memory()
	return &collectors.Collector{
		Provider: name, Want: collectors.Auto, Candidates: []collectors.Candidate{q.candidate()},
		Deps: collectors.Deps{
			NewWriter: func(name event.Provider, s event.Source, fence event.Fence) collectors.Writer {
				return publisher.NewRaw(raw, p.client.Bodies(), name, s, fence, p.options())
			},
			Memory: memory, Choices: p.client.Choices(), Lease: jetstream.NoLease{}, Owner: "test",
			Log:   p.log,
			Hooks: collectors.Hooks{Status: p.status},
		},
	}
}

func (p *pipeline) normalizer() (*normalizer.Service, error) {
	shared, err := rules.New(rules.Config{})
	if err != nil {
		return nil, err
	}
	log := p.client.Normalized()
	return normalizer.New(normalizer.Config{
		Converters: map[string]normalizer.Converter{oslo.Format: oslo.New(shared)},
		Committer: func(name event.Provider) normalizer.Committer {
			return &committer{publisher.NewNormalized(log, p.client.Bodies(), name, p.options()), p, name}
		},
		Feed: feed{p.client.Feed()}, Bodies: p.client.Bodies(), Log: p.log,
		Hooks: normalizer.Hooks{Status: p.status},
	})
}

// committer notes when it was known what is durable.
type committer struct {
	normalizer.Committer
	p    *pipeline
	name event.Provider
}

func (c *committer) Open(ctx context.Context) (event.NormalizedCursor, error) {
	cursor, err := c.Committer.Open(ctx)
	if err == nil {
		c.note(cursor)
	}
	return cursor, err
}

func (c *committer) Commit(
	ctx context.Context, outcomes []event.Outcome, raw event.RawStream,
) (event.NormalizedCursor, error) {
	cursor, err := c.Committer.Commit(ctx, outcomes, raw)
	if err == nil {
		c.note(cursor)
	}
	return cursor, err
}

func (c *committer) note(cursor event.NormalizedCursor) {
	now := c.p.now()
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.p.committed[c.name] = append(c.p.committed[c.name], commit{now, cursor.Position})
}

// feed lets the normalizer see its own Reader in what jetstream returns.
type feed struct{ *jetstream.Feed }

func (f feed) Open(ctx context.Context, p event.Provider, from event.NormalizedCursor) (normalizer.Reader, error) {
	r, err := f.Feed.Open(ctx, p, from)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// site is a server with a client.
type site struct {
	client *jetstream.Client
	stop   func() error // the server
}

// open starts a server on a directory and makes what streams are missing, as a process of stackstream does.
func open(ctx context.Context, dir string, layout jetstream.Layout, log zerolog.Logger) (*site, error) {
	server, err := embedded.Open(jetstream.EmbeddedConfig{Dir: dir, MaxFile: 1 << 30}, log)
	if err != nil {
		return nil, err
	}
	return connect(ctx, jetstream.Config{Embedded: server}, server.Close, layout, log)
}

// openLazy is open for a server that syncs only now and then, as nats-server does by default, though not that seldom.
func openLazy(ctx context.Context, dir string, layout jetstream.Layout, log zerolog.Logger) (*site, error) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, SyncInterval: time.Second, JetStreamMaxStore: 1 << 30,
		JetStreamMaxMemory: 64 << 20, DisableJetStreamBanner: true, MaxPayload: jetstream.MaxPayload,
	})
	if err != nil {
		return nil, err
	}
	s.Start()
	stop := func() error {
		s.Shutdown()
		s.WaitForShutdown()
		return nil
	}
	if !s.ReadyForConnections(patience) {
		return nil, errors.Join(errors.New("the server does not listen"), stop())
	}
	return connect(ctx, jetstream.Config{URLs: []string{s.ClientURL()}}, stop, layout, log)
}

// connect connects to a server and makes what streams are missing. If it fails the server is stopped.
func connect(
	ctx context.Context, cfg jetstream.Config, stop func() error, layout jetstream.Layout, log zerolog.Logger,
) (*site, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := jetstream.Connect(ctx, cfg, log, jetstream.Hooks{})
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	s := &site{client: client, stop: stop}
	plan, err := client.Provision(ctx, layout.Within(1<<30), jetstream.CreateMissing)
	if err == nil {
		err = plan.Broken()
	}
	if err == nil && plan.Differs() {
		err = errors.New("the streams are not as they were made")
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *site) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(s.client.Close(ctx), s.stop())
}

// sameOrder tells whether the names are those of the events, in order, without repeats.
func sameOrder(got []event.ID, want []event.Raw) error {
	for i, id := range got {
		if i >= len(want) || id != want[i].ID {
			at := slices.IndexFunc(want, func(e event.Raw) bool { return e.ID == id })
			return fmt.Errorf("%s comes as number %d and is number %d of those that were handed out", id, i+1, at+1)
		}
	}
	return nil
}
