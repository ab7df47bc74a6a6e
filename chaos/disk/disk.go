// Package disk makes a file system of a given size that can be filled to the last block, and freed again: the disk of one
// server that is full, while the machine's is not.
//
// It is ext4 on a loop device where the machine lets us (as root), else a tmpfs, which is full in the same way but is memory: it
// knows no device that writes slowly, and what is synced there is not. Where neither can be mounted, New says ErrUnavailable.
//
// What it is not: a disk that fails or loses what it had confirmed. Nor does a full disk stop who overwrites blocks that he has,
// or makes an empty file.
package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrUnavailable says that nothing can be mounted here; the error that wraps it says why.
var ErrUnavailable = errors.New("no file system can be mounted")

// suffix is of the sparse file beside a disk's directory. Also a disk in memory has one: it tells Sweep whose the directory is.
const suffix = ".disk"

// ballast is the file on a disk that fills it.
const ballast = ".ballast"

// Disk is a file system. Its methods are not safe for concurrent use.
type Disk struct {
	dir  string
	kind string
}

// New mounts a file system of about size bytes (what it needs for itself comes off that) at dir, which must be missing or empty.
// 16 MiB are enough for it to work.
func New(dir string, size int64) (*Disk, error) { return create(dir, size, mount) }

func create(dir string, size int64, mount func(dir string, size int64) (string, error)) (*Disk, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		return nil, errors.Join(err, fmt.Errorf("a disk at %s: there are %d files", dir, len(files)))
	}
	file, err := os.OpenFile(dir+suffix, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("a disk at %s, where one was not swept: %w", dir, err)
	}
	file.Close()
	kind, err := mount(dir, size)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a disk at %s: %w", dir, err), remove(dir))
	}
	return &Disk{dir, kind}, nil
}

// Dir is where the disk is.
func (d *Disk) Dir() string { return d.dir }

// Kind is "ext4" or "tmpfs".
func (d *Disk) Kind() string { return d.kind }

// Fill takes all that is free. What others free afterwards is free until Fill is called again.
func (d *Disk) Fill() error {
	if err := fill(filepath.Join(d.dir, ballast)); err != nil {
		return fmt.Errorf("fill the disk at %s: %w", d.dir, err)
	}
	return nil
}

// Free gives back what Fill has taken. It returns when others can have it.
func (d *Disk) Free() error {
	err := os.Remove(filepath.Join(d.dir, ballast))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("free the disk at %s: %w", d.dir, err)
	}
	root, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return root.Sync() // ext4 gives blocks back when the removal is in its journal
}

// Close removes the disk and all that is on it. Who still has files open there keeps them until he closes them.
func (d *Disk) Close() error { return discard(d.dir) }

// Sweep removes all disks below parent, which a process made that was killed. Nobody may be using parent.
func Sweep(parent string) error {
	var failed []error
	err := filepath.WalkDir(parent, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if dir, ok := trim(path); ok && entry.Type().IsRegular() {
			failed = append(failed, discard(dir))
		}
		return nil
	})
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(append(failed, err)...)
}

func trim(path string) (string, bool) {
	dir := path[:max(0, len(path)-len(suffix))]
	return dir, dir+suffix == path && filepath.Base(dir) != "."
}

func discard(dir string) error {
	if err := unmount(dir); err != nil {
		return fmt.Errorf("unmount the disk at %s: %w", dir, err)
	}
	return remove(dir)
}

// remove removes the directory only if it is empty: one that is not is still mounted, or was no disk.
func remove(dir string) error {
	var failed []error
	for _, path := range []string{dir, dir + suffix} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}
