package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"stackstream/jetstream"
)

// What counts as full, and as room again. A disk of usual size is full with 32 MiB left: a server that runs into its very
// end stores half a message.
const (
	fullBytes = 32 << 20
	roomBytes = 64 << 20
	roomMost  = 1 << 30
	probeSize = 1 << 20
	probeName = "probe"
)

// disk is the file system under a directory.
type disk struct {
	size, free int64
	noFiles    bool // it has a limit of files, and no more of them
}

func diskOf(dir string) (disk, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return disk{}, fmt.Errorf("ask for free disk space: %w", err)
	}
	block := int64(s.Bsize) //nolint:unconvert // its type is not the same on every system
	return disk{
		size: int64(s.Blocks) * block, free: int64(s.Bavail) * block, noFiles: s.Files > 0 && s.Ffree == 0,
	}, nil
}

// full tells whether little more can be written.
func (d disk) full() bool { return d.noFiles || d.free < min(fullBytes, d.size/64) }

// room is how much must be free before a server that could not write is started again: enough that this is not all over
// again at once.
func (d disk) room() int64 { return min(max(roomBytes, d.size/100), roomMost, d.size/4) }

func (d disk) hasRoom() bool { return !d.noFiles && d.free >= d.room() }

// left says how much is free.
func (d disk) left() string {
	if d.noFiles {
		return "it can take no more files"
	}
	return jetstream.Bytes(d.free).String() + " are free"
}

// roomToStart returns a *jetstream.DiskFull unless the disk has what a server needs to start. A disk that is too small for the
// streams even when it is empty is none: waiting for space would not help.
func roomToStart(dir string, cfg jetstream.EmbeddedConfig) error {
	at := dir
	for {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at) // a full disk does not even take the directory
	}
	d, err := diskOf(at)
	if err != nil {
		return err
	}
	if d.full() {
		return &jetstream.DiskFull{Dir: dir, Free: d.free, Need: d.room()}
	}
	if at != dir {
		return nil
	}
	most, err := allowedFile(dir, 0)
	if err != nil {
		return err
	}
	if most < cfg.Least && cfg.Least <= int64(float64(d.size)*diskShare) {
		return &jetstream.DiskFull{Dir: dir, Free: most, Need: cfg.Least}
	}
	return nil
}

// probe writes something into the directory, so that the disk has to take it, and removes it.
func probe(dir string) (err error) {
	name := filepath.Join(dir, probeName)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(name)) }()
	if _, err := f.Write(make([]byte, probeSize)); err != nil {
		return err
	}
	return f.Sync()
}
