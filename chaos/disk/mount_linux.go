package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// mount tries a loop device, then memory.
func mount(dir string, size int64) (kind string, err error) {
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("%w: only root may", ErrUnavailable)
	}
	loop := mountLoop(dir, size)
	if loop == nil {
		return "ext4", nil
	}
	memory := mountMemory(dir, size)
	if memory == nil {
		return "tmpfs", nil
	}
	return "", fmt.Errorf("%w: ext4: %w; tmpfs: %w", ErrUnavailable, loop, memory)
}

func mountMemory(dir string, size int64) error {
	return syscall.Mount("chaos-disk", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", size))
}

func mountLoop(dir string, size int64) error {
	image := dir + suffix
	if err := os.Truncate(image, size); err != nil {
		return err
	}
	// Nothing is kept back for root: we want to fill it, and servers may be root. What would be initialized later, in the
	// background, is now.
	if err := run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image); err != nil {
		return err
	}
	// mount frees the loop device by itself when the last user of the file system is gone, also when we are killed before.
	if err := run("mount", "-o", "loop", image, dir); err != nil {
		return err
	}
	if err := os.Remove(dir + "/lost+found"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(err, unmount(dir))
	}
	return nil
}

// run runs a program of the system, which is not in the PATH of everybody.
func run(name string, args ...string) error {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if err != nil {
			path, err = exec.LookPath(dir + name)
		}
	}
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(context.Background(), path, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// unmount takes a file system out of the tree, at once if it is used, and for good when it is no more.
func unmount(dir string) error {
	err := syscall.Unmount(dir, 0)
	if errors.Is(err, syscall.EBUSY) {
		err = syscall.Unmount(dir, syscall.MNT_DETACH)
	}
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, os.ErrNotExist) {
		return nil // it is not mounted
	}
	return err
}

// fill extends a file, by less and less, until not a single block can be had.
func fill(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := syscall.Fsync(int(file.Fd())); err != nil { // what others have removed is free after that
		return err
	}
	var fs syscall.Statfs_t
	if err := syscall.Fstatfs(int(file.Fd()), &fs); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	end, block := info.Size(), fs.Bsize
	for step := max(int64(fs.Bavail), 1) * block; step >= block; {
		switch err := syscall.Fallocate(int(file.Fd()), 0, end, step); {
		case err == nil:
			end += step
		case errors.Is(err, syscall.ENOSPC):
			step = step / 2 / block * block
		case !errors.Is(err, syscall.EINTR):
			return err
		}
	}
	return nil
}
