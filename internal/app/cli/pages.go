package cli

import (
	"context"
	"time"
)

// dropBeginning lets go of what of the program only its beginning needed: soon, since a process with much to do is largest in its first
// seconds, and once more when all has begun that had to wait for something.
func dropBeginning(ctx context.Context) {
	for _, pause := range []time.Duration{time.Second, 9 * time.Second} {
		select {
		case <-time.After(pause):
			_ = dropProgram() // where that can't be done all stays in memory
		case <-ctx.Done():
			return
		}
	}
}
