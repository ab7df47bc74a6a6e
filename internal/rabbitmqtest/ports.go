package rabbitmqtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// ports are taken below the range from which the kernel gives ports to whoever asks for any, so that nobody gets the
// port of a broker that is down for a moment.
const (
	firstPort = 12000
	lastPort  = 32000
)

// port is a TCP port of 127.0.0.1 that is ours until we give it back: also while nothing listens on it. Processes that
// use this package know of one another's ports through abstract Unix sockets, which end with the process.
type port struct {
	number int
	claim  net.Listener
}

func takePort() (*port, error) {
	var lc net.ListenConfig
	ctx := context.Background()
	for range 1000 {
		n := firstPort + rand.IntN(lastPort-firstPort)
		claim, err := lc.Listen(ctx, "unix", fmt.Sprintf("@rabbitmqtest/%d", n))
		if err != nil {
			continue
		}
		l, err := lc.Listen(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", n))
		if err != nil {
			_ = claim.Close()
			continue
		}
		_ = l.Close()
		return &port{number: n, claim: claim}, nil
	}
	return nil, errors.New("no free port on 127.0.0.1")
}

func (p *port) give() { _ = p.claim.Close() }

func (p *port) addr() string { return fmt.Sprintf("127.0.0.1:%d", p.number) }
