package jetstream

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// bodyFresh is how old an object may be that is not stored again when it is put again. It is little compared with what
// the bucket keeps.
const bodyFresh = time.Hour

const (
	// bodyTimeout is how long one body may take to be written, and the last try to read it.
	bodyTimeout = 2 * time.Minute
	// bodyFirst is how long the first try to read a body may take, and bodyRate how many bytes it may bring for each second
	// more. What was lost with a server is waited for until the end of a try; a server that is slow and no more gets longer
	// with each one.
	bodyFirst = 10 * time.Second
	bodyRate  = 1 << 20
	// bodyGone is for how long a body has to be missing until that is believed.
	bodyGone = 30 * time.Second
	// bodyChunk is the size of the messages that a body is stored in.
	bodyChunk = 256 << 10
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
	ctx, cancel := context.WithTimeout(ctx, bodyTimeout)
	defer cancel()
	store, ctx, release, err := b.open(ctx, op)
	if err != nil {
		return err
	}
	defer release()
	old, err := store.GetInfo(ctx, ref.Object)
	switch {
	case errors.Is(err, natsjs.ErrObjectNotFound):
		old = nil
	case err != nil:
		return readError(ctx, op, err)
	case old.Size == uint64(ref.Size) && old.Digest == bodyDigest(body) && time.Since(old.ModTime) < bodyFresh:
		return nil
	}
	if err := b.put(ctx, ref, body); err != nil {
		var known *event.Error
		if errors.As(err, &known) {
			known.Op = op
		}
		return err
	}
	if old != nil {
		b.purge(ctx, old.NUID)
	}
	return nil
}

// put writes an object as the client library's Put does (https://docs.nats.io: the object store), but for one thing: each
// message is sent when the one before it is durable. Put sends what names the object without waiting for what is in it, so
// that a bucket that is full, or a server that dies, can leave an object that looks whole and is not; and what it sends again
// may come behind what came after it.
func (b *Bodies) put(ctx context.Context, ref event.BodyRef, body []byte) error {
	id := newID()
	info := natsjs.ObjectInfo{
		ObjectMeta: natsjs.ObjectMeta{Name: ref.Object, Opts: &natsjs.ObjectMetaOptions{ChunkSize: bodyChunk}},
		Bucket:     event.BucketBodies, NUID: id, Size: uint64(len(body)), Digest: bodyDigest(body),
	}
	for chunk := range slices.Chunk(body, bodyChunk) {
		if err := b.send(ctx, &nats.Msg{Subject: chunkSubject(id), Data: chunk}); err != nil {
			b.purge(context.WithoutCancel(ctx), id)
			return err
		}
		info.Chunks++
	}
	meta, err := json.Marshal(info)
	if err != nil {
		return &event.Error{Kind: event.Invalid, Err: err}
	}
	return b.send(ctx, &nats.Msg{Subject: bodySubject(ref), Header: nats.Header{headerRollup: {"sub"}}, Data: meta})
}

// send publishes one message of an object and waits until it is durable. Where that is not known it is told as unavailable: an
// object that is stored twice does no harm.
func (b *Bodies) send(ctx context.Context, m *nats.Msg) error {
	if _, err := b.c.request(ctx, m); err != nil {
		return sendError(err, phaseOpen)
	}
	return nil
}

// purge removes the chunks of an object that nothing refers to any more. Those that it can't remove go with the bucket's age.
func (b *Bodies) purge(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	stream, err := b.c.stream(ctx, "OBJ_"+event.BucketBodies)
	if err == nil {
		err = stream.Purge(ctx, natsjs.WithPurgeSubject(chunkSubject(id)))
	}
	if err != nil {
		b.c.log.Debug().Err(err).Msg("chunks of a body that nothing refers to stay for now")
	}
}

// bodySubject is where the message is that names an object.
func bodySubject(ref event.BodyRef) string {
	return "$O." + event.BucketBodies + ".M." + base64.URLEncoding.EncodeToString([]byte(ref.Object))
}

func chunkSubject(id string) string { return "$O." + event.BucketBodies + ".C." + id }

func bodyDigest(body []byte) string {
	h := sha256.New()
	h.Write(body)
	return natsjs.GetObjectDigestValue(h)
}

// GetBody returns the object's content, checked against its name, and its size unless that is 0: not known. event.Expired: it is
// gone, or is not what its name says, and will not be again. A replica answers, which may lag, for as long as it is cut off from
// the leader; with more than one that verdict has to stand for bodyGone, and what the leader lists is not gone.
func (b *Bodies) GetBody(ctx context.Context, ref event.BodyRef) (body []byte, err error) {
	op := "read body " + ref.Object
	var gone time.Time
	err = tries(ctx, ref.Size, func(ctx context.Context) error {
		store, ctx, release, err := b.open(ctx, op)
		if err != nil {
			return err
		}
		defer release()
		body, err = getBody(ctx, store, b.listed, op, ref, &gone)
		return err
	})
	return body, err
}

// listed asks the leader whether it has an object, and tells whether it is the only one that can answer.
func (b *Bodies) listed(ctx context.Context, ref event.BodyRef) (listed, alone bool, err error) {
	subject := bodySubject(ref)
	info, err := b.c.streamInfo(ctx, "OBJ_"+event.BucketBodies, subject)
	if err != nil {
		return false, false, err
	}
	return info.State.Subjects[subject] > 0, info.Cluster == nil || len(info.Cluster.Replicas) == 0, nil
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

// getBody reads a body, again while it only seems to be gone. gone is since when it does, over all tries.
func getBody(ctx context.Context, store natsjs.ObjectStore, listed func(context.Context, event.BodyRef) (bool, bool, error),
	op string, ref event.BodyRef, gone *time.Time) ([]byte, error) {
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(10*time.Millisecond),
		backoff.WithMaxInterval(250*time.Millisecond), backoff.WithMaxElapsedTime(0))
	for {
		body, err := readBody(ctx, store, op, ref)
		if event.KindOf(err) != event.Expired {
			return body, err
		}
		has, alone, failed := listed(ctx, ref)
		switch {
		case failed != nil:
			return nil, failed
		case alone:
			return nil, err
		case has && errors.Is(err, natsjs.ErrObjectNotFound), gone.IsZero():
			*gone = time.Now()
		case time.Since(*gone) > bodyGone:
			return nil, err
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return nil, unavailable(op, fmt.Errorf("a replica does not have it: %w", ctx.Err()))
		}
	}
}

// readBody is one try at GetBody.
func readBody(ctx context.Context, store natsjs.ObjectStore, op string, ref event.BodyRef) ([]byte, error) {
	info, err := store.GetInfo(ctx, ref.Object, natsjs.GetObjectInfoShowDeleted())
	if err != nil {
		return nil, bodyError(ctx, op, err)
	}
	if info.Deleted {
		return nil, &event.Error{Kind: event.Expired, Op: op, Err: errors.New("the object was deleted")}
	}
	body, err := store.GetBytes(ctx, ref.Object)
	if is := event.NewBodyRef(body); err == nil && is.Object == ref.Object && (ref.Size == 0 || is.Size == ref.Size) {
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
