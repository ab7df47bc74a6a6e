package rabbitmqtest

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared is the one broker of a test process, which outlives single tests and so can't be held by one.
//
//nolint:gochecknoglobals // the process is its owner
var shared struct {
	sync.Mutex
	broker *Broker
}

// Shared is one broker per test process, started on first use, for tests that need a virtual host of their own and leave
// the broker alone. It ends in Main; without Main, when the process ends. All tests of a package give it the same options.
func Shared(tb testing.TB, opts ...Option) *Broker {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.broker == nil {
		b, err := launch(apply(opts))
		if err != nil {
			tb.Fatalf("start the shared RabbitMQ broker: %v", err)
		}
		shared.broker = b
	}
	return shared.broker
}

// Main runs the tests of a package that uses Shared, ends the shared broker, and returns what to exit with:
//
//	func TestMain(m *testing.M) { os.Exit(rabbitmqtest.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.broker == nil {
		return code
	}
	if err := shared.broker.end(); err != nil {
		fmt.Fprintln(os.Stderr, "end the shared RabbitMQ broker:", err)
		code = max(code, 1)
	}
	shared.broker = nil
	return code
}
