package crashfs

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// page is the unit in which a cut may leave out what was written.
const page = 4096

// Model says when names are durable; the package comment has the details.
type Model uint8

// The models.
const (
	Journal Model = iota // ext4, xfs
	Strict               // POSIX to the letter
)

func (m Model) String() string { return [...]string{"journal", "strict"}[m] }

// Take says what of that which was not durable is there after a cut.
type Take uint8

// The ways to take.
const (
	Nothing    Take = iota // only what was durable
	Everything             // all: as if only the processes had been killed
	Prefix                 // what was done up to a moment
	Torn                   // the same, and a part of the write after it
	Subset                 // any pages and names, each on its own as far as the model lets it
	takes
)

// Takes are all ways to take.
func Takes() []Take {
	all := make([]Take, takes)
	for i := range all {
		all[i] = Take(i)
	}
	return all
}

func (t Take) String() string {
	return [...]string{"nothing", "everything", "prefix", "torn", "subset"}[t]
}

// Choice is how an image is made. The same Choice makes the same image.
type Choice struct {
	Model Model
	Take  Take
	Seed  uint64 // for what is left to chance
}

func (c Choice) String() string { return fmt.Sprintf("%s/%s/%d", c.Model, c.Take, c.Seed) }

// Image is what a disk may hold after a cut.
type Image struct {
	dirs  map[Node]map[string]Node
	files map[Node][]byte
	// Lost is how many changes of the history are not in it, or not whole.
	Lost int
}

// Image returns what is left of the first k Ops.
func (h History) Image(k int, c Choice) *Image {
	d := h[:k].durability(c.Model)
	keep := newKeep(h[:k], d, c)
	im := &Image{dirs: map[Node]map[string]Node{Root: {}}, files: map[Node][]byte{}}
	dropped := map[Node]bool{} // files that a lost truncation ends
	for i := range h[:k] {
		o := &h[i]
		switch {
		case o.names():
			if !keep.name(i) {
				im.Lost++
				continue
			}
			im.rename(o)
		case o.content():
			if dropped[o.Node] {
				im.Lost++
				continue
			}
			kept, whole := keep.content(i)
			if !whole {
				im.Lost++
			}
			if o.Kind == Truncate && !whole {
				dropped[o.Node] = true
				continue
			}
			im.change(o, kept)
		}
	}
	return im
}

func (im *Image) rename(o *Op) {
	dir := func(n Node) map[string]Node {
		if im.dirs[n] == nil {
			im.dirs[n] = map[string]Node{}
		}
		return im.dirs[n]
	}
	switch o.Kind {
	case Create:
		dir(o.Dir)[o.Name] = o.Node
	case Mkdir:
		dir(o.Dir)[o.Name] = o.Node
		dir(o.Node)
	case Remove:
		if dir(o.Dir)[o.Name] == o.Node {
			delete(dir(o.Dir), o.Name)
		}
	case Rename:
		if dir(o.Dir)[o.Name] == o.Node {
			delete(dir(o.Dir), o.Name)
		}
		dir(o.NewDir)[o.NewName] = o.Node
	}
}

// change applies what is kept of a write or truncation.
func (im *Image) change(o *Op, kept []span) {
	data := im.files[o.Node]
	if o.Kind == Truncate {
		im.files[o.Node] = resize(data, o.Size)
		return
	}
	for _, s := range kept {
		if end := o.Offset + s.end; end > int64(len(data)) {
			data = resize(data, end)
		}
		copy(data[o.Offset+s.start:], o.Data[s.start:s.end])
	}
	im.files[o.Node] = data
}

// resize cuts data or extends it with zeros.
func resize(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size:size]
	}
	return append(data, make([]byte, size-int64(len(data)))...)
}

// walk calls f for everything that can be reached from the root, in order; data is nil for a directory.
func (im *Image) walk(f func(path string, data []byte) error) error {
	var in func(dir Node, path string) error
	in = func(dir Node, path string) error {
		for _, name := range slices.Sorted(maps.Keys(im.dirs[dir])) {
			n, path := im.dirs[dir][name], filepath.Join(path, name)
			if _, ok := im.dirs[n]; ok {
				if err := f(path, nil); err != nil {
					return err
				}
				if err := in(n, path); err != nil {
					return err
				}
				continue
			}
			data := im.files[n]
			if data == nil {
				data = []byte{}
			}
			if err := f(path, data); err != nil {
				return err
			}
		}
		return nil
	}
	return in(Root, "")
}

// WriteTo writes the image below dir, which must be there and empty.
func (im *Image) WriteTo(dir string) error {
	return im.walk(func(path string, data []byte) error {
		if data == nil {
			return os.Mkdir(filepath.Join(dir, path), 0o700)
		}
		return os.WriteFile(filepath.Join(dir, path), data, 0o600)
	})
}

// Sum is the same for images that are the same.
func (im *Image) Sum() [sha256.Size]byte {
	sum := sha256.New()
	_ = im.walk(func(path string, data []byte) error { // f below returns no error
		head := binary.AppendUvarint(nil, uint64(len(path)))
		head = append(head, path...)
		if data == nil {
			head = append(head, 'd')
		} else {
			head = binary.AppendUvarint(append(head, 'f'), uint64(len(data)))
		}
		sum.Write(head)
		sum.Write(data)
		return nil
	})
	return [sha256.Size]byte(sum.Sum(nil))
}

// span is a part of a write.
type span struct{ start, end int64 }

// keep decides for each Op that is not durable what of it is there.
type keep struct {
	h       History
	d       durability
	c       Choice
	rnd     *rand.Rand
	cut     int     // Prefix, Torn: what is before it is there
	nameCut int     // Journal, Subset: the names before it are
	chance  float64 // Subset
}

func newKeep(h History, d durability, c Choice) *keep {
	k := &keep{h: h, d: d, c: c, rnd: rand.New(rand.NewPCG(c.Seed, uint64(len(h))))}
	between := func(low, high int) int { return low + k.rnd.IntN(high-low+1) }
	k.chance = []float64{0.1, 0.5, 0.9}[k.rnd.IntN(3)]
	k.nameCut = between(d.journal, len(h))
	k.cut = between(d.first, len(h))
	if writes := d.writes(h); c.Take == Torn && len(writes) > 0 {
		k.cut = writes[k.rnd.IntN(len(writes))]
	}
	return k
}

// name tells whether a change of names is there.
func (k *keep) name(i int) bool {
	if k.d.durable(i) {
		return true
	}
	switch k.c.Take {
	case Everything:
		return true
	case Prefix, Torn:
		return i < k.cut
	case Subset:
		if k.c.Model == Journal {
			return i < k.nameCut
		}
		return k.rnd.Float64() < k.chance
	}
	return false
}

// content returns what is there of a write, and whether that is all; for a truncation, whether it happened.
func (k *keep) content(i int) (kept []span, whole bool) {
	o := &k.h[i]
	all := []span{{0, int64(len(o.Data))}}
	if k.d.durable(i) {
		return all, true
	}
	switch k.c.Take {
	case Everything:
		return all, true
	case Prefix, Torn:
		if i < k.cut {
			return all, true
		}
		if k.c.Take == Torn && i == k.cut && len(o.Data) > 0 {
			return []span{{0, k.rnd.Int64N(int64(len(o.Data)))}}, false
		}
	case Subset:
		if o.Kind == Truncate {
			return nil, k.rnd.Float64() < k.chance
		}
		whole = true
		for start := int64(0); start < int64(len(o.Data)); {
			end := min(start+page-(o.Offset+start)%page, int64(len(o.Data)))
			if k.rnd.Float64() < k.chance {
				kept = append(kept, span{start, end})
			} else {
				whole = false
			}
			start = end
		}
		return kept, whole
	}
	return nil, false
}
