package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// Holders says who has which lease.
type Holders struct {
	processes map[event.Role]int
	names     map[string]string // by the key in OWNERS, of owners that are alive
}

// Holders reads the buckets behind the leases. Where there are none, or the user may not read them, nothing is known, which
// is no error: the leases are for people here.
func (c *Client) Holders(ctx context.Context) (Holders, error) {
	h := Holders{processes: map[event.Role]int{}, names: map[string]string{}}
	alive := map[string]bool{}
	err := c.eachEntry(ctx, BucketLeases, func(key string, value []byte) {
		var p process
		if json.Unmarshal(value, &p) != nil || p.Dead {
			return
		}
		role, _, _ := strings.Cut(key, ".")
		h.processes[event.Role(role)]++
		alive[p.ID] = true
	})
	if err != nil {
		return h, err
	}
	return h, c.eachEntry(ctx, BucketOwners, func(key string, value []byte) {
		var o owner
		if json.Unmarshal(value, &o) == nil && alive[o.ID] {
			h.names[key] = o.Name
		}
	})
}

// Of returns who holds a lease.
func (h Holders) Of(role event.Role, key string) event.Holder {
	return event.Holder{Name: h.names[ownerKey(role, key)], Processes: h.processes[role]}
}

// eachEntry calls saw for what a bucket has.
func (c *Client) eachEntry(ctx context.Context, bucket string, saw func(key string, value []byte)) error {
	op := "read bucket " + bucket
	ctx, release := c.failOnRefusal(ctx, func(subject string) bool { return strings.Contains(subject+".", ".KV_"+bucket+".") })
	defer release()
	brief, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	kv, err := c.js.KeyValue(brief, bucket)
	if errors.Is(err, natsjs.ErrBucketNotFound) {
		return nil
	}
	if err != nil {
		return unlessRefused(readError(ctx, op, err))
	}
	watcher, err := kv.WatchAll(ctx)
	if err != nil {
		return unlessRefused(readError(ctx, op, err))
	}
	defer func() { _ = watcher.Stop() }() // it ends with ctx, too
	late := time.NewTimer(answerTimeout)
	defer late.Stop()
	for {
		select {
		case entry := <-watcher.Updates():
			switch {
			case entry == nil:
				return nil
			case entry.Operation() == natsjs.KeyValuePut:
				saw(entry.Key(), entry.Value())
			}
		case <-late.C:
			return unavailable(op, errors.New("no answer"))
		case <-ctx.Done():
			return unlessRefused(readError(ctx, op, ctx.Err()))
		}
	}
}

// unlessRefused is nil for what the user may not do.
func unlessRefused(err error) error {
	if event.KindOf(err) == event.Invalid {
		return nil
	}
	return err
}
