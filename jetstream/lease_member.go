package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// member is this process from the moment it joins the others until it leaves, is taken for dead, or has to take itself
// for dead. Each has an id of its own: once dead it never comes back.
type member struct {
	id     string
	key    string       // of its entry in leases
	ttl    atomic.Int64 // of its entry, as the bucket had it when it was last looked at
	madeAt time.Time    // when the bucket OWNERS was made
	leases natsjs.KeyValue
	owners natsjs.KeyValue

	ctx    context.Context // ends with the member
	cancel context.CancelCauseFunc
	expiry *time.Timer

	// Used by the membership only.
	rev       uint64
	published process
	sent      time.Time // when the last renewal was sent, whatever became of it
	good      time.Time // when the last one that went well was

	// Guarded by Leases.mu.
	moved    map[string]time.Time // when leases were handed over
	released map[string]uint64    // the last revision of each lease's entry under which it was held and is no more
}

// process is what an entry of LEASES says. Neither this nor owner has a format (see package event) or ever changes in
// another way than that something is added: entries are worth nothing once their processes are gone, a misunderstanding
// costs work and no more, and an entry that nobody may read could not be taken over.
type process struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Held    int    `json:"held"`
	Waiting int    `json:"waiting"`
	// Dead is set by another process that found the entry gone: it keeps the id from coming back.
	Dead bool `json:"dead,omitempty"`
}

// owner is what an entry of OWNERS says.
type owner struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// life is how long its entry lives.
func (m *member) life() time.Duration { return time.Duration(m.ttl.Load()) }

// patience is how long one request may take.
func (m *member) patience() time.Duration { return max(m.life()/6, 250*time.Millisecond) }

// soon is how long to leave alone what did not go well, and what has just changed.
func (m *member) soon() time.Duration { return m.life() / 12 }

// extend lets the member live for two thirds of the TTL after the last good renewal was sent.
func (m *member) extend() {
	m.expiry.Reset(time.Until(m.good.Add(m.life() * 2 / 3)))
}

// join makes the member's entry.
func (m *member) join(ctx context.Context, p process) error {
	m.ctx, m.cancel = context.WithCancelCause(context.Background())
	m.sent = time.Now()
	ctx, cancel := context.WithTimeout(ctx, m.patience())
	defer cancel()
	rev, err := m.leases.Create(ctx, m.key, encode(p))
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	m.rev, m.published, m.good = rev, p, m.sent
	m.expiry = time.AfterFunc(time.Until(m.good.Add(m.life()*2/3)), func() {
		m.cancel(fmt.Errorf("%w: it could not be renewed for %s", errLeaseLost, m.life()*2/3))
	})
	return nil
}

// renew writes the entry again. It ends the member if another one has declared it dead; any other error leaves it to
// live on until its time is over.
func (m *member) renew(ctx context.Context, p process) {
	ctx, cancel := context.WithTimeout(ctx, m.patience())
	defer cancel()
	m.sent = time.Now()
	rev, err := m.leases.Update(ctx, m.key, encode(p), m.rev)
	if err == nil {
		m.rev, m.published, m.good = rev, p, m.sent
		m.extend()
		return
	}
	if !isConflict(err) {
		return
	}
	// Either the entry is another's now, or an earlier renewal of ours was stored though its answer did not come.
	entry, err := m.leases.Get(ctx, m.key)
	switch {
	case errors.Is(err, natsjs.ErrKeyNotFound):
		m.cancel(fmt.Errorf("%w: its entry is gone", errLeaseLost))
	case err != nil || entry.Revision() <= m.rev:
		// Not known now, or from a server that lags.
	default:
		var found process
		if json.Unmarshal(entry.Value(), &found) != nil || found.Dead || found.ID != m.id {
			m.cancel(fmt.Errorf("%w: it was taken for dead", errLeaseLost))
			return
		}
		m.rev = entry.Revision()
		m.sent = time.Time{} // renew again at once
	}
}

// checkBuckets ends the member if the bucket that says what it holds was lost or made again, and goes by the TTL that
// entries have now.
func (m *member) checkBuckets(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, m.patience())
	defer cancel()
	made, err := bucketMade(ctx, m.owners)
	if errors.Is(err, natsjs.ErrStreamNotFound) || (err == nil && !made.Equal(m.madeAt)) {
		m.cancel(fmt.Errorf("%w: the bucket %s was lost", errLeaseLost, BucketOwners))
		return
	}
	status, err := m.leases.Status(ctx)
	if err != nil {
		return
	}
	if ttl := int64(status.TTL()); ttl > 0 && m.ttl.Swap(ttl) != ttl {
		m.extend()
	}
}

// vanished ends the member if the entry with the revision, which says that it is not alive, came after its own.
func (m *member) vanished(rev uint64) {
	if rev > m.rev {
		m.cancel(fmt.Errorf("%w: its entry is gone", errLeaseLost))
	}
}

// leave removes the entry, so that all its leases are free.
func (m *member) leave(ctx context.Context) error {
	m.expiry.Stop()
	ctx, cancel := context.WithTimeout(ctx, m.patience())
	defer cancel()
	return m.leases.Delete(ctx, m.key, natsjs.LastRevision(m.rev))
}

// end stops all that is done under the member.
func (m *member) end() {
	m.expiry.Stop()
	m.cancel(errLeaseLost)
}

func isConflict(err error) bool {
	return errors.Is(err, natsjs.ErrKeyRevisionMismatch) || errors.Is(err, natsjs.ErrKeyExists)
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return data
}
