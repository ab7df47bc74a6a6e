package collectorstest

import (
	"context"
	"sync"
	"testing"

	"stackstream/collectors"
)

// Run runs a collector beside the test; the function that it returns ends it in good order, as the end of the test does.
func Run(t testing.TB, c *collectors.Collector) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run returned %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}
