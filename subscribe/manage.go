package subscribe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// DurableKind says what a durable is good for.
type DurableKind string

const (
	// DurableWhole is what a Subscriber reads through: events and dead letters, whose numbers prove together that none is
	// missing, acknowledged up to a position.
	DurableWhole DurableKind = "whole"
	// DurableEvents is for any NATS client: events alone, each acknowledged by itself.
	DurableEvents DurableKind = "events"
	// DurableOther is neither: nobody knows here what it is for.
	DurableOther DurableKind = "other"
)

// Position is a place in EVENTS_NORMALIZED: the first of these that is set, else the oldest event that there is.
type Position struct {
	Seq  event.StreamSeq // this stream sequence
	Time time.Time       // what was stored at this time or later
	New  bool            // what is stored from now on
}

// NewDurable says which durable to make.
type NewDurable struct {
	Name      string
	Kind      DurableKind // DurableWhole or DurableEvents
	Providers []event.Provider
	From      Position
	// InactiveAfter, if not 0, has the server delete the durable, and its position with it, when nobody has used it for
	// so long.
	InactiveAfter time.Duration
}

// Durable is a durable as it is.
type Durable struct {
	Name      string           `json:"name"`
	Kind      DurableKind      `json:"kind"`
	Providers []event.Provider `json:"providers,omitempty"` // none means all
	// Position is the stream sequence up to which all is acknowledged.
	Position event.StreamSeq `json:"position"`
	// Behind is how many messages are still to be acknowledged, dead letters included where it reads them; Unacknowledged are
	// those of them that were delivered.
	Behind         uint64 `json:"behind"`
	Unacknowledged int    `json:"unacknowledged"`
	// Oldest is when the first message that was not delivered was stored; zero if there is none.
	Oldest time.Time `json:"oldest_undelivered,omitzero"`
	// Active is when something was delivered or acknowledged last; zero if never.
	Active  time.Time `json:"active,omitzero"`
	Created time.Time `json:"created"`
	// Reading: somebody waits for messages.
	Reading       bool          `json:"reading"`
	InactiveAfter time.Duration `json:"inactive_after_ns,omitempty"`
	Paused        bool          `json:"paused"`
}

// Manager makes, lists, moves and deletes durables. It changes none that reads something else than events, nor one that
// somebody is reading through.
type Manager struct {
	nc *nats.Conn
	js natsjs.JetStream
}

// NewManager returns a Manager on a connection, which stays the caller's.
func NewManager(nc *nats.Conn) (*Manager, error) {
	js, err := natsjs.New(nc)
	if err != nil {
		return nil, fmt.Errorf("manage durables: %w", err)
	}
	return &Manager{nc: nc, js: js}, nil
}

func (m *Manager) durable(name string, o *Options) durable {
	return durable{js: m.js, nc: m.nc, name: name, subjects: subjects(o.Providers), opts: o}
}

// Add makes a durable. One that exists is refused.
func (m *Manager) Add(ctx context.Context, n NewDurable) error {
	o := Options{Durable: n.Name, Providers: n.Providers}
	if err := o.validate(); err != nil {
		return &event.Error{Kind: event.Invalid, Op: "add a durable", Err: err}
	}
	d := m.durable(n.Name, &o)
	begin, err := d.locate(ctx, n.From)
	if err != nil {
		return err
	}
	cfg, err := d.config(ctx, begin)
	if err != nil {
		return err
	}
	cfg.InactiveThreshold = n.InactiveAfter
	if n.Kind == DurableEvents {
		cfg.AckPolicy, cfg.FilterSubjects = natsjs.AckExplicitPolicy, eventSubjects(n.Providers)
	}
	return d.create(ctx, cfg)
}

// eventSubjects are the filters of a durable that reads no dead letters.
func eventSubjects(providers []event.Provider) []string {
	return slices.DeleteFunc(subjects(providers), func(subject string) bool { return !readsEvents(subject) })
}

func readsEvents(subject string) bool { return strings.HasPrefix(subject, event.NormalizedSubject("")) }
func readsDead(subject string) bool   { return strings.HasPrefix(subject, event.DeadSubject("")) }

// create makes the consumer, and refuses to find it there.
func (d *durable) create(ctx context.Context, cfg natsjs.ConsumerConfig) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := d.js.Consumer(ctx, event.StreamNormalized, d.name)
	if err == nil {
		return &event.Error{Kind: event.Invalid, Op: "add durable " + d.name, Err: errors.New("it exists already")}
	}
	if !errors.Is(err, natsjs.ErrConsumerNotFound) {
		return d.failed("look for the durable", err)
	}
	if _, err := d.js.CreateConsumer(ctx, event.StreamNormalized, cfg); err != nil {
		return d.failed("create the durable", err)
	}
	return nil
}

// locate returns the stream sequence of a position: 1 at least.
func (d *durable) locate(ctx context.Context, at Position) (event.StreamSeq, error) {
	switch {
	case at.Seq > 0:
		return at.Seq, nil
	case !at.Time.IsZero():
		return d.sequenceAt(ctx, at.Time)
	}
	state, err := d.stream(ctx)
	if err != nil {
		return 0, err
	}
	if at.New {
		return event.StreamSeq(state.LastSeq + 1), nil
	}
	return event.StreamSeq(max(state.FirstSeq, 1)), nil
}

// sequenceAt returns the sequence of the first message that was stored at a time or later. A consumer that begins there
// knows it.
func (d *durable) sequenceAt(ctx context.Context, at time.Time) (event.StreamSeq, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	cons, err := d.js.CreateConsumer(ctx, event.StreamNormalized, natsjs.ConsumerConfig{
		DeliverPolicy: natsjs.DeliverByStartTimePolicy, OptStartTime: &at, AckPolicy: natsjs.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: 5 * time.Second,
	})
	if err != nil {
		return 0, d.failed("look for a time for", err)
	}
	info := cons.CachedInfo()
	_ = d.js.DeleteConsumer(ctx, event.StreamNormalized, info.Name) // else it goes by itself
	return event.StreamSeq(info.Delivered.Stream + 1), nil
}

// List returns the durables of EVENTS_NORMALIZED by name.
func (m *Manager) List(ctx context.Context) ([]Durable, error) {
	d := m.durable("", &Options{})
	ctx, cancel := context.WithTimeout(ctx, 4*requestTimeout)
	defer cancel()
	stream, err := m.js.Stream(ctx, event.StreamNormalized)
	if err != nil {
		return nil, d.failed("look at "+event.StreamNormalized, err)
	}
	var found []Durable
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		if info.Config.Durable == "" {
			continue
		}
		one := describe(info)
		if one.Oldest, err = oldest(ctx, stream, info); err != nil {
			return nil, d.failed("look behind", err)
		}
		found = append(found, one)
	}
	if err := list.Err(); err != nil {
		return nil, d.failed("list the durables of "+event.StreamNormalized, err)
	}
	slices.SortFunc(found, func(a, b Durable) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

func describe(info *natsjs.ConsumerInfo) Durable {
	one := Durable{
		Name: info.Name, Kind: kindOf(&info.Config), Providers: providersOf(&info.Config),
		Position: event.StreamSeq(info.AckFloor.Stream), Behind: info.NumPending + uint64(info.NumAckPending),
		Unacknowledged: info.NumAckPending, Created: info.Created,
		Reading: info.NumWaiting > 0 || info.PushBound, InactiveAfter: info.Config.InactiveThreshold, Paused: info.Paused,
	}
	for _, at := range []*time.Time{info.Delivered.Last, info.AckFloor.Last} {
		if at != nil && at.After(one.Active) {
			one.Active = *at
		}
	}
	return one
}

func filters(cfg *natsjs.ConsumerConfig) []string {
	if cfg.FilterSubject != "" {
		return []string{cfg.FilterSubject}
	}
	return cfg.FilterSubjects
}

// kindOf tells what a durable is good for.
func kindOf(cfg *natsjs.ConsumerConfig) DurableKind {
	has := filters(cfg)
	dead := slices.IndexFunc(has, readsDead) >= 0
	foreign := slices.ContainsFunc(has, func(s string) bool { return !readsEvents(s) && !readsDead(s) })
	switch {
	case len(has) == 0 || foreign || cfg.DeliverSubject != "":
		return DurableOther
	case !dead:
		return DurableEvents
	}
	d := durable{name: cfg.Durable, subjects: subjects(providersOf(cfg))}
	if d.check(cfg) == nil {
		return DurableWhole
	}
	return DurableOther
}

// providersOf are the providers that a durable reads, none for all.
func providersOf(cfg *natsjs.ConsumerConfig) []event.Provider {
	var found []event.Provider
	for _, subject := range filters(cfg) {
		p, _, ok := event.SubjectProvider(subject)
		if !ok {
			return nil
		}
		found = append(found, p)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// oldest is when the first message that a consumer has not delivered was stored.
func oldest(ctx context.Context, stream natsjs.Stream, info *natsjs.ConsumerInfo) (time.Time, error) {
	if info.NumPending == 0 {
		return time.Time{}, nil
	}
	subjects := filters(&info.Config)
	if len(subjects) == 0 {
		subjects = []string{">"}
	}
	var first *natsjs.RawStreamMsg
	for _, subject := range subjects {
		m, err := stream.GetMsg(ctx, info.Delivered.Stream+1, natsjs.WithGetMsgSubject(subject))
		switch {
		case errors.Is(err, natsjs.ErrMsgNotFound):
		case err != nil:
			return time.Time{}, err
		case first == nil || m.Sequence < first.Sequence:
			first = m
		}
	}
	if first == nil {
		return time.Time{}, nil
	}
	return first.Time, nil
}

// Get returns one durable; ok is false if there is none of this name.
func (m *Manager) Get(ctx context.Context, name string) (one Durable, ok bool, err error) {
	d := m.durable(name, &Options{})
	info, err := d.info(ctx)
	if err != nil || info == nil {
		return Durable{}, false, err
	}
	return describe(info), true, nil
}

// info asks about the consumer; nil if there is none.
func (d *durable) info(ctx context.Context) (*natsjs.ConsumerInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	cons, err := d.js.Consumer(ctx, event.StreamNormalized, d.name)
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, d.failed("look for the durable", err)
	}
	return cons.CachedInfo(), nil
}

// free returns the consumer's state if it is a subscriber's and nobody reads through it.
func (d *durable) free(ctx context.Context, op string) (*natsjs.ConsumerInfo, error) {
	refuse := func(why string) error {
		return &event.Error{Kind: event.Invalid, Op: op + " " + d.name, Err: errors.New(why)}
	}
	info, err := d.info(ctx)
	switch {
	case err != nil:
		return nil, err
	case info == nil:
		return nil, refuse("there is no such durable on " + event.StreamNormalized)
	case kindOf(&info.Config) == DurableOther:
		return nil, refuse("it is no subscriber's: it reads " + strings.Join(filters(&info.Config), ", "))
	case info.NumWaiting > 0 || info.PushBound:
		return nil, refuse("somebody reads through it: stop that program first")
	}
	if who := d.reader(ctx); who != "" {
		return nil, refuse(who + " reads through it: stop it first")
	}
	return info, nil
}

// reader says which Subscriber reads through the durable, "" if none answers. Nobody steps back from this question.
func (d *durable) reader(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 2*grace)
	defer cancel()
	question, err := json.Marshal(claimant{ID: "0", Who: "an operator"})
	if err != nil {
		return ""
	}
	answer, err := d.nc.RequestWithContext(ctx, ClaimSubject(d.name), question)
	var who claimant
	if err != nil || json.Unmarshal(answer.Data, &who) != nil {
		return "" // nobody listens
	}
	return who.Who
}

// Remove deletes a durable, and its position with it.
func (m *Manager) Remove(ctx context.Context, name string) error {
	d := m.durable(name, &Options{})
	if _, err := d.free(ctx, "remove durable"); err != nil {
		return err
	}
	return d.remove(ctx)
}

func (d *durable) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := d.js.DeleteConsumer(ctx, event.StreamNormalized, d.name)
	if err != nil && !errors.Is(err, natsjs.ErrConsumerNotFound) {
		return d.failed("delete the durable", err)
	}
	return nil
}

// Target looks at a durable that may be set to a position or removed, and returns the sequence that would be next.
func (m *Manager) Target(ctx context.Context, name string, to Position) (Durable, event.StreamSeq, error) {
	d := m.durable(name, &Options{})
	info, err := d.free(ctx, "change durable")
	if err != nil {
		return Durable{}, 0, err
	}
	next, err := d.locate(ctx, to)
	return describe(info), next, err
}

// Reset sets a durable to a position and returns the sequence that is next there. It is deleted and made anew: so it begins
// there for whoever reads, and nothing before it is missed.
func (m *Manager) Reset(ctx context.Context, name string, to Position) (event.StreamSeq, error) {
	d := m.durable(name, &Options{})
	info, err := d.free(ctx, "reset durable")
	if err != nil {
		return 0, err
	}
	next, err := d.locate(ctx, to)
	if err != nil {
		return 0, err
	}
	cfg := info.Config
	cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = natsjs.DeliverByStartSequencePolicy, uint64(next), nil
	if err := d.remove(ctx); err != nil {
		return 0, err
	}
	if err := d.create(context.WithoutCancel(ctx), cfg); err != nil {
		return 0, fmt.Errorf("%s is deleted and could not be made again, to begin at %d: %w", name, next, err)
	}
	return next, nil
}
