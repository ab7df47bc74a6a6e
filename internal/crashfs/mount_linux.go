package crashfs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// FS is a file system that is mounted.
type FS struct {
	dir    string
	server *fuse.Server

	mu      sync.Mutex
	history History
	lastID  Node
}

// Mount mounts a file system on dir, which must be there. It begins with a copy of what is below from, all of it
// durable; from "" is empty. It needs /dev/fuse and the right to mount, or fusermount.
func Mount(dir, from string) (*FS, error) {
	f := &FS{dir: dir, lastID: Root}
	root := f.newNode(Root, syscall.S_IFDIR|0o700)
	if from != "" {
		if err := root.load(from); err != nil {
			return nil, fmt.Errorf("read what the file system begins with: %w", err)
		}
		f.history = append(f.history, Op{Kind: Settle})
	}
	// Nothing changes but by way of the kernel, which may therefore remember all it knows.
	forever := time.Hour
	server, err := fs.Mount(dir, root, &fs.Options{
		MountOptions: fuse.MountOptions{
			DirectMount: true, FsName: "crashfs", Name: "crashfs", DisableXAttrs: true, MaxWrite: 1 << 20,
		},
		EntryTimeout: &forever, AttrTimeout: &forever, NegativeTimeout: &forever,
		OnAdd: func(ctx context.Context) { root.show(ctx) },
	})
	if err != nil {
		return nil, fmt.Errorf("mount a FUSE file system on %s: %w", dir, err)
	}
	f.server = server
	return f, nil
}

// Close unmounts it. No file may be open; if one is, that is an error, and the file system is gone once it is closed.
func (f *FS) Close() error {
	err := f.server.Unmount()
	if err != nil {
		err = errors.Join(fmt.Errorf("unmount %s: %w", f.dir, err), syscall.Unmount(f.dir, syscall.MNT_DETACH))
	}
	return err
}

// Now is how many Ops there were so far: History.Image of it is what a cut now may leave.
func (f *FS) Now() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.history)
}

// History is what was done so far. It must not be changed.
func (f *FS) History() History {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clip(f.history)
}

// do records an Op and has the effect that goes with it.
func (f *FS) do(o Op, effect func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.history = append(f.history, o)
	if effect != nil {
		effect()
	}
}

func (f *FS) newNode(id Node, mode uint32) *node {
	n := &node{fs: f, id: id, mode: mode}
	if mode&syscall.S_IFDIR != 0 {
		n.names = map[string]*node{}
	}
	return n
}

func (f *FS) newID() Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lastID++
	return f.lastID
}

// node is a file or a directory. FS.mu guards what is in it.
type node struct {
	fs.Inode
	fs    *FS
	id    Node
	mode  uint32
	data  []byte
	names map[string]*node // of a directory; go-fuse keeps them as well
}

// handle is an open file.
type handle struct{ sync bool }

func open(flags uint32) handle { return handle{sync: flags&syscall.O_DSYNC != 0} } // O_SYNC has that bit, too

// load fills a directory before it is mounted.
func (n *node) load(from string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(from, entry.Name())
		if entry.IsDir() {
			child := n.add(entry.Name(), Mkdir, syscall.S_IFDIR|0o700)
			if err := child.load(path); err != nil {
				return err
			}
			continue
		}
		child := n.add(entry.Name(), Create, syscall.S_IFREG|0o600)
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		child.fs.do(Op{Kind: Write, Node: child.id, Data: data}, func() { child.data = slices.Clone(data) })
	}
	return nil
}

// show tells go-fuse what load found.
func (n *node) show(ctx context.Context) {
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		child := n.names[name]
		n.AddChild(name, n.inode(ctx, child), true)
		child.show(ctx)
	}
}

func (n *node) inode(ctx context.Context, child *node) *fs.Inode {
	return n.NewPersistentInode(ctx, child, fs.StableAttr{Mode: child.mode & syscall.S_IFMT, Ino: uint64(child.id)})
}

func (n *node) add(name string, kind Kind, mode uint32) *node {
	child := n.fs.newNode(n.fs.newID(), mode)
	n.fs.do(Op{Kind: kind, Node: child.id, Dir: n.id, Name: name}, func() { n.names[name] = child })
	return child
}

func (n *node) attr(out *fuse.Attr) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	out.Mode, out.Size, out.Ino, out.Nlink = n.mode, uint64(len(n.data)), uint64(n.id), 1
	out.Uid, out.Gid = uint32(os.Getuid()), uint32(os.Getgid())
}

var (
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
	_ fs.NodeFlusher   = (*node)(nil)
	_ fs.NodeStatfser  = (*node)(nil)
)

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.attr(&out.Attr)
	return 0
}

func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		n.truncate(int64(size))
	}
	if mode, ok := in.GetMode(); ok {
		n.fs.mu.Lock()
		n.mode = n.mode&syscall.S_IFMT | mode&0o7777
		n.fs.mu.Unlock()
	}
	n.attr(&out.Attr)
	return 0
}

func (n *node) truncate(size int64) {
	n.fs.do(Op{Kind: Truncate, Node: n.id, Size: size}, func() { n.data = resize(n.data, size) })
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (
	*fs.Inode, fs.FileHandle, uint32, syscall.Errno,
) {
	child := n.add(name, Create, syscall.S_IFREG|mode&0o7777)
	child.attr(&out.Attr)
	return n.inode(ctx, child), open(flags), 0, 0
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	child := n.add(name, Mkdir, syscall.S_IFDIR|mode&0o7777)
	child.attr(&out.Attr)
	return n.inode(ctx, child), 0
}

func (n *node) Unlink(_ context.Context, name string) syscall.Errno { return n.remove(name) }

func (n *node) Rmdir(_ context.Context, name string) syscall.Errno { return n.remove(name) }

func (n *node) remove(name string) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	child := n.names[name]
	switch {
	case child == nil:
		return syscall.ENOENT
	case len(child.names) > 0:
		return syscall.ENOTEMPTY
	}
	n.fs.history = append(n.fs.history, Op{Kind: Remove, Node: child.id, Dir: n.id, Name: name})
	delete(n.names, name)
	return 0
}

func (n *node) Rename(
	_ context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32,
) syscall.Errno {
	to := newParent.(*node)
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	child := n.names[name]
	switch before := to.names[newName]; {
	case flags != 0:
		return syscall.EINVAL
	case child == nil:
		return syscall.ENOENT
	case before != nil && len(before.names) > 0:
		return syscall.ENOTEMPTY
	}
	n.fs.history = append(n.fs.history, Op{
		Kind: Rename, Node: child.id, Dir: n.id, Name: name, NewDir: to.id, NewName: newName,
	})
	delete(n.names, name)
	to.names[newName] = child
	return 0
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_TRUNC != 0 {
		n.truncate(0)
	}
	return open(flags), fuse.FOPEN_KEEP_CACHE, 0
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	read := copy(dest, n.data[min(off, int64(len(n.data))):])
	return fuse.ReadResultData(dest[:read]), 0
}

func (n *node) Write(_ context.Context, h fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	data = slices.Clone(data)
	n.fs.do(Op{Kind: Write, Node: n.id, Offset: off, Data: data}, func() {
		if end := off + int64(len(data)); end > int64(len(n.data)) {
			n.data = resize(n.data, end)
		}
		copy(n.data[off:], data)
	})
	if open, ok := h.(handle); ok && open.sync {
		n.fs.do(Op{Kind: Fsync, Node: n.id}, nil)
	}
	return uint32(len(data)), 0
}

// Fsync is of a file or a directory.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	n.fs.do(Op{Kind: Fsync, Node: n.id}, nil)
	return 0
}

// Flush says that there is none. The kernel asks once and then closes files without waiting for an answer, which a process
// that ends with files open in its own file system could not give any more.
func (n *node) Flush(context.Context, fs.FileHandle) syscall.Errno { return syscall.ENOSYS }

// Statfs tells of more space than a test needs.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Frsize, out.NameLen = page, page, 255
	out.Blocks, out.Bfree, out.Bavail = 1<<24, 1<<24, 1<<24
	return 0
}
