package jetstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// On three servers, two writers without a lease go for the cursor of each of some sources, from two processes, while leaders step
// down and servers are killed, and some don't wait for the answer: each event is stored once, in order, whatever becomes of the
// answers; and what was told to be stored is, and what was told not to be is not.
func TestCompetingWritersOnACluster(t *testing.T) {
	cluster := jetstreamtest.Cluster(t)
	client := cluster.Client(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var group sync.WaitGroup
	var commits, refusals, unknowns atomic.Int64
	var told answers
	sources := []event.Source{"amqp", "amqp-nova", "webhook", "webhook-2"}
	for range 2 {
		log := cluster.Client(t).Raw()
		for _, source := range sources {
			w := &writer{log: log, source: source, told: &told, commits: &commits, fenced: &refusals, unknown: &unknowns}
			group.Go(func() { w.run(ctx, t) })
		}
	}
	committed := func(more int) {
		t.Helper()
		want := commits.Load() + int64(2*more)
		until(t, "for more commits", func() bool { return commits.Load() >= want })
	}
	committed(20)
	for range 2 {
		cluster.StepDown(event.StreamRaw)
		committed(10)
		leader := cluster.Leader(event.StreamRaw)
		cluster.Kill(leader)
		committed(10)
		cluster.Restart(leader)
		committed(10)
	}
	cancel()
	group.Wait()
	t.Logf("%d commits, %d fenced, %d of unknown outcome", commits.Load(), refusals.Load(), unknowns.Load())
	if refusals.Load() == 0 {
		t.Error("the writers never met, so that nothing was shown")
	}

	last := map[event.Source]event.Seq{}
	err := client.Memory().Identities(testContext(t), prov, 0, 0, func(s event.Seen) {
		last[s.Source]++
		if want := event.ID(fmt.Sprintf("%s-%d", s.Source, last[s.Source])); s.ID != want {
			t.Fatalf("at %d is %s, want %s", s.Sequence, s.ID, want)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	cursors, err := client.Memory().Cursors(testContext(t), prov)
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		if cursors[source].Position != last[source] {
			t.Errorf("the cursor says %+v, %d events of %s are there", cursors[source], last[source], source)
		}
	}
	told.compare(t, client)
}

// answers are what was told of each attempt to append.
type answers struct {
	mu  sync.Mutex
	all []answer
}

type answer struct {
	events int
	at     event.StreamSeq
	err    error
}

const headerAttempt = "Test-Attempt"

// append appends as the Log does, and notes what it says.
func (a *answers) append(ctx context.Context, log *jetstream.Log, b event.Batch) (event.StreamSeq, error) {
	a.mu.Lock()
	attempt := len(a.all)
	a.all = append(a.all, answer{})
	a.mu.Unlock()
	for _, m := range b.Messages {
		m.Header[headerAttempt] = []string{strconv.Itoa(attempt)}
	}
	at, err := log.Append(ctx, b)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all[attempt] = answer{len(b.Messages), at, err}
	return at, err
}

// compare looks whether the stream has what was told.
func (a *answers) compare(t *testing.T, c *jetstream.Client) {
	t.Helper()
	found := make([][]event.StreamSeq, len(a.all))
	r := c.RawRange(prov, time.Time{}, 1, event.StreamSeq(lastSequence(t, c, event.StreamRaw)))
	for {
		m, err := r.Next(testContext(t))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		i, err := strconv.Atoi(m.Header.Get(headerAttempt))
		if err != nil {
			t.Fatal(err)
		}
		found[i] = append(found[i], m.Sequence)
	}
	for i, attempt := range a.all {
		n, kind := len(found[i]), event.KindOf(attempt.err)
		switch {
		case n > 0 && (n != attempt.events || found[i][n-1]-found[i][0] != event.StreamSeq(n-1)):
			t.Errorf("of %d events of an attempt %v are there", attempt.events, found[i])
		case attempt.err == nil && (n == 0 || found[i][n-1] >= attempt.at || found[i][n-1]+2 < attempt.at):
			t.Errorf("%v are there of an attempt whose cursor was told to be at %d", found[i], attempt.at)
		case attempt.err != nil && kind != event.Unknown && n > 0:
			t.Errorf("%v are there of an attempt of which was told: %v", found[i], attempt.err)
		}
	}
}

// writer appends by the one rule: after anything that is not a definite refusal it reads the cursor again.
type writer struct {
	log                      *jetstream.Log
	source                   event.Source
	told                     *answers
	commits, fenced, unknown *atomic.Int64
}

func (w *writer) run(ctx context.Context, t *testing.T) {
	var at, shared event.StreamSeq
	shares := strings.HasPrefix(string(w.source), "webhook")
	for ctx.Err() == nil {
		m, ok, err := w.log.ReadCursor(ctx, event.RawCursorSubject(prov, w.source), at)
		var record event.Stored
		if err == nil && shares {
			record, _, err = w.log.ReadCursor(ctx, event.SharedSubject(prov), shared)
		}
		if err != nil {
			if kind := event.KindOf(err); kind != event.Unavailable {
				t.Errorf("reading the cursor: %v", err)
				return
			}
			continue
		}
		var cursor event.RawCursor
		if ok {
			if err := json.Unmarshal(m.Body, &cursor); err != nil {
				t.Errorf("the cursor is %q: %v", m.Body, err)
				return
			}
		}
		at, shared = m.Sequence, record.Sequence
		for ctx.Err() == nil {
			n, patience := 1+rand.IntN(50), 2*time.Second
			if rand.IntN(8) == 0 {
				patience = time.Duration(rand.IntN(20)) * time.Millisecond
			}
			b := rawBatch(w.source, int(cursor.Position)+1, n, at)
			if shares {
				b.Shared, b.SharedExpect = event.Message{Subject: event.SharedSubject(prov), Body: []byte("{}")}, shared
			}
			short, cancel := context.WithTimeout(ctx, patience)
			seq, err := w.told.append(short, w.log, b)
			cancel()
			if err == nil {
				w.commits.Add(1)
				cursor.Position += event.Seq(n)
				at, shared = seq, seq-1
				if rand.IntN(3) > 0 {
					continue
				}
				break // read the cursor for once, so that the other writer has a chance
			}
			switch event.KindOf(err) {
			case event.Fenced:
				w.fenced.Add(1)
				if known := (*event.Error)(nil); !shares && errors.As(err, &known) && known.Last > at {
					at = known.Last
				}
			case event.Unknown:
				w.unknown.Add(1)
			case event.Unavailable:
			default:
				t.Errorf("append: %v", err)
				return
			}
			break
		}
	}
}

func TestClusterShowsAWriterItsOwnWrites(t *testing.T) {
	cluster := jetstreamtest.Cluster(t)
	var clients []*jetstream.Client // one at each server
	var logs []*jetstream.Log
	for _, url := range cluster.URLs() {
		c, err := jetstream.Connect(testContext(t), jetstream.Config{URLs: []string{url}}, zerolog.Nop(), jetstream.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Conn().Close)
		clients, logs = append(clients, c), append(logs, c.Raw())
	}
	var cursor event.StreamSeq
	for i := range 60 {
		cursor = mustAppend(t, logs[i%3], rawBatch("panko", 5*i+1, 5, cursor))
		for _, log := range logs {
			m, ok, err := log.ReadCursor(testContext(t), event.RawCursorSubject(prov, "panko"), cursor)
			if err != nil || !ok || m.Sequence != cursor {
				t.Fatalf("the cursor is at %d (%v, %v), want %d", m.Sequence, ok, err, cursor)
			}
		}
	}

	t.Run("sources share a fence", func(t *testing.T) {
		choice, err := cluster.Client(t).Choices().WriteChoice(testContext(t), prov, event.Choice{Kind: "amqp"})
		if err != nil {
			t.Fatal(err)
		}
		appendConcurrently(t, logs[0], choice.Sequence)
	})

	t.Run("a fence refuses", func(t *testing.T) {
		b := rawBatch("panko", 301, 2, cursor)
		b.Fence = event.Fence{Subject: event.ChoiceSubject(prov), Sequence: 1}
		_, err := logs[0].Append(testContext(t), b)
		wantKind(t, err, event.Fenced, "")
	})

	t.Run("a consumer is made again when its server is gone", func(t *testing.T) {
		feed := event.Provider("fed")
		fed := func(n event.Seq, expect event.StreamSeq) event.Batch {
			return event.Batch{
				Messages: []event.Message{{Subject: event.RawSubject(feed, "s"), Header: event.Header{event.HeaderSeq: {fmt.Sprint(n)}}}},
				Cursor:   event.Message{Subject: event.RawCursorSubject(feed, "s"), Body: fmt.Appendf(nil, `{"position":%d}`, n)},
				Expect:   expect,
			}
		}
		at := mustAppend(t, logs[0], fed(1, 0))
		r, err := clients[0].Feed().Open(testContext(t), feed, event.NormalizedCursor{})
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		consumer, err := jetStream(t, clients[0]).Consumer(testContext(t), event.StreamRaw, jetstream.ConsumerName(feed))
		if err != nil {
			t.Fatal(err)
		}
		var node int
		if _, err := fmt.Sscanf(consumer.CachedInfo().Cluster.Leader, "node-%d", &node); err != nil {
			t.Fatalf("the consumer is on %q: %v", consumer.CachedInfo().Cluster.Leader, err)
		}
		// Our own server stays, so that nothing but the silence of the consumer tells.
		client := clients[(node+1)%3]
		if r, err = client.Feed().Open(testContext(t), feed, event.NormalizedCursor{}); err != nil {
			t.Fatal(err)
		}
		first, err := r.Next(testContext(t), 10, 1000)
		if err != nil {
			t.Fatal(err)
		}
		cluster.Kill(node)
		defer cluster.Restart(node)
		wantKind(t, nextError(t, r), event.Unavailable, "")
		r.Close()

		from := normalized(r, first[0].Sequence, "s", 1)
		until(t, "for the feed to open again", func() bool {
			r, err = client.Feed().Open(testContext(t), feed, from)
			if err != nil {
				wantKind(t, err, event.Unavailable, "") // the cluster is choosing leaders
			}
			return err == nil
		})
		defer r.Close()
		until(t, "for another event", func() bool {
			_, err := client.Raw().Append(testContext(t), fed(2, at))
			return err == nil
		})
		got, err := r.Next(testContext(t), 10, 1000)
		if err != nil || len(got) != 1 || got[0].Header.Get(event.HeaderSeq) != "2" {
			t.Fatalf("got %+v (%v), want event 2", got, err)
		}
	})
}
