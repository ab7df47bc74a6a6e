package subscribe

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// laggingStore gives its object from a time on.
type laggingStore struct {
	natsjs.ObjectStore
	there time.Time
}

func (s laggingStore) GetBytes(context.Context, string, ...natsjs.GetObjectOpt) ([]byte, error) {
	if time.Now().Before(s.there) {
		return nil, natsjs.ErrObjectNotFound
	}
	return []byte("body"), nil
}

func (s laggingStore) Status(context.Context) (natsjs.ObjectStoreStatus, error) { return nil, nil }

func TestABodyThatAReplicaLacksIsNotGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, err := readBody(t.Context(), laggingStore{there: time.Now().Add(20 * time.Second)}, "sha256-0")
		if err != nil || string(got) != "body" {
			t.Errorf("got %q (%v)", got, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, err := readBody(t.Context(), laggingStore{there: time.Now().Add(time.Hour)}, "sha256-0")
		if !errors.Is(err, natsjs.ErrObjectNotFound) {
			t.Errorf("the error is %v", err)
		}
	})
}
