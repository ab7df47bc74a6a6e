//go:build linux

package disk_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"stackstream/chaos/disk"
)

// TestMain is also the process that makes a disk and is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("DISK_TEST_DIR"); dir != "" {
		if _, err := disk.New(dir, 32<<20); err != nil {
			panic(err)
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	os.Exit(m.Run())
}

// available says whether disks can be had. Root must have them.
func available(t *testing.T, err error) bool {
	t.Helper()
	if err == nil {
		return true
	}
	if os.Geteuid() == 0 || !errors.Is(err, disk.ErrUnavailable) {
		t.Fatal(err)
	}
	t.Logf("not tried, since we are not root: %v", err)
	return false
}

func mounted(t *testing.T, dir string) bool {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(mounts), " "+dir+" ")
}

func gone(t *testing.T, dir string) {
	t.Helper()
	if mounted(t, dir) {
		t.Errorf("%s is still mounted", dir)
	}
	left, err := filepath.Glob(dir + "*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range loops {
		if of, _ := os.ReadFile(file); strings.HasPrefix(string(of), dir) {
			t.Errorf("%s is still in use: %s", file, of)
		}
	}
}

func TestFillAndFree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "server")
	d, err := disk.New(dir, 32<<20)
	if !available(t, err) {
		return
	}
	t.Logf("a disk of %s", d.Kind())
	fillAndFree(t, d)
	d, err = disk.NewInMemory(dir, 32<<20)
	if err != nil {
		t.Fatal(err)
	}
	fillAndFree(t, d)
}

func fillAndFree(t *testing.T, d *disk.Disk) {
	t.Helper()
	defer d.Close()
	dir := d.Dir()
	before := filepath.Join(dir, "before")
	if err := os.WriteFile(before, bytes.Repeat([]byte("x"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := d.Fill(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "after"), []byte("x"), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("write a byte on a full disk: %v", err)
		}
		grown, err := os.OpenFile(before, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := grown.WriteString("x"); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("append a byte on a full disk: %v", err)
		}
		grown.Close()
		if got, err := os.ReadFile(before); err != nil || len(got) != 1<<20 {
			t.Fatalf("read from a full disk: %d bytes, %v", len(got), err)
		}
		// What is removed is free, until it is filled again.
		if err := os.Remove(before); err != nil {
			t.Fatal(err)
		}
		if err := d.Fill(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(before, bytes.Repeat([]byte("x"), 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("write on a disk that is full again: %v", err)
		}
		if err := d.Free(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, 16<<20), 0o600); err != nil {
			t.Fatalf("write on a disk that was freed: %v", err)
		}
		if err := os.Remove(filepath.Join(dir, "large")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(before, bytes.Repeat([]byte("x"), 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Free(); err != nil {
		t.Fatalf("free what is free: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	gone(t, dir)
}

func TestCloseWhileItIsUsed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "server")
	d, err := disk.New(dir, 32<<20)
	if !available(t, err) {
		return
	}
	file, err := os.Create(filepath.Join(dir, "open"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("still"); err != nil {
		t.Fatal(err)
	}
	file.Close()
	if mounted(t, dir) {
		t.Fatal("still mounted")
	}
	if err := d.Close(); err != nil {
		t.Fatalf("close it again: %v", err)
	}
}

func TestSweepWhatAKilledProcessLeft(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "run", "server")
	d, err := disk.New(filepath.Join(parent, "probe"), 32<<20)
	if !available(t, err) {
		return
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DISK_TEST_DIR="+dir)
	out, err := cmd.CombinedOutput()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		t.Fatalf("the process that was to be killed: %v, %s", err, out)
	}
	if _, err := disk.New(dir, 32<<20); err == nil {
		t.Error("a disk where one is already")
	}
	if !mounted(t, dir) {
		t.Fatal("the process that was killed has left nothing")
	}
	for range 2 {
		if err := disk.Sweep(parent); err != nil {
			t.Fatal(err)
		}
		gone(t, dir)
	}
	if err := disk.Sweep(filepath.Join(parent, "missing")); err != nil {
		t.Fatal(err)
	}
}

func TestNewLeavesFilesAlone(t *testing.T) {
	dir := t.TempDir()
	kept := filepath.Join(dir, "kept")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.New(dir, 32<<20); err == nil {
		t.Fatal("mounted over files")
	}
	if _, err := os.Stat(kept); err != nil {
		t.Fatal(err)
	}
}
