package embedded

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"stackstream/jetstream"
)

// lockName is the file in the store directory that its owner holds locked. It has the owner's pid in it. The lock ends
// with the process, however that ends.
const lockName = "owner.lock"

// lockDir makes this process the directory's owner until the file is closed.
func lockDir(dir string) (*os.File, error) {
	const op = "lock the store directory"
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, invalid(op, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			pid, _ := io.ReadAll(io.LimitReader(f, 32))
			err = &jetstream.StoreInUse{Dir: dir, Process: strings.TrimSpace(string(pid))}
		}
		return nil, errors.Join(unavailable(op, err), f.Close())
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	}
	if err != nil {
		return nil, errors.Join(unavailable(op, err), f.Close())
	}
	return f, nil
}

// allowedFile returns how many bytes the streams may take in dir: wanted, but never more than diskShare of what is free
// there or taken by them already. wanted 0 is as much as that.
func allowedFile(dir string, wanted int64) (int64, error) {
	d, err := diskOf(dir)
	if err != nil {
		return 0, err
	}
	used, err := usedBytes(dir)
	if err != nil {
		return 0, fmt.Errorf("ask for used disk space: %w", err)
	}
	most := int64(float64(d.free+used) * diskShare)
	if wanted > 0 && wanted < most {
		return wanted, nil
	}
	return most, nil
}

// usedBytes adds up the files below dir.
func usedBytes(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.Type().IsRegular() {
			info, err := entry.Info()
			if err != nil {
				return err
			}
			sum += info.Size()
		}
		return nil
	})
	return sum, err
}

// syncTree makes all files and directories below dir durable. What is gone when it comes to it needs that no more.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != dir {
			return nil
		}
		if err != nil {
			return err
		}
		if !entry.Type().IsRegular() && !entry.IsDir() {
			return nil
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
