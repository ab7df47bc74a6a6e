package embedded

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"stackstream/event"
	"stackstream/jetstream"
)

const (
	diskEvery = time.Second
	// firstRestart and lastRestart bound the pauses between restarts that do not help for long.
	firstRestart = time.Second
	lastRestart  = 2 * time.Minute
	// healed is how long a server must have written before its next trouble counts as the first.
	healed = 10 * time.Minute
)

// KeepWriting looks after the server and its disk until ctx ends. When the disk was full, or failed in another way, the
// server stops writing for good: a stream that could not store a message takes no more of them, and JetStream may have
// disabled itself. Once the disk takes data again the server is restarted on what it has. Batches that it had begun to store are
// completed by that, and what was refused is sent again by those who wait: nothing is lost and nothing comes twice.
//
// Restarts that do not help are repeated with growing pauses, for ever. It returns nil.
func (e *Server) KeepWriting(ctx context.Context, hooks jetstream.DiskHooks) error {
	k := newKeeper(e, hooks)
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	for {
		k.look()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// keeper is the state of one KeepWriting.
type keeper struct {
	e     *Server
	hooks jetstream.DiskHooks
	pause *backoff.ExponentialBackOff

	state   event.State
	tight   bool      // the disk was full and has not got twice as much since
	since   time.Time // when the last restart was
	earlier time.Time // no restart before that
}

func newKeeper(e *Server, hooks jetstream.DiskHooks) *keeper {
	return &keeper{e: e, hooks: hooks, pause: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(firstRestart), backoff.WithMultiplier(4), backoff.WithRandomizationFactor(0),
		backoff.WithMaxInterval(lastRestart), backoff.WithMaxElapsedTime(0))}
}

// look looks once, and restarts the server if that is due.
func (k *keeper) look() {
	d, err := diskOf(k.e.dir)
	if err != nil {
		k.say(event.StateBackoff, fmt.Sprintf("can't look at the disk of %s: %v", k.e.dir, err))
		return
	}
	if k.hooks.Free != nil {
		k.hooks.Free(d.free, d.size)
	}
	fault := k.e.fault()
	switch {
	case fault == "":
		k.well(d)
	case !d.hasRoom():
		k.say(event.StateBackoff, fmt.Sprintf("the disk of %s is full: %s; once it has %s the embedded NATS server is restarted, "+
			"and everything goes on", k.e.dir, d.left(), jetstream.Bytes(d.room())))
	case time.Now().Before(k.earlier):
		k.say(event.StateBackoff, fmt.Sprintf("the embedded NATS server could not write and will be restarted: %s", fault))
	default:
		k.restart(fault)
	}
}

// well reports on a server that writes.
func (k *keeper) well(d disk) {
	k.tight = d.full() || k.tight && (disk{d.size, d.free / 2, d.noFiles}).full()
	if k.tight {
		k.say(event.StateDegraded, fmt.Sprintf("the disk of %s is full: %s", k.e.dir, d.left()))
		return
	}
	k.say(event.StateLive, "")
}

// restart restarts the server if the disk takes anything.
func (k *keeper) restart(fault string) {
	if time.Since(k.since) > healed {
		k.pause.Reset()
	}
	err := probe(k.e.dir)
	if err != nil {
		err = fmt.Errorf("the disk takes nothing: %w", err)
	} else {
		k.e.log.Warn().Str("dir", k.e.dir).Str("fault", fault).Msg("restarting the embedded NATS server, which could not write")
		err = k.e.Restart()
		if k.hooks.Restarted != nil {
			k.hooks.Restarted(err)
		}
	}
	k.since = time.Now()
	k.earlier = k.since.Add(k.pause.NextBackOff())
	if err != nil {
		k.say(event.StateBackoff, fmt.Sprintf("the embedded NATS server could not write in %s, and can't be restarted: %v",
			k.e.dir, err))
		return
	}
	k.say(event.StateLive, "")
}

// say reports, with one line in the log per change of the state.
func (k *keeper) say(state event.State, reason string) {
	if k.hooks.State != nil {
		k.hooks.State(state, reason)
	}
	if state == k.state {
		return
	}
	first := k.state == ""
	k.state = state
	switch {
	case state != event.StateLive:
		k.e.log.Warn().Str("state", string(state)).Str("reason", reason).Msg("disk of the embedded NATS server")
	case !first:
		k.e.log.Info().Msg("the embedded NATS server writes again")
	}
}

// fault is why the server does not write; "" if it does, as far as it says.
func (e *Server) fault() string {
	e.mu.Lock()
	s, lines := e.server, e.lines
	e.mu.Unlock()
	switch {
	case s == nil:
		return errStopped.Error()
	case lines.writeFault() != "":
		return lines.writeFault()
	case !s.JetStreamEnabled():
		return "JetStream was disabled"
	default:
		return ""
	}
}
