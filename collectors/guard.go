package collectors

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// PanicError is a panic in a source. The stack is for the log, not for people's eyes.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// guard turns a panic of f into a PanicError.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}

// busy keeps when a source last gave a sign of life. While it waits in emit it is not silent.
type busy struct {
	mu     sync.Mutex
	inside bool
	left   time.Time
}

func (b *busy) enter() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inside = true
}

func (b *busy) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inside, b.left = false, time.Now()
}

func (b *busy) since() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inside {
		return time.Now()
	}
	return b.left
}
