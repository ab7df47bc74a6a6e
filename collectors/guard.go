package collectors

import (
	"errors"
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

// errGoexit is why a source ended that called runtime.Goexit.
var errGoexit = errors.New("the source ended its goroutine")

// guard turns a panic of f into a PanicError.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}

// apart is guard in a goroutine of its own, which has ended when it returns. A stack grows with what is called and is made smaller
// only now and then: what asks a service is deep, and who waits for the next time, most of the time, would keep what that took.
func apart(f func() error) error {
	ended := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() { ended <- err }()
		err = guard(f)
	}()
	return <-ended
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
