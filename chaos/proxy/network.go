package proxy

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Network is a set of hosts that reach each other through proxies, so that a fault can be put between two of them. The zero
// Network has no lines. Its methods are safe for concurrent use.
type Network struct {
	mu    sync.Mutex
	lines []line
}

// line is a proxy, and who connects to whom through it.
type line struct {
	from, to string
	proxy    *Proxy
}

// Add makes a proxy at listen through which the host from connects to the host to, at target. The two may have several, one for
// each port that they talk to.
func (n *Network) Add(from, to, listen, target string) (*Proxy, error) {
	p, err := Listen(listen, target)
	if err != nil {
		return nil, fmt.Errorf("a line from %s to %s: %w", from, to, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, line{from, to, p})
	return p, nil
}

// Between is everything between two hosts, whoever connects. In its faults, Forward is what a sends to b.
func (n *Network) Between(a, b string) Lines {
	return n.pick(func(l line) (forward, backward bool) {
		return l.from == a && l.to == b, l.from == b && l.to == a
	})
}

// Of is everything between a host and all others. In its faults, Forward is what the host sends.
func (n *Network) Of(host string) Lines {
	return n.pick(func(l line) (forward, backward bool) { return l.from == host, l.to == host })
}

// All is everything. In its faults, Forward is what those send who connect.
func (n *Network) All() Lines {
	return n.pick(func(line) (forward, backward bool) { return true, false })
}

func (n *Network) pick(side func(line) (forward, backward bool)) Lines {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all Lines
	for _, l := range n.lines {
		if forward, backward := side(l); forward {
			all.along = append(all.along, l.proxy)
		} else if backward {
			all.against = append(all.against, l.proxy)
		}
	}
	return all
}

// Close ends all proxies.
func (n *Network) Close() error {
	all := n.All()
	var failed []error
	for _, p := range all.along {
		failed = append(failed, p.Close())
	}
	return errors.Join(failed...)
}

// Lines are proxies that get the same fault.
type Lines struct {
	along   []*Proxy // the host on whose side we look connects
	against []*Proxy // it is connected to
}

// Proxies are all proxies of these lines.
func (l Lines) Proxies() []*Proxy { return slices.Concat(l.along, l.against) }

// Set puts f in the place of whatever fault each line had, also one that was set through other Lines. For a moment some lines
// have it and others not.
func (l Lines) Set(f Fault) error {
	back := f
	back.Hold = f.Hold.reverse()
	var set sync.WaitGroup
	failed := make([]error, len(l.along)+len(l.against))
	for i, p := range l.along {
		set.Go(func() { failed[i] = p.Set(f) })
	}
	for i, p := range l.against {
		set.Go(func() { failed[len(l.along)+i] = p.Set(back) })
	}
	set.Wait()
	return errors.Join(failed...)
}
