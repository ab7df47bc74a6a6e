package jetstream

import (
	"context"
	"sync"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// An entry that is renewed while a bucket is read is read all the same: who holds a lease would else look dead for a moment.
func TestEntriesThatAreRenewedMeanwhile(t *testing.T) {
	c := connectToServer(t)
	bucket, err := c.js.CreateKeyValue(t.Context(), natsjs.KeyValueConfig{Bucket: "RENEWED", Storage: natsjs.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{"collector.a", "normalizer.a", "normalizer.b"}
	put := func(ctx context.Context, key string) error {
		_, err := bucket.Put(ctx, key, []byte("{}"))
		return err
	}
	for _, key := range keys {
		if err := put(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	defer writer.Wait()
	defer stop()
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if err := put(ctx, keys[i%len(keys)]); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		seen := map[string]bool{}
		if _, err := c.entries(t.Context(), "RENEWED", func(e natsjs.KeyValueEntry) { seen[e.Key()] = true }); err != nil {
			t.Fatal(err)
		}
		if len(seen) != len(keys) {
			t.Fatalf("of %d entries these are read: %v", len(keys), seen)
		}
	}
}
