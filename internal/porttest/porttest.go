// Package porttest finds ports for servers that tests kill and start again.
package porttest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The ports lie below those that the kernel gives to connections (32768 on Linux), so that nobody has a server's port when it is
// started again: not even a client that connects to it meanwhile, which from such a port may reach itself.
const first, behind = 10000, 32768

// Free returns n different ports on loopback that nobody listens on. Nothing keeps others from them.
func Free(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, 0, n)
	for range 1000 {
		if len(ports) == n {
			return ports
		}
		port := first + rand.IntN(behind-first)
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer func() { _ = l.Close() }() // all at the end, so that none is found twice
		ports = append(ports, port)
	}
	t.Fatalf("no %d free ports on 127.0.0.1", n)
	return nil
}

// Addrs is Free, as addresses.
func Addrs(t testing.TB, n int) []string {
	t.Helper()
	addrs := make([]string, 0, n)
	for _, port := range Free(t, n) {
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", port))
	}
	return addrs
}
