package jetstream

import (
	"fmt"
	"math"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// The key-value buckets behind the leases. They are on disk although what is in them is of no use after a restart: a
// single server forgets that a stream in memory ever was, and those who hold leases have no right to make it again.
const (
	// BucketLeases has one entry per process that is alive; it vanishes Layout.LeaseTTL after it was last renewed.
	BucketLeases = "LEASES"
	// BucketOwners has one entry per thing that is owned, written only when the owner changes.
	BucketOwners = "OWNERS"
)

// Subjects on which writers publish. The streams store what comes on "ingest.x" as "events.x".
const (
	ingestAll = "ingest.>"
	eventsAll = "events.>"
)

const day = 24 * time.Hour

// Layout says how the streams are to be: what an operator may choose of them. Everything else follows from what the
// streams are for.
type Layout struct {
	// Replicas is how many servers keep every stream and bucket: 1, 3 or 5. Without it 1 on a single server, 3 on a cluster.
	Replicas int `yaml:"replicas"`
	// Budget is what the file streams may take together, on each server that holds them. It is divided among those
	// that have no max_bytes of their own, when they are created; a stream that exists keeps what it has. 0: 32 GiB for
	// five streams without max_bytes, less for fewer.
	Budget int64 `yaml:"budget,size"`

	// Raw is for events as they came. When it is full, collecting waits; nothing is dropped before its max_age.
	Raw StreamLimits `yaml:"raw"`
	// Normalized is for canonical events. When it is full, normalizing waits.
	Normalized StreamLimits `yaml:"normalized"`
	// Dead is for raw events that could not be converted. When it is full the oldest go.
	Dead StreamLimits `yaml:"dead"`
	// Bodies is for bodies that do not fit a message.
	Bodies StreamLimits `yaml:"bodies"`
	// Replay is for what stackstream replay makes of raw events once more. Nothing else needs it: where there is no room for it,
	// all but replays works. When it is full, replays wait; stackstream replay rm makes room.
	Replay StreamLimits `yaml:"replay"`

	// LeaseTTL is how long a process that does not renew its lease counts as alive: what it worked on is taken over when that is
	// over. 0 is the default.
	LeaseTTL time.Duration `yaml:"lease_ttl"`
}

// StreamLimits bounds one stream.
type StreamLimits struct {
	// MaxBytes is the most that it takes; 0 is a share of the budget.
	MaxBytes int64 `yaml:"max_bytes,size"`
	// MaxAge is the age at which messages are dropped; 0 is the default, for bodies what raw events and then the messages made
	// of them need.
	MaxAge time.Duration `yaml:"max_age"`
}

const (
	defaultBudget = 32 << 30
	minBudget     = 64 << 20
	bucketBytes   = 8 << 20 // of each bucket, beside the budget

	defaultLeaseTTL = 10 * time.Second
	minLeaseTTL     = time.Second // a server leaves no marker of a deleted entry for less
	maxLeaseTTL     = 5 * time.Minute
	maxDuplicates   = 2 * time.Minute // the server's own choice for a stream that keeps messages for longer
)

// DefaultLayout is what suits most.
func DefaultLayout(replicas int) Layout {
	return Layout{
		Replicas:   replicas,
		Raw:        StreamLimits{MaxAge: 7 * day},
		Normalized: StreamLimits{MaxAge: 30 * day},
		Dead:       StreamLimits{MaxAge: 90 * day},
		Replay:     StreamLimits{MaxAge: 7 * day},
		LeaseTTL:   defaultLeaseTTL,
	}
}

// Within returns the layout with a Budget that fits a server that takes most bytes on disk in all. A Budget that fits
// stays as it is: what the streams do not take is there for one that has to grow.
func (l Layout) Within(most int64) Layout {
	room := max(most-2*bucketBytes, 1)
	needed := l.Budget
	if needed == 0 {
		sizes, _ := l.sizes() // fails only with a Budget
		for _, size := range sizes {
			needed += size
		}
	}
	if needed > room {
		l.Budget = room
	}
	return l
}

// Least is what a server must be allowed to take on disk so that the layout fits.
func (l Layout) Least() int64 {
	least := int64(2 * bucketBytes)
	shared := false
	for _, s := range l.limits() {
		if s.optional {
			continue
		}
		least += s.own.MaxBytes
		shared = shared || s.own.MaxBytes == 0
	}
	if shared {
		least += minBudget
	}
	return least
}

// Validate returns every mistake that shows without asking a server.
func (l Layout) Validate() []Problem {
	var found []Problem
	add := func(field, format string, args ...any) {
		found = append(found, Problem{Field: field, Msg: fmt.Sprintf(format, args...)})
	}
	if l.Replicas < 1 || l.Replicas > 5 {
		add("replicas", "is %d; 1, 3 or 5 is meant", l.Replicas)
	} else if l.Replicas%2 == 0 {
		add("replicas", "is %d; an even number survives no more failures than one less", l.Replicas)
	}
	for _, s := range l.limits() {
		if s.own.MaxBytes < 0 {
			add(s.field+".max_bytes", "is negative; a stream needs a limit")
		}
		if s.own.MaxAge < 0 {
			add(s.field+".max_age", "is negative")
		}
	}
	if full := l.withAges(); full.Bodies.MaxAge < full.oldestUse() {
		add("bodies.max_age", "is %s; bodies must be kept as long as the messages that refer to them: as raw events "+
			"and then as dead letters, %s", full.Bodies.MaxAge, full.oldestUse())
	}
	switch {
	case l.LeaseTTL == 0:
	case l.LeaseTTL < minLeaseTTL:
		add("lease_ttl", "is %s; it must be %s at least: NATS knows nothing shorter", l.LeaseTTL, minLeaseTTL)
	case l.LeaseTTL > maxLeaseTTL:
		add("lease_ttl", "is %s; it must be %s at most: for so long nobody takes over what a dead process worked on",
			l.LeaseTTL, maxLeaseTTL)
	}
	if l.Budget < 0 {
		add("budget", "is negative")
	} else if _, err := l.sizes(); err != nil {
		add("budget", "%v", err)
	}
	return found
}

// withAges returns the layout with the default where an age is not set.
func (l Layout) withAges() Layout {
	defaults := DefaultLayout(l.Replicas)
	for own, standard := range map[*StreamLimits]StreamLimits{
		&l.Raw: defaults.Raw, &l.Normalized: defaults.Normalized, &l.Dead: defaults.Dead, &l.Replay: defaults.Replay,
	} {
		if own.MaxAge == 0 {
			own.MaxAge = standard.MaxAge
		}
	}
	if l.Bodies.MaxAge == 0 {
		l.Bodies.MaxAge = l.oldestUse()
	}
	if l.LeaseTTL == 0 {
		l.LeaseTTL = defaults.LeaseTTL
	}
	return l
}

// oldestUse is how old a body may be when a message still refers to it: a raw event may be at the end of its age when
// a dead letter is made of it, which refers to the same body.
func (l Layout) oldestUse() time.Duration {
	return l.Raw.MaxAge + max(l.Normalized.MaxAge, l.Dead.MaxAge, l.Replay.MaxAge)
}

// limits lists the file streams with the parts of the budget that each may take.
func (l Layout) limits() []fileStream {
	return []fileStream{
		{event.StreamRaw, "raw", l.Raw, 30, false},
		{event.StreamNormalized, "normalized", l.Normalized, 45, false},
		{event.StreamDead, "dead", l.Dead, 10, false},
		{event.BucketBodies, "bodies", l.Bodies, 15, false},
		{event.StreamReplay, "replay", l.Replay, replayShare, true},
	}
}

type fileStream struct {
	name     string
	field    string
	own      StreamLimits
	share    int64
	optional bool
}

const (
	replayShare = 10
	allShares   = 100 + replayShare
	// minReplay is the least that is worth to be a stream of replays.
	minReplay = minBudget
)

// sizes divides the budget: streams with a MaxBytes of their own get it, the others share what is left. An optional stream gets
// none where nothing is left, which is where all others have a MaxBytes.
func (l Layout) sizes() (map[string]int64, error) {
	var owned, shares, needed int64
	sizes := map[string]int64{}
	for _, s := range l.limits() {
		if s.own.MaxBytes > 0 {
			owned += s.own.MaxBytes
			sizes[s.name] = s.own.MaxBytes
			continue
		}
		shares += s.share
		if !s.optional {
			needed += s.share
		}
	}
	rest := l.Budget - owned
	switch {
	case l.Budget == 0:
		rest = defaultBudget / allShares * shares
	case rest < 0:
		return nil, fmt.Errorf("is %d bytes; the streams are to take %d together", l.Budget, owned)
	case needed > 0 && rest < minBudget:
		return nil, fmt.Errorf("leaves %d bytes for the streams without max_bytes; at least %d are needed", rest, minBudget)
	case needed == 0:
		rest = min(rest, l.Budget/allShares*replayShare)
		if rest < minReplay {
			return sizes, nil
		}
	}
	for _, s := range l.limits() {
		if s.own.MaxBytes == 0 {
			sizes[s.name] = rest / shares * s.share
		}
	}
	return sizes, nil
}

// MaxBytes is what each stream of a backup may take, nil if the budget does not do.
func (l Layout) MaxBytes() map[string]int64 {
	sizes, err := l.sizes()
	if err != nil {
		return nil
	}
	sizes[streamBodies] = sizes[event.BucketBodies]
	delete(sizes, event.BucketBodies)
	return sizes
}

// target is how a stream is to be.
type target struct {
	config natsjs.StreamConfig
	// anySize: a stream that exists keeps its MaxBytes, whatever it is.
	anySize bool
	// optional: all but what it is for works without it.
	optional bool
}

// streams returns every stream, those behind buckets included. maxPayload is what the server takes in one message.
func (l Layout) streams(maxPayload int64) ([]target, error) {
	sizes, err := l.sizes()
	if err != nil {
		return nil, fmt.Errorf("budget %w", err)
	}
	l = l.withAges()
	largest := int32(min(maxPayload, MaxPayload, math.MaxInt32))

	// No compression: a server that was killed may, when it runs again, append to a block that it had compressed, and then
	// never reads that block again. Its replica is dead from then on; with a second one the stream is (nats-server 2.15.2).
	file := natsjs.StreamConfig{
		Retention: natsjs.LimitsPolicy, Storage: natsjs.FileStorage, Compression: natsjs.NoCompression,
		Replicas: l.Replicas, MaxMsgs: -1, MaxConsumers: -1, MaxMsgsPerSubject: -1, MaxMsgSize: largest,
		AllowDirect: true,
	}
	written := file // by atomic batches with a cursor behind them
	written.Discard = natsjs.DiscardNew
	written.AllowAtomicPublish, written.AllowRollup, written.AllowMsgTTL = true, true, true
	written.SubjectTransform = &natsjs.SubjectTransformConfig{Source: ingestAll, Destination: eventsAll}

	raw := written
	raw.Name = event.StreamRaw
	raw.Description = "what the collectors accepted, as it came, with their cursors"
	raw.Subjects = []string{"ingest.raw.>", "ingest.cursor.raw.>"}
	raw.MaxAge, raw.MaxBytes = l.Raw.MaxAge, sizes[raw.Name]

	normalized := written
	normalized.Name = event.StreamNormalized
	normalized.Description = "canonical events and dead letters, with the normalizers' cursors"
	normalized.Subjects = []string{
		"ingest.normalized.*", "ingest.dead.*", "ingest.deadstate.*", "ingest.cursor.normalized.>",
	}
	normalized.RePublish = &natsjs.RePublish{Source: "events.normalized.>", Destination: "events.normalized.>"}
	normalized.MaxAge, normalized.MaxBytes = l.Normalized.MaxAge, sizes[normalized.Name]

	replay := written
	replay.Name = event.StreamReplay
	replay.Description = "what replays made of raw events once more, with the records of the jobs"
	replay.Subjects = []string{"ingest.replay.>", "ingest.cursor.replay.>"}
	replay.RePublish = &natsjs.RePublish{Source: "events.replay.>", Destination: "events.replay.>"}
	replay.MaxAge, replay.MaxBytes = l.Replay.MaxAge, sizes[replay.Name]

	dead := file
	dead.Name = event.StreamDead
	dead.Description = "dead letters and what became of them, kept longer"
	dead.Sources = []*natsjs.StreamSource{{
		Name: event.StreamNormalized,
		SubjectTransforms: []natsjs.SubjectTransformConfig{
			{Source: "events.dead.*"}, {Source: "events.deadstate.*"},
		},
	}}
	dead.Discard = natsjs.DiscardOld
	dead.DenyDelete, dead.DenyPurge = true, true
	dead.MaxAge, dead.MaxBytes = l.Dead.MaxAge, sizes[dead.Name]

	bodies := natsjs.StreamConfig{
		Name:        "OBJ_" + event.BucketBodies,
		Description: "bodies that are too large for a message",
		Subjects:    []string{"$O." + event.BucketBodies + ".C.>", "$O." + event.BucketBodies + ".M.>"},
		Storage:     natsjs.FileStorage, Replicas: l.Replicas, Discard: natsjs.DiscardNew,
		AllowRollup: true, AllowDirect: true,
		MaxMsgs: -1, MaxConsumers: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
		MaxAge: l.Bodies.MaxAge, MaxBytes: sizes[event.BucketBodies],
	}
	leases := bucket(BucketLeases, "processes that are alive", l.Replicas)
	leases.MaxAge = l.LeaseTTL
	leases.Duplicates = min(l.LeaseTTL, maxDuplicates)
	leases.AllowMsgTTL, leases.SubjectDeleteMarkerTTL = true, l.LeaseTTL // so that watchers see an entry vanish
	owners := ownersBucket(l.Replicas)

	return []target{
		{config: raw, anySize: l.Raw.MaxBytes == 0},
		{config: normalized, anySize: l.Normalized.MaxBytes == 0},
		{config: dead, anySize: l.Dead.MaxBytes == 0},
		{config: bodies, anySize: l.Bodies.MaxBytes == 0},
		{config: leases},
		{config: owners},
		{config: replay, anySize: l.Replay.MaxBytes == 0, optional: true},
	}, nil
}

// ownersBucket is the stream that a restore needs, too.
func ownersBucket(replicas int) natsjs.StreamConfig {
	return bucket(BucketOwners, "which process works on what", replicas)
}

// bucket returns the stream behind a key-value bucket.
func bucket(name, description string, replicas int) natsjs.StreamConfig {
	return natsjs.StreamConfig{
		Name:        "KV_" + name,
		Description: description,
		Subjects:    []string{"$KV." + name + ".>"},
		Storage:     natsjs.FileStorage, Replicas: replicas, Discard: natsjs.DiscardNew,
		AllowRollup: true, DenyDelete: true, AllowDirect: true,
		MaxMsgs: -1, MaxConsumers: -1, MaxMsgsPerSubject: 1, MaxMsgSize: -1, MaxBytes: bucketBytes,
	}
}
