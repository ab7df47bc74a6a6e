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

func (s *laggingStore) Status(context.Context) (natsjs.ObjectStoreStatus, error) { return nil, nil }

// A body that a replica does not have yet must not become a dead letter.
func TestABodyThatAReplicaLacksIsNotLost(t *testing.T) {
	body := []byte("body")
	for name, test := range map[string]struct {
		after time.Duration
		torn  bool
		want  event.Kind
	}{
		"it lags":           {after: time.Second},
		"it has a part":     {after: time.Second, torn: true},
		"it is really gone": {after: time.Hour, want: event.Expired},
		"it is really torn": {after: time.Hour, torn: true, want: event.Expired},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &laggingStore{body: body, there: time.Now().Add(test.after), torn: test.torn}
				got, err := getBody(t.Context(), store, "read body", event.NewBodyRef(body))
				if event.KindOf(err) != test.want || test.want == 0 && !bytes.Equal(got, body) {
					t.Errorf("got %q (%v), want kind %v", got, err, test.want)
				}
			})
		})
	}
}
