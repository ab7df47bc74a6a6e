package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"stackstream/event"
)

var (
	errLeaseLost = errors.New("the lease is lost: another process may have it")
	errLeaseMove = errors.New("the lease is handed over to a process that has fewer")
)

// NoLease is for a process that has nobody to share with: every lease is free.
type NoLease struct{}

// Hold calls work at once.
func (NoLease) Hold(ctx context.Context, _ string, holding func(held bool, by string), work func(ctx context.Context) error) error {
	holding(true, "")
	return work(ctx)
}

// Leases shares work among the processes of one role. Each process keeps one entry alive in the bucket LEASES, whatever
// number of leases it has; who has which lease stands in the bucket OWNERS and is written only when that changes. A
// lease whose owner's entry is gone is free.
//
// With T the time after which an entry vanishes (set on the bucket, Layout.LeaseTTL): a process that died is replaced a
// little more than T later, one that releases at once. A holder that can't renew its entry stops at the latest two thirds
// of T after it sent the last renewal that went well, by its own monotonic clock, and so at least a third of T before
// another can take over: that is how long work may take to stop. A process that has more than its share while another
// waits hands over what is too much.
//
// When an operator changes T, a process goes by the new one after its next renewal. Where T became shorter than what is
// left until then, entries vanish early: a process begins anew as soon as it sees its own go.
//
// A lease saves work and no more: two holders at once do no harm that the fencing of the streams would not stop.
type Leases struct {
	c    *Client
	log  zerolog.Logger
	role event.Role
	name string
	kick chan struct{} // has a token when claims changed

	mu     sync.Mutex
	claims map[string]*claim
}

// claim is a lease that is waited for or held here.
type claim struct {
	key     string
	granted chan grant  // of one
	blocked chan string // of one: who has it, for people

	// Guarded by Leases.mu.
	told    *string // what was last put into blocked
	owner   *member // who holds it; nil while waiting
	rev     uint64  // of its entry in OWNERS
	leaving bool    // is being handed over
	cancel  context.CancelCauseFunc
}

// grant says that a claim's lease is held, for as long as the member lives.
type grant struct{ member *member }

// NewLeases returns the leases of a role. Name says which process this is, to people. Run must run for anything to be
// held.
func NewLeases(c *Client, role event.Role, name string) *Leases {
	return &Leases{
		c: c, role: role, name: name, log: c.log.With().Str("role", string(role)).Logger(),
		kick: make(chan struct{}, 1), claims: map[string]*claim{},
	}
}

// Run keeps this process alive among the others until ctx ends, takes and hands over leases, and starts afresh when it
// was taken for dead or the buckets were lost. When ctx ends it takes no more leases, goes on for as long as work is
// being done (but not for more than half a minute), and then leaves, so that others need not wait.
func (l *Leases) Run(ctx context.Context) error {
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
	said := ""
	for {
		joined, err := l.attend(ctx)
		if ctx.Err() != nil {
			return nil
		}
		text := err.Error()
		switch {
		case joined:
			pause.Reset()
			l.log.Warn().Err(err).Msg("all leases are lost")
		case text != said:
			l.log.Warn().Err(err).Msg("no leases can be had now")
		}
		said = text
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return nil
		}
	}
}

// Hold waits for the lease of key, calls work with a context that ends when the lease is lost or handed over, and
// releases the lease after work has returned. It returns work's error, or ctx's if it ended before. Holding is called
// with true when the lease is got, and with false and who has it while it is waited for. It may be called for many keys
// at a time, for each by one goroutine. A key is made of letters, digits and -_=./
func (l *Leases) Hold(ctx context.Context, key string, holding func(held bool, by string), work func(ctx context.Context) error) error {
	c, err := l.enter(key)
	if err != nil {
		return err
	}
	defer l.leave(c)
	for {
		select {
		case g := <-c.granted:
			working, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			defer context.AfterFunc(g.member.ctx, func() { cancel(context.Cause(g.member.ctx)) })()
			l.mu.Lock()
			c.cancel = cancel
			if c.leaving {
				cancel(errLeaseMove)
			}
			l.mu.Unlock()
			holding(true, l.name)
			return work(working)
		case by := <-c.blocked:
			holding(false, by)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *Leases) enter(key string) (*claim, error) {
	const op = "hold a lease"
	if !validKey(key) {
		return nil, invalid(op, fmt.Errorf("%q is not made of letters, digits and -_=./", key))
	}
	c := &claim{key: key, granted: make(chan grant, 1), blocked: make(chan string, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claims[key] != nil {
		return nil, invalid(op, fmt.Errorf("%q is waited for or held by this process already", key))
	}
	l.claims[key] = c
	token(l.kick)
	return c, nil
}

// leave gives the lease free, if it is held. When that can't be told to the server now, the membership does it later, or
// the end of the process's entry does.
func (l *Leases) leave(c *claim) {
	l.mu.Lock()
	owner, rev := c.owner, c.rev
	if owner != nil {
		owner.released[c.key] = rev
	}
	l.mu.Unlock()
	if owner != nil {
		ctx, cancel := context.WithTimeout(context.Background(), owner.patience())
		defer cancel()
		if err := owner.owners.Delete(ctx, ownerKey(l.role, c.key), natsjs.LastRevision(rev)); err != nil {
			l.log.Debug().Err(err).Str("lease", c.key).Msg("release is left for later")
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if owner != nil && c.leaving {
		owner.moved[c.key] = time.Now()
	}
	delete(l.claims, c.key)
	token(l.kick)
}

// give hands a lease to the claim that waits for it.
func (l *Leases) give(c *claim, m *member, rev uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claims[c.key] != c || c.owner != nil {
		return
	}
	c.owner, c.rev = m, rev
	c.granted <- grant{member: m}
}

// handOver asks the work under a lease of the member to stop.
func (l *Leases) handOver(c *claim, m *member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.owner != m {
		return
	}
	c.leaving = true
	if c.cancel != nil {
		c.cancel(errLeaseMove)
	}
}

// stop ends the work under a lease of the member.
func (l *Leases) stop(c *claim, m *member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.owner == m && c.cancel != nil {
		c.cancel(errLeaseLost)
	}
}

// tell says to a waiting claim who has its lease, if that is news.
func (l *Leases) tell(c *claim, by string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.owner != nil || (c.told != nil && *c.told == by) {
		return
	}
	c.told = &by
	select {
	case <-c.blocked:
	default:
	}
	c.blocked <- by
}

// count returns how many leases this process holds and does not give away, how many it is giving away, and for how many
// it waits.
func (l *Leases) count() (held, leaving, waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.claims {
		switch {
		case c.owner == nil:
			waiting++
		case c.leaving:
			leaving++
		default:
			held++
		}
	}
	return held, leaving, waiting
}

// snapshot returns the claims by key, and which of them are held.
func (l *Leases) snapshot() (all map[string]*claim, held map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all, held = make(map[string]*claim, len(l.claims)), make(map[string]bool, len(l.claims))
	for key, c := range l.claims {
		all[key] = c
		held[key] = c.owner != nil
	}
	return all, held
}

func ownerKey(role event.Role, key string) string  { return string(role) + "." + key }
func processKey(role event.Role, id string) string { return string(role) + "." + id }

// validKey accepts what the server takes as a key, without the dots that would make empty tokens.
func validKey(key string) bool {
	if key == "" || key[0] == '.' || key[len(key)-1] == '.' {
		return false
	}
	for i, r := range key {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '=', r == '/':
		case r == '.' && key[i-1] != '.':
		default:
			return false
		}
	}
	return true
}
