package crashfs

import "fmt"

// Kind is what an Op did.
type Kind uint8

// The kinds of Ops.
const (
	Create   Kind = iota + 1 // Node is a new file, Name in Dir
	Mkdir                    // Node is a new directory, Name in Dir
	Remove                   // Name in Dir, which was Node, is gone
	Rename                   // Name in Dir, which is Node, became NewName in NewDir, whatever that was before
	Write                    // Data at Offset of Node
	Truncate                 // Node has Size bytes
	Fsync                    // of Node, a file or a directory
	Settle                   // all before is durable: what a file system had when it was mounted
)

// Root is the Node of the directory that was mounted.
const Root Node = 1

// Node is a file or directory, whatever its name. It is never used again.
type Node uint64

// Op is one change of the file system, or one fsync.
type Op struct {
	Kind         Kind
	Node         Node
	Dir, NewDir  Node
	Name         string
	NewName      string
	Offset, Size int64
	Data         []byte
}

// names tells whether the Op changes names.
func (o *Op) names() bool { return o.Kind <= Rename }

// content tells whether the Op changes what is in a file.
func (o *Op) content() bool { return o.Kind == Write || o.Kind == Truncate }

// String is one line for people.
func (o *Op) String() string {
	switch o.Kind {
	case Create:
		return fmt.Sprintf("create %d: %q in %d", o.Node, o.Name, o.Dir)
	case Mkdir:
		return fmt.Sprintf("mkdir %d: %q in %d", o.Node, o.Name, o.Dir)
	case Remove:
		return fmt.Sprintf("remove %d: %q in %d", o.Node, o.Name, o.Dir)
	case Rename:
		return fmt.Sprintf("rename %d: %q in %d to %q in %d", o.Node, o.Name, o.Dir, o.NewName, o.NewDir)
	case Write:
		return fmt.Sprintf("write %d: %d bytes at %d", o.Node, len(o.Data), o.Offset)
	case Truncate:
		return fmt.Sprintf("truncate %d: to %d", o.Node, o.Size)
	case Fsync:
		return fmt.Sprintf("fsync %d", o.Node)
	case Settle:
		return "settle"
	}
	return fmt.Sprintf("Op of kind %d", o.Kind)
}

// History is what was done to a file system, in order.
type History []Op

// Path is the path that a Node had after the first k Ops, "" if it had none, for people.
func (h History) Path(n Node, k int) string {
	type place struct {
		dir  Node
		name string
	}
	at := map[Node]place{}
	for i := range h[:k] {
		switch o := &h[i]; o.Kind {
		case Create, Mkdir:
			at[o.Node] = place{o.Dir, o.Name}
		case Rename:
			at[o.Node] = place{o.NewDir, o.NewName}
		case Remove:
			delete(at, o.Node)
		}
	}
	path := ""
	for n != Root {
		p, ok := at[n]
		if !ok {
			return ""
		}
		path = "/" + p.name + path
		n = p.dir
	}
	return path
}
