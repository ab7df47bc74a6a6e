package jetstream

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// laggingStore is an object store of several servers that gives an object from the time it is there on all of them.
type laggingStore struct {
	natsjs.ObjectStore
	body  []byte
	there time.Time
	torn  bool // half of it is there before
}

func (s *laggingStore) GetInfo(context.Context, string, ...natsjs.GetObjectInfoOpt) (*natsjs.ObjectInfo, error) {
	if !s.torn && time.Now().Before(s.there) {
		return nil, natsjs.ErrObjectNotFound
	}
	return &natsjs.ObjectInfo{NUID: "1", Size: uint64(len(s.body))}, nil
}

func (s *laggingStore) GetBytes(context.Context, string, ...natsjs.GetObjectOpt) ([]byte, error) {
	if time.Now().Before(s.there) {
		return nil, natsjs.ErrDigestMismatch
	}
	return s.body, nil
}

// listed is what the leader says: it has the object, unless nobody ever will.
func (s *laggingStore) listed(context.Context, event.BodyRef) (listed, alone bool, err error) {
	return time.Until(s.there) < time.Hour, false, nil
}

// A body that a replica does not have yet must not become a dead letter.
func TestABodyThatAReplicaLacksIsNotLost(t *testing.T) {
	body := []byte("body")
	for name, test := range map[string]struct {
		after time.Duration
		torn  bool
		want  event.Kind
	}{
		"it lags":           {after: time.Second},
		"it has a part":     {after: 10 * time.Second, torn: true},
		"it is cut off":     {after: time.Minute},
		"it is really gone": {after: 2 * time.Hour, want: event.Expired},
		"it is really torn": {after: 2 * time.Hour, torn: true, want: event.Expired},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &laggingStore{body: body, there: time.Now().Add(test.after), torn: test.torn}
				var gone time.Time
				got, err := getBody(t.Context(), store, store.listed, "read body", event.NewBodyRef(body), &gone)
				if event.KindOf(err) != test.want || test.want == 0 && !bytes.Equal(got, body) {
					t.Errorf("got %q (%v), want kind %v", got, err, test.want)
				}
			})
		})
	}
}

// A server that took a body and died before it said so is not waited for until the last moment, and one that is slow gets
// the time it needs.
func TestABodyIsTriedAgain(t *testing.T) {
	for name, test := range map[string]struct {
		size  int64
		lost  int           // so many tries get no answer
		takes time.Duration // one that gets an answer
		want  time.Duration
		kind  event.Kind
	}{
		"the first answer is lost":      {size: 2 << 20, lost: 1, takes: time.Second, want: 13 * time.Second},
		"it is slow":                    {size: 2 << 20, takes: 90 * time.Second, want: (12+24+48)*time.Second + 90*time.Second},
		"it never answers":              {size: 2 << 20, lost: 99, want: (12 + 24 + 48 + 96 + 120) * time.Second, kind: event.Unavailable},
		"it is large and never answers": {size: 200 << 20, lost: 99, want: 2 * time.Minute, kind: event.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := tries(t.Context(), test.size, func(ctx context.Context) error {
					takes := test.takes
					if test.lost > 0 {
						test.lost, takes = test.lost-1, time.Hour
					}
					select {
					case <-time.After(takes):
						return nil
					case <-ctx.Done():
						return readError(ctx, "store body", ctx.Err())
					}
				})
				if took := time.Since(began); took != test.want || event.KindOf(err) != test.kind {
					t.Errorf("it took %s (%v), want %s and kind %v", took, err, test.want, test.kind)
				}
			})
		})
	}
}
