package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// disk is a small file system of a test's own, which it can fill.
type disk struct {
	t   testing.TB
	dir string
}

// newDisk mounts a file system of the given size until the test ends. That takes the right to mount (CAP_SYS_ADMIN), which
// root has, in a container only with --cap-add SYS_ADMIN.
func newDisk(t testing.TB, size int64) *disk {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("stackstream-test", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC,
		fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		t.Fatalf("mount a small file system to fill: %v: this test needs the right to mount (CAP_SYS_ADMIN), "+
			"as root has it; in a container start it with --cap-add SYS_ADMIN", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return &disk{t: t, dir: dir}
}

// store is where a server keeps its files.
func (d *disk) store() string { return filepath.Join(d.dir, "store") }

func (d *disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill takes all space but so many bytes, as a log that nobody rotates does.
func (d *disk) fill(but int64) {
	d.t.Helper()
	f, err := os.OpenFile(d.ballast(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for {
		free := d.free() - but
		if free <= 0 {
			return
		}
		_, err := f.Write(block[:min(free, int64(len(block)))])
		if errors.Is(err, syscall.ENOSPC) {
			return
		}
		if err != nil {
			d.t.Fatal(err)
		}
	}
}

// clear makes room again.
func (d *disk) clear() {
	d.t.Helper()
	if err := os.Remove(d.ballast()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) free() int64 {
	d.t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &s); err != nil {
		d.t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}
