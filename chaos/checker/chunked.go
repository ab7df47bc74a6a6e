package checker

// chunked is a slice that grows without being copied.
type chunked[T any] struct {
	chunks [][]T
	n      int
}

const chunk = 1 << 12

func (c *chunked[T]) add(v T) {
	if c.n%chunk == 0 {
		c.chunks = append(c.chunks, make([]T, 0, chunk))
	}
	last := len(c.chunks) - 1
	c.chunks[last] = append(c.chunks[last], v)
	c.n++
}

func (c *chunked[T]) at(i int) *T { return &c.chunks[i/chunk][i%chunk] }

// table numbers what has a name.
type table[T any] struct {
	index map[string]uint16
	list  []T
}

func (t *table[T]) find(name string, make func() T) uint16 {
	i, ok := t.index[name]
	if ok {
		return i
	}
	if t.index == nil {
		t.index = map[string]uint16{}
	}
	i = uint16(len(t.list))
	t.index[name] = i
	t.list = append(t.list, make())
	return i
}

// bits is a set of small numbers.
type bits struct {
	words []uint64
	n     int
}

// add returns false if i was there.
func (b *bits) add(i int) bool {
	if b.has(i) {
		return false
	}
	if need := i/64 + 1 - len(b.words); need > 0 {
		b.words = append(b.words, make([]uint64, need)...)
	}
	b.words[i/64] |= 1 << (i % 64)
	b.n++
	return true
}

func (b *bits) has(i int) bool { return i/64 < len(b.words) && b.words[i/64]&(1<<(i%64)) != 0 }
