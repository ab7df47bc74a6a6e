package webhook

import (
	"container/list"
	"net"
	"net/netip"
)

// crowd are those that take up something that is short, by where they come from. Where one has to go it is the oldest of those of
// whom there are the most: who comes from elsewhere than a crowd does not feel it, however slow the way is.
type crowd[T any] struct {
	n     int
	added uint64
	from  map[netip.Prefix]*list.List // of *member[T], the oldest first
}

type member[T any] struct {
	of   T
	from netip.Prefix
	age  uint64 // the lower, the older
	at   *list.Element
}

func newCrowd[T any]() *crowd[T] { return &crowd[T]{from: map[netip.Prefix]*list.List{}} }

func (c *crowd[T]) add(from netip.Prefix, of T) *member[T] {
	those := c.from[from]
	if those == nil {
		those = list.New()
		c.from[from] = those
	}
	c.n++
	c.added++
	m := &member[T]{of: of, from: from, age: c.added}
	m.at = those.PushBack(m)
	return m
}

func (c *crowd[T]) remove(m *member[T]) {
	those := c.from[m.from]
	those.Remove(m.at)
	if c.n--; those.Len() == 0 {
		delete(c.from, m.from)
	}
}

// next is the one that has to go for one that comes from there, nil if there is none.
func (c *crowd[T]) next(from netip.Prefix) *member[T] {
	// Where there are more from there than from elsewhere on average, those who come take it from each other: that is quick to see, and
	// what a flood is.
	if those := c.from[from]; those != nil && those.Len()*len(c.from) > c.n {
		return oldest[T](those)
	}
	var found *member[T]
	most := 0
	for _, those := range c.from {
		first := oldest[T](those)
		if n := those.Len(); n > most || n == most && first.age < found.age {
			found, most = first, n
		}
	}
	return found
}

func oldest[T any](those *list.List) *member[T] { return those.Front().Value.(*member[T]) }

// origin is where a connection comes from: an address, or of IPv6 the network that a site has.
func origin(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	return originOf(tcp.AddrPort().Addr())
}

func originOf(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap()
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	prefix, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
