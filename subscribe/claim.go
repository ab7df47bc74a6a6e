package subscribe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"stackstream/event"
)

// ErrTaken says that another process reads through the durable. The error that wraps it says which.
var ErrTaken = errors.New("another process reads through this durable")

// grace is how long others may take to answer, beyond the time that our own question took to come back.
const grace = 250 * time.Millisecond

// ClaimSubject is the subject on which the readers of a durable find each other. A Subscriber publishes on it and
// subscribes to it.
func ClaimSubject(durable string) string { return "stackstream.subscriber." + durable }

// claim keeps a second process from reading through the same durable. Whoever reads through one listens on its subject;
// whoever wants to asks there first. Between two that have the same standing the later one wins, so that a process that
// was stopped for a while and replaced gives way. A claim ends with its process, at once: it is kept nowhere.
//
// It is there for a clear refusal. Where two readers can't hear each other, each still sees every event once and in
// order, because each notices that the other takes deliveries away.
type claim struct {
	nc      *nats.Conn
	subject string
	sub     *nats.Subscription
	heard   chan string // the nonces of our own questions as they come back

	mu      sync.Mutex
	me      claimant
	rival   *claimant // the first that outranked us
	outrank chan struct{}
}

// claimant is one process, and the text of questions and answers.
type claimant struct {
	ID       string `json:"id"` // later ones sort after earlier ones
	Standing bool   `json:"standing"`
	Who      string `json:"who"`
	Nonce    string `json:"nonce,omitempty"`
}

func (c claimant) outranks(other claimant) bool {
	if c.Standing != other.Standing {
		return c.Standing
	}
	return c.ID > other.ID
}

func newClaim(nc *nats.Conn, durable string) (*claim, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "an unnamed host"
	}
	c := &claim{
		nc: nc, subject: ClaimSubject(durable), heard: make(chan string, 16), outrank: make(chan struct{}),
		me: claimant{
			ID:  fmt.Sprintf("%020d-%s", time.Now().UnixNano(), nuid.Next()),
			Who: fmt.Sprintf("process %d on %s", os.Getpid(), host),
		},
	}
	if c.sub, err = nc.Subscribe(c.subject, c.answer); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", c.subject, err)
	}
	return c, nil
}

// answer runs in the subscription's goroutine.
func (c *claim) answer(msg *nats.Msg) {
	var asker claimant
	if json.Unmarshal(msg.Data, &asker) != nil || asker.ID == "" {
		return // not a question
	}
	c.mu.Lock()
	me := c.me
	c.mu.Unlock()
	if asker.ID == me.ID {
		select {
		case c.heard <- asker.Nonce:
		default: // nobody asks any more
		}
		return
	}
	c.meet(asker)
	if reply, err := json.Marshal(me); err == nil {
		_ = msg.Respond(reply) // an answer that is lost is one that a dead process would not give either
	}
}

// meet notes a process that outranks us.
func (c *claim) meet(other claimant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rival == nil && other.outranks(c.me) {
		c.rival = &other
		close(c.outrank)
	}
}

// taken is closed when another process has outranked us; err says which.
func (c *claim) taken() <-chan struct{} { return c.outrank }

func (c *claim) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rival == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrTaken, c.rival.Who)
}

// ask finds out whether another process has the better claim (ErrTaken); if none has, ours stands.
func (c *claim) ask(ctx context.Context) error {
	if err := c.err(); err != nil {
		return err
	}
	c.mu.Lock()
	question := c.me
	c.mu.Unlock()
	question.Nonce = nuid.Next()
	text, err := json.Marshal(question)
	if err != nil {
		return fmt.Errorf("ask who reads: %w", err)
	}
	inbox := c.nc.NewRespInbox()
	answers, err := c.nc.Subscribe(inbox, func(msg *nats.Msg) {
		var other claimant
		if json.Unmarshal(msg.Data, &other) == nil && other.ID != "" {
			c.meet(other)
		}
	})
	if err != nil {
		return fmt.Errorf("ask who reads: %w", err)
	}
	defer func() { _ = answers.Unsubscribe() }() // fails only on a closed connection
	asked := time.Now()
	if err := c.nc.PublishRequest(c.subject, inbox, text); err != nil {
		return fmt.Errorf("ask who reads: %w", err)
	}
	if err := c.echo(ctx, question.Nonce); err != nil {
		return err
	}
	wait := time.NewTimer(grace + 2*time.Since(asked))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-c.outrank:
		return c.err()
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rival == nil {
		c.me.Standing = true
		return nil
	}
	return fmt.Errorf("%w: %s", ErrTaken, c.rival.Who)
}

// echo waits for our own question: then everybody was asked.
func (c *claim) echo(ctx context.Context, nonce string) error {
	limit := time.NewTimer(requestTimeout)
	defer limit.Stop()
	for {
		select {
		case got := <-c.heard:
			if got == nonce {
				return nil
			}
		case <-limit.C:
			return refused(c.nc, c.subject, &event.Error{
				Kind: event.Unavailable, Op: "ask who reads", Err: fmt.Errorf("our own question on %s did not come back", c.subject),
			})
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *claim) release() { _ = c.sub.Unsubscribe() } // fails only on a closed connection
