package crashfs

// durability says which Ops of a history were durable at its end.
type durability struct {
	ops     []bool
	journal int // Journal: the Ops before it that change names are durable
	first   int // no Op before it is anything but durable
}

func (d *durability) durable(i int) bool { return d.ops[i] }

// writes are the Ops that wrote what is not durable.
func (d *durability) writes(h History) []int {
	var found []int
	for i := d.first; i < len(h); i++ {
		if h[i].Kind == Write && !d.ops[i] {
			found = append(found, i)
		}
	}
	return found
}

// tracker follows what each fsync makes durable.
type tracker struct {
	durability
	model   Model
	content map[Node][]int // what was changed in a file since it was synced
	strict  map[Node][]int // Strict: the names changed in a directory since that was
	pending []int          // Journal: changes of names that are not durable

	// The first Op after the last change of a node's own name, and of a name in a directory.
	own, in map[Node]int
	parent  map[Node]Node
}

// durability goes through the history once.
func (h History) durability(m Model) durability {
	t := &tracker{
		durability: durability{ops: make([]bool, len(h))}, model: m,
		content: map[Node][]int{}, strict: map[Node][]int{},
		own: map[Node]int{}, in: map[Node]int{}, parent: map[Node]Node{},
	}
	for i := range h {
		t.add(i, &h[i])
	}
	for t.first < len(h) && (t.ops[t.first] || h[t.first].Kind >= Fsync) {
		t.first++
	}
	return t.durability
}

func (t *tracker) add(i int, o *Op) {
	switch o.Kind {
	case Create, Mkdir, Remove:
		t.named(i, o.Node, o.Dir)
	case Rename:
		t.named(i, o.Node, o.Dir)
		if o.NewDir != o.Dir {
			t.named(i, o.Node, o.NewDir)
		}
	case Write, Truncate:
		t.content[o.Node] = append(t.content[o.Node], i)
	case Fsync:
		t.sync(t.content, o.Node)
		if t.model == Strict {
			t.sync(t.strict, o.Node)
		} else {
			t.commit(t.reach(o.Node))
		}
	case Settle:
		for j := range i {
			t.ops[j] = true
		}
		clear(t.content)
		clear(t.strict)
		t.commit(i)
	}
}

// named notes a change of n's name in dir. With two of them the later one is where n is then.
func (t *tracker) named(i int, n, dir Node) {
	t.own[n], t.in[dir] = i+1, i+1
	t.parent[n] = dir
	t.strict[dir] = append(t.strict[dir], i)
	if len(t.pending) == 0 || t.pending[len(t.pending)-1] != i {
		t.pending = append(t.pending, i)
	}
}

func (t *tracker) sync(list map[Node][]int, n Node) {
	for _, i := range list[n] {
		t.ops[i] = true
	}
	delete(list, n)
}

// reach is up to where an fsync of n makes the journal durable.
func (t *tracker) reach(n Node) int {
	most := max(t.own[n], t.in[n])
	for up, ok := t.parent[n]; ok; up, ok = t.parent[up] {
		most = max(most, t.own[up])
	}
	return most
}

// commit makes the journal durable up to an Op.
func (t *tracker) commit(end int) {
	t.journal = max(t.journal, end)
	for len(t.pending) > 0 && t.pending[0] < t.journal {
		t.ops[t.pending[0]] = true
		t.pending = t.pending[1:]
	}
}
