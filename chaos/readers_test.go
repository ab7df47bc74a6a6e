//go:build chaos

package chaos

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/chaos/checker"
)

// readers read the streams for the checker while everything goes on.
type readers struct {
	all   []*reader
	group sync.WaitGroup
	end   context.CancelFunc
}

type reader struct {
	*checker.Reader
	take   func(checker.Message)
	events digest
	err    error
}

// digest is a hash of all events of a stream in their order, without the cursors, of which a stream keeps the last only.
type digest struct {
	n    int
	hash hash.Hash64
}

func newDigest() digest { return digest{hash: fnv.New64a()} }

func (d *digest) add(m checker.Message) {
	if strings.HasPrefix(m.Subject, "events.cursor.") {
		return
	}
	d.n++
	var n [16]byte
	binary.BigEndian.PutUint64(n[:], m.Sequence)
	binary.BigEndian.PutUint64(n[8:], uint64(len(m.Body)))
	_, _ = d.hash.Write(n[:])
	_, _ = d.hash.Write([]byte(m.Subject))
	for _, name := range slices.Sorted(maps.Keys(m.Header)) {
		_, _ = d.hash.Write([]byte(name + m.Header[name][0]))
	}
	_, _ = d.hash.Write(m.Body)
}

func (d digest) equal(other digest) bool {
	return d.n == other.n && d.hash.Sum64() == other.hash.Sum64()
}

func (w *world) read(ctx context.Context) *readers {
	ctx, end := context.WithCancel(ctx)
	rs := &readers{end: end}
	for stream, take := range map[string]func(checker.Message){
		"EVENTS_RAW": w.check.Raw, "EVENTS_NORMALIZED": w.check.Normalized, "EVENTS_DEAD": w.check.Dead,
	} {
		r := &reader{Reader: &checker.Reader{JS: w.js, Stream: stream, Stall: 10 * time.Minute}, events: newDigest()}
		r.take = func(m checker.Message) {
			r.events.add(m)
			take(m)
		}
		rs.all = append(rs.all, r)
		rs.group.Go(func() { r.err = r.Follow(ctx, r.take) })
	}
	return rs
}

// finish reads what is left, and then each stream once more from its beginning, from whichever server: what was there has
// to be there still.
func (rs *readers) finish(w *world) {
	w.await("EVENTS_DEAD to have all dead letters", 2*time.Minute, func() bool {
		p := w.check.Progress()
		return p.DeadStream >= p.Dead
	})
	rs.end()
	rs.group.Wait()
	for _, r := range rs.all {
		if r.err == nil {
			r.err = r.ToEnd(w.t.Context(), r.take)
		}
		if r.err != nil {
			w.t.Error(r.err)
		}
	}
	w.checkObjects()
	var group sync.WaitGroup
	for _, r := range rs.all {
		group.Go(func() { w.reread(r) })
	}
	group.Wait()
}

// reread reads a stream again until each of its replicas was read. The servers choose which one is read, so that there is a
// limit to the tries. Each has to hold what was read while the stream grew; one that holds something else is named.
func (w *world) reread(r *reader) {
	read := map[string]digest{}
	for range w.opt.rereads {
		server, events, err := w.readAgain(r)
		if err != nil {
			w.t.Errorf("read %s once more from %s: %v", r.Stream, server, err)
			return
		}
		if before, known := read[server]; known && !events.equal(before) {
			w.t.Errorf("%s has changed on %s: %d events were in it, and read once more there are %d, or others", r.Stream, server,
				before.n, events.n)
		}
		if read[server] = events; len(read) == nodes {
			break
		}
	}
	var same, other []string
	for server, events := range read {
		if events.equal(r.events) {
			same = append(same, server)
		} else {
			other = append(other, fmt.Sprintf("%s with %d", server, events.n))
		}
	}
	slices.Sort(same)
	slices.Sort(other)
	switch {
	case len(other) > 0 && len(same) > 0:
		w.t.Errorf("replica differs: %s has %d events on %v, and other events on %v", r.Stream, r.events.n, same, other)
	case len(other) > 0:
		w.t.Errorf("%s has changed: %d events were in it, and read once more there are others on %v", r.Stream, r.events.n, other)
	}
	if len(read) < nodes {
		w.say("%s was read again from %d of its %d replicas", r.Stream, len(read), nodes)
	}
}

// checkObjects shows the checker the bodies that were too large for a message.
func (w *world) checkObjects() {
	store, err := w.js.ObjectStore(w.t.Context(), "EVENTS_BODIES")
	if err != nil {
		w.t.Errorf("open the object store: %v", err)
		return
	}
	for _, name := range w.check.Objects() {
		body, err := store.GetBytes(w.t.Context(), name)
		if err != nil && !errors.Is(err, natsjs.ErrObjectNotFound) {
			w.t.Errorf("read object %s: %v", name, err)
			continue
		}
		w.check.Object(name, body)
	}
}

func (w *world) readAgain(r *reader) (server string, events digest, err error) {
	again := &checker.Reader{JS: w.js, Stream: r.Stream, Stall: 2 * time.Minute}
	events = newDigest()
	err = again.ToEnd(w.t.Context(), events.add)
	return again.Server(), events, err
}
