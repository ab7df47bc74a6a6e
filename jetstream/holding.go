package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// Holding is what the streams and the buckets have of one provider, whoever works for it.
type Holding struct {
	Provider event.Provider
	// Choice is the zero Choice where none was made.
	Choice     event.Choice
	Sources    map[event.Source]event.RawCursor
	Normalized event.NormalizedCursor
	// Raw are the events in EVENTS_RAW by their source, Canonical those in EVENTS_NORMALIZED with the dead letters there, and
	// Dead the dead letters in EVENTS_DEAD.
	Raw             map[event.Source]uint64
	Canonical, Dead uint64
	// Consumer tells whether the normalizer's durable consumer is there, Pulling whether somebody reads through it.
	Consumer, Pulling bool
	// Owners are the leases of the provider, by whom.
	Owners []Owner

	unleased bool          // whoever works takes no leases, as far as can be told
	unsure   time.Duration // see Unsure
}

// Owner is a lease and who holds it. One that is not alive left it behind.
type Owner struct {
	Role  event.Role
	Lease string
	Name  string
	Alive bool

	key string
	rev uint64
}

// Holdings returns what there is of a provider, or of all if p is "". It changes nothing. What it reads is not read at one
// moment: who acts on it says with every step what he expects to find.
func (c *Client) Holdings(ctx context.Context, p event.Provider) (map[event.Provider]*Holding, error) {
	all := map[event.Provider]*Holding{}
	of := func(name event.Provider) *Holding {
		if p != "" && name != p {
			return &Holding{Raw: map[event.Source]uint64{}, Sources: map[event.Source]event.RawCursor{}} // not asked for
		}
		if all[name] == nil {
			all[name] = &Holding{Provider: name, Raw: map[event.Source]uint64{}, Sources: map[event.Source]event.RawCursor{}}
		}
		return all[name]
	}
	if p != "" {
		of(p)
	}
	for _, stream := range []string{event.StreamRaw, event.StreamNormalized, event.StreamDead} {
		info, err := c.streamInfo(ctx, stream, eventsAll)
		if err != nil {
			return nil, err
		}
		for subject, n := range info.State.Subjects {
			if name, source, ok := event.SubjectProvider(subject); ok {
				of(name).count(stream, subject, source, n)
			}
		}
	}
	if err := c.consumers(ctx, of); err != nil {
		return nil, err
	}
	leased, unsure, err := c.owners(ctx, of)
	if err != nil {
		return nil, err
	}
	raw, normalized := c.Raw(), c.Normalized()
	for name, h := range all {
		// A process on the server that it has in itself shares with nobody, and takes no leases.
		h.unleased, h.unsure = !leased && c.Server() == EmbeddedName, unsure
		if h.Choice, err = (&Choices{raw: raw}).ReadChoice(ctx, name); err != nil {
			return nil, err
		}
		for source := range h.Sources {
			if h.Sources[source], err = raw.readRawCursor(ctx, name, source); err != nil {
				return nil, err
			}
		}
		if h.Normalized, err = normalized.readNormalizedCursor(ctx, name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// count takes note of the messages on a subject.
func (h *Holding) count(stream, subject string, source event.Source, n uint64) {
	switch subject {
	case event.NormalizedSubject(h.Provider):
		h.Canonical += n
	case event.DeadSubject(h.Provider):
		if stream == event.StreamDead {
			h.Dead += n
		} else {
			h.Canonical += n
		}
	case event.RawSubject(h.Provider, source):
		h.Raw[source] += n
	case event.RawCursorSubject(h.Provider, source):
		if source != "" {
			h.Sources[source] = event.RawCursor{} // read later
		}
	}
}

// consumers looks for the normalizers' durable consumers.
func (c *Client) consumers(ctx context.Context, of func(event.Provider) *Holding) error {
	op := "list the consumers of " + event.StreamRaw
	stream, err := c.stream(ctx, event.StreamRaw)
	if err != nil {
		return err
	}
	ctx, release := c.failOnRefusal(ctx, isConsumerRequest(event.StreamRaw))
	defer release()
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		if name, ours := strings.CutPrefix(info.Name, ConsumerName("")); ours {
			h := of(event.Provider(name))
			h.Consumer, h.Pulling = true, info.NumWaiting > 0
		}
	}
	if err := list.Err(); err != nil {
		return readError(ctx, op, err)
	}
	return nil
}

// owners reads who holds which lease, and who is alive. leased tells whether anybody is, who would take leases; unsure is
// Holding.Unsure.
func (c *Client) owners(ctx context.Context, of func(event.Provider) *Holding) (leased bool, unsure time.Duration, err error) {
	alive := map[string]bool{}
	waiting := 0
	ttl, err := c.entries(ctx, BucketLeases, func(entry natsjs.KeyValueEntry) {
		var p process
		if json.Unmarshal(entry.Value(), &p) == nil && !p.Dead {
			alive[p.ID] = true
			waiting += p.Waiting
		}
	})
	if err != nil {
		return false, 0, err
	}
	if waiting > 0 {
		unsure = ttl
	}
	_, err = c.entries(ctx, BucketOwners, func(entry natsjs.KeyValueEntry) {
		role, lease, _ := strings.Cut(entry.Key(), ".")
		_, rest, _ := strings.Cut(lease, ".") // the role once more
		name, source, _ := strings.Cut(rest, ".")
		var o owner
		if name == "" || json.Unmarshal(entry.Value(), &o) != nil {
			return
		}
		h := of(event.Provider(name))
		h.Owners = append(h.Owners, Owner{
			Role: event.Role(role), Lease: source, Name: o.Name, Alive: alive[o.ID], key: entry.Key(), rev: entry.Revision(),
		})
	})
	return len(alive) > 0, unsure, err
}

// entries calls each for what a bucket has, and returns how long an entry lives there.
func (c *Client) entries(ctx context.Context, name string, each func(natsjs.KeyValueEntry)) (ttl time.Duration, err error) {
	op := "read bucket " + name
	ctx, release := c.failOnRefusal(ctx, func(refused string) bool { return strings.Contains(refused+".", ".KV_"+name+".") })
	defer release()
	brief, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	bucket, err := c.js.KeyValue(brief, name)
	if err != nil {
		return 0, readError(ctx, op, err)
	}
	status, err := bucket.Status(brief)
	if err != nil {
		return 0, readError(ctx, op, err)
	}
	watcher, err := bucket.WatchAll(brief, natsjs.IgnoreDeletes())
	if err != nil {
		return 0, readError(ctx, op, err)
	}
	defer func() { _ = watcher.Stop() }() // it ends with the connection at the latest
	seen := map[string]bool{}
	for {
		select {
		case entry, ok := <-watcher.Updates():
			if !ok {
				return 0, unavailable(op, errWatchEnded)
			}
			if entry == nil {
				return status.TTL(), c.renewed(brief, bucket, seen, each)
			}
			seen[entry.Key()] = true
			each(entry)
		case <-brief.Done():
			return 0, unavailable(op, context.Cause(brief))
		}
	}
}

// renewed calls each for the entries of a bucket that were not seen by a watch that has shown all there is: it passes over one that
// is written anew at that moment, and whoever renews a lease would look dead.
func (c *Client) renewed(ctx context.Context, bucket natsjs.KeyValue, seen map[string]bool, each func(natsjs.KeyValueEntry)) error {
	op, prefix := "read bucket "+bucket.Bucket(), "$KV."+bucket.Bucket()+"."
	subjects, err := c.subjects(ctx, "KV_"+bucket.Bucket(), prefix+">")
	if err != nil {
		return err
	}
	for _, subject := range subjects {
		key := strings.TrimPrefix(subject, prefix)
		if seen[key] {
			continue
		}
		entry, err := bucket.Get(ctx, key)
		if errors.Is(err, natsjs.ErrKeyNotFound) || errors.Is(err, natsjs.ErrKeyDeleted) {
			continue
		}
		if err != nil {
			return readError(ctx, op, err)
		}
		each(entry)
	}
	return nil
}

// Events is how many raw events there are.
func (h *Holding) Events() (n uint64) {
	for _, held := range h.Raw {
		n += held
	}
	return n
}

// Unnormalized is how many raw events were collected and are not normalized.
func (h *Holding) Unnormalized() (n uint64) {
	for source, cursor := range h.Sources {
		if done := h.Normalized.Sources[source].Position; cursor.Position > done {
			n += uint64(cursor.Position - done)
		}
	}
	return n
}

// quiet is for how long a cursor on an embedded server must not have been written until nobody is taken to be at work: one that
// moves is written once a minute at least.
const quiet = 75 * time.Second

// AtWork says who works for the provider as far as can be told, for people; none if nobody does. Where there are no leases who
// collects is known by what he wrote.
func (h *Holding) AtWork(now time.Time) []string {
	var found []string
	for _, o := range h.Owners {
		switch {
		case !o.Alive:
		case o.Lease == "":
			found = append(found, fmt.Sprintf("%s normalizes", o.Name))
		default:
			found = append(found, fmt.Sprintf("%s collects through %s", o.Name, o.Lease))
		}
	}
	if h.Pulling && len(found) == 0 {
		found = append(found, "a normalizer reads the raw events")
	}
	for _, source := range slices.Sorted(maps.Keys(h.Sources)) {
		if age := now.Sub(h.Sources[source].WrittenAt); h.unleased && !h.Sources[source].Retired && age < quiet {
			found = append(found, fmt.Sprintf("the cursor of %s was written %s ago; %s without that are needed to be sure",
				source, age.Round(time.Second), quiet))
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// Unsure is for how long to look again before nobody is taken to be at work. Somebody waits for a lease, and it may be one of this
// provider that is changing hands: who waits for what can't be seen.
func (h *Holding) Unsure() time.Duration { return h.unsure }

// DropConsumer removes the normalizer's durable consumer of a provider. It holds nothing that the cursor does not.
func (c *Client) DropConsumer(ctx context.Context, p event.Provider) error {
	brief, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err := c.js.DeleteConsumer(brief, event.StreamRaw, ConsumerName(p))
	if err != nil && !errors.Is(err, natsjs.ErrConsumerNotFound) {
		return readError(ctx, "delete consumer "+ConsumerName(p), err)
	}
	return nil
}

// DropOwners removes what processes that are gone have left in OWNERS, unless somebody has taken it over since.
func (c *Client) DropOwners(ctx context.Context, owners []Owner) error {
	const op = "clear bucket " + BucketOwners
	brief, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	bucket, err := c.js.KeyValue(brief, BucketOwners)
	if err != nil {
		return readError(ctx, op, err)
	}
	for _, o := range owners {
		if o.Alive {
			continue
		}
		if err := bucket.Delete(brief, o.key, natsjs.LastRevision(o.rev)); err != nil && !isWrongLast(err) {
			return readError(ctx, op, err)
		}
	}
	return nil
}

// PurgeEvents removes a provider's raw events up to a sequence, and its canonical events and dead letters in EVENTS_NORMALIZED up to
// another; cursors stay, and so does what was stored later. EVENTS_DEAD refuses to be purged: it must have its copies of the dead
// letters, or nothing is removed.
func (c *Client) PurgeEvents(ctx context.Context, p event.Provider, raw, normalized event.StreamSeq) error {
	dead, err := c.streamInfo(ctx, event.StreamDead, event.DeadSubject(p))
	if err != nil {
		return err
	}
	for _, source := range dead.Sources {
		if source.Name == event.StreamNormalized && source.Lag > 0 {
			return unavailable("purge events", fmt.Errorf("%s has yet to copy %d messages", event.StreamDead, source.Lag))
		}
	}
	for _, purge := range []struct {
		stream, subject string
		upTo            event.StreamSeq
	}{
		{event.StreamRaw, event.RawSubjects(p), raw},
		{event.StreamNormalized, event.NormalizedSubject(p), normalized},
		{event.StreamNormalized, event.DeadSubject(p), normalized},
	} {
		handle, err := c.stream(ctx, purge.stream)
		if err != nil {
			return err
		}
		brief, cancel := context.WithTimeout(ctx, answerTimeout)
		err = handle.Purge(brief, natsjs.WithPurgeSubject(purge.subject), natsjs.WithPurgeSequence(uint64(purge.upTo)+1))
		cancel()
		if err != nil {
			return readError(ctx, "purge "+purge.subject, err)
		}
	}
	return nil
}

// HasRaw tells whether EVENTS_RAW has events of a provider from a sequence on and before another.
func (c *Client) HasRaw(ctx context.Context, p event.Provider, from, until event.StreamSeq) (bool, error) {
	m, ok, err := c.Raw().firstFrom(ctx, event.RawSubjects(p), from)
	return ok && m.Sequence < until, err
}

// Expiry is when the last message on one of the subjects of a stream is dropped for its age; the zero time if there is none.
func (c *Client) Expiry(ctx context.Context, stream string, subjects ...string) (time.Time, error) {
	handle, err := c.stream(ctx, stream)
	if err != nil {
		return time.Time{}, err
	}
	var last time.Time
	for _, subject := range subjects {
		m, ok, err := lastOn(ctx, handle, subject)
		if err != nil {
			return time.Time{}, readError(ctx, "read "+subject, err)
		}
		if ok && m.Time.After(last) {
			last = m.Time
		}
	}
	if age := handle.CachedInfo().Config.MaxAge; age > 0 && !last.IsZero() {
		return last.Add(age), nil
	}
	return time.Time{}, nil
}
