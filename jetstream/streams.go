package jetstream

import (
	"context"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// StreamState is what a stream holds, and what it may hold.
type StreamState struct {
	Name            string
	Messages, Bytes uint64
	MaxBytes        int64
	MaxAge          time.Duration // 0: it keeps what it has
	Oldest          time.Time     // when its first message was stored
	// Replicas is how many servers should hold it, Current how many of them are known to have all of it.
	Replicas, Current int
}

// StreamNames are the streams that hold events, the one behind the object store included.
func StreamNames() []string {
	return []string{event.StreamRaw, event.StreamNormalized, event.StreamDead, "OBJ_" + event.BucketBodies}
}

// StreamState asks for the state of a stream. It changes nothing. The error has a kind: event.Invalid where the rights do not
// allow it.
func (c *Client) StreamState(ctx context.Context, name string) (StreamState, error) {
	handle, err := c.stream(ctx, name)
	if err != nil {
		return StreamState{}, err
	}
	info := handle.CachedInfo()
	s := StreamState{
		Name: name, Messages: info.State.Msgs, Bytes: info.State.Bytes, MaxBytes: info.Config.MaxBytes, MaxAge: info.Config.MaxAge,
		Oldest: info.State.FirstTime, Replicas: info.Config.Replicas, Current: 1,
	}
	if info.Cluster == nil {
		return s, nil
	}
	for _, r := range info.Cluster.Replicas {
		if r.Current && !r.Offline {
			s.Current++
		}
	}
	return s, nil
}

// Subscriber is a durable consumer of EVENTS_NORMALIZED, and how far it is.
type Subscriber struct {
	Durable string
	// Pending is how many messages it was not sent yet, Unacknowledged how many it was sent and has not acknowledged.
	Pending, Unacknowledged uint64
	AcknowledgedAt          time.Time // zero: never
}

// Subscribers returns the durable consumers of EVENTS_NORMALIZED. It changes nothing. The error has a kind: event.Invalid where
// the rights do not allow it.
func (c *Client) Subscribers(ctx context.Context) ([]Subscriber, error) {
	const op = "list the consumers of " + event.StreamNormalized
	ctx, release := c.failOnRefusal(ctx, isConsumerRequest(event.StreamNormalized))
	defer release()
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	handle, err := c.stream(ctx, event.StreamNormalized)
	if err != nil {
		return nil, err
	}
	list := handle.ListConsumers(ctx)
	var found []Subscriber
	for info := range list.Info() {
		if s, durable := subscriberOf(info); durable {
			found = append(found, s)
		}
	}
	if err := list.Err(); err != nil {
		return nil, readError(ctx, op, err)
	}
	return found, nil
}

func subscriberOf(info *natsjs.ConsumerInfo) (Subscriber, bool) {
	s := Subscriber{
		Durable: info.Config.Durable, Pending: info.NumPending, Unacknowledged: uint64(max(info.NumAckPending, 0)),
	}
	if at := info.AckFloor.Last; at != nil {
		s.AcknowledgedAt = *at
	}
	return s, s.Durable != ""
}
