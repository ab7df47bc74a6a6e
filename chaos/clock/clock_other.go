//go:build !(linux && amd64)

package clock

import "time"

// Jump returns ErrUnsupported.
func Jump(int, time.Duration) error { return ErrUnsupported }
