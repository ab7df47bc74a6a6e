package jetstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// bodyFresh is how old an object may be that is not stored again when it is put again. It is little compared with what
// the bucket keeps.
const bodyFresh = time.Hour

const (
	// bodyTimeout is how long one body may take to be written or read.
	bodyTimeout = 2 * time.Minute
	// bodyFirst and bodyRate, in bytes a second, are how long the first try may take. An answer that was lost with a server is
	// waited for until the end of the try; a server that is slow and no more gets longer with each one.
	bodyFirst = 10 * time.Second
	bodyRate  = 1 << 20
)

// Bodies keeps bodies that are too large for a message in the object store EVENTS_BODIES, by their SHA-256. It is safe
// for concurrent use.
type Bodies struct{ c *Client }

// Bodies is where bodies that are too large for a message are kept.
func (c *Client) Bodies() *Bodies { return &Bodies{c: c} }

// PutBody stores body under ref.Object and is done when it is durable. A body that is there already is stored again,
// so that it is kept for as long as the message that is about to refer to it, unless that was less than an hour ago.
// event.Full: the bucket takes no more. event.Invalid: ref is not the reference of body.
func (b *Bodies) PutBody(ctx context.Context, ref event.BodyRef, body []byte) error {
	op := "store body " + ref.Object
	if event.NewBodyRef(body) != ref {
		return invalid(op, errors.New("the reference is not made of this body"))
	}
	return tries(ctx, ref.Size, func(ctx context.Context) error { return b.put(ctx, op, ref, body) })
}

// put is one try at PutBody.
func (b *Bodies) put(ctx context.Context, op string, ref event.BodyRef, body []byte) error {
	store, ctx, release, err := b.open(ctx, op)
	if err != nil {
		return err
	}
	defer release()
	switch info, err := store.GetInfo(ctx, ref.Object); {
	case err == nil:
		if info.Size == uint64(ref.Size) && time.Since(info.ModTime) < bodyFresh {
			return nil
		}
	case !errors.Is(err, natsjs.ErrObjectNotFound):
		return readError(ctx, op, err)
	}
	if _, err = store.Put(ctx, natsjs.ObjectMeta{Name: ref.Object}, bytes.NewReader(body)); err != nil {
		var api *natsjs.APIError
		if errors.As(err, &api) && event.KindOf(apiError(api, phaseOpen)) == event.Full {
			return &event.Error{Kind: event.Full, Op: op, Err: err}
		}
		return readError(ctx, op, err)
	}
	return nil
}

// GetBody returns the object's content, checked against its name and size. event.Expired: it is gone, or is not what its
// name says, and will not be again. A replica answers, which may lag; with more than one that verdict has to stand for a
// while.
func (b *Bodies) GetBody(ctx context.Context, ref event.BodyRef) (body []byte, err error) {
	op := "read body " + ref.Object
	err = tries(ctx, ref.Size, func(ctx context.Context) error {
		store, ctx, release, err := b.open(ctx, op)
		if err != nil {
			return err
		}
		defer release()
		body, err = getBody(ctx, store, op, ref)
		return err
	})
	return body, err
}

// tries calls try until it does not run out of time, each time with twice as much, bodyTimeout at the last.
func tries(ctx context.Context, size int64, try func(ctx context.Context) error) error {
	for limit := bodyFirst + time.Duration(size)*time.Second/bodyRate; ; limit *= 2 {
		brief, cancel := context.WithTimeout(ctx, min(limit, bodyTimeout))
		err := try(brief)
		late := brief.Err() != nil
		cancel()
		if err == nil || !late || limit >= bodyTimeout || ctx.Err() != nil {
			return err
		}
	}
}

func getBody(ctx context.Context, store natsjs.ObjectStore, op string, ref event.BodyRef) ([]byte, error) {
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(10*time.Millisecond),
		backoff.WithMaxInterval(250*time.Millisecond), backoff.WithMaxElapsedTime(0))
	for began := time.Now(); ; {
		body, err := readBody(ctx, store, op, ref)
		if event.KindOf(err) != event.Expired || time.Since(began) > settle {
			return body, err
		}
		status, failed := store.Status(ctx)
		if failed != nil {
			return nil, readError(ctx, op, failed)
		}
		if !replicated(status) {
			return nil, err
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return nil, readError(ctx, op, ctx.Err())
		}
	}
}

// replicated tells whether more than one server may answer.
func replicated(status natsjs.ObjectStoreStatus) bool {
	of, ok := status.(*natsjs.ObjectBucketStatus)
	return !ok || of.StreamInfo().Cluster != nil && len(of.StreamInfo().Cluster.Replicas) > 0
}

// readBody is one try at GetBody.
func readBody(ctx context.Context, store natsjs.ObjectStore, op string, ref event.BodyRef) ([]byte, error) {
	info, err := store.GetInfo(ctx, ref.Object)
	if err != nil {
		return nil, bodyError(ctx, op, err)
	}
	body, err := store.GetBytes(ctx, ref.Object)
	if err == nil && event.NewBodyRef(body) == ref {
		return body, nil
	}
	if err != nil && !errors.Is(err, natsjs.ErrDigestMismatch) {
		return nil, bodyError(ctx, op, err)
	}
	// It may have been replaced while it was read.
	again, err := store.GetInfo(ctx, ref.Object)
	if err != nil {
		return nil, bodyError(ctx, op, err)
	}
	if again.NUID != info.NUID {
		return nil, unavailable(op, errors.New("it is being replaced"))
	}
	return nil, &event.Error{Kind: event.Expired, Op: op,
		Err: fmt.Errorf("the object has %d bytes and is not what its name says; %d were stored", info.Size, ref.Size)}
}

// open returns the store and a context for one use of it, which ends when the server refuses a right.
func (b *Bodies) open(ctx context.Context, op string) (natsjs.ObjectStore, context.Context, func(), error) {
	ctx, release := b.c.failOnRefusal(ctx, isObjectRequest)
	store, err := b.c.js.ObjectStore(ctx, event.BucketBodies)
	if err != nil {
		err = readError(ctx, op, err)
		release()
		return nil, nil, nil, err
	}
	return store, ctx, release, nil
}

func bodyError(ctx context.Context, op string, err error) error {
	if errors.Is(err, natsjs.ErrObjectNotFound) {
		return &event.Error{Kind: event.Expired, Op: op, Err: err}
	}
	return readError(ctx, op, err)
}

func isObjectRequest(subject string) bool {
	return strings.Contains(subject+".", ".OBJ_"+event.BucketBodies+".") || strings.HasPrefix(subject, "$O."+event.BucketBodies+".")
}
