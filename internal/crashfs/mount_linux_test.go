package crashfs_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stackstream/internal/crashfs"
)

// mount mounts a file system that is gone when the test is.
func mount(t *testing.T, from string) (*crashfs.FS, string) {
	t.Helper()
	dir := t.TempDir()
	f, err := crashfs.Mount(dir, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, f.Close()) })
	return f, dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write opens a file, writes to it and closes it.
func write(t *testing.T, path string, flags int, text string) {
	t.Helper()
	f, err := os.OpenFile(path, flags|os.O_WRONLY, 0o600)
	must(t, err)
	_, err = f.WriteString(text)
	must(t, err)
	must(t, f.Close())
}

func fsync(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

// tree reads everything below a directory; directories end in a slash.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if entry.IsDir() {
			found[name+"/"] = ""
			return nil
		}
		data, err := os.ReadFile(path)
		found[name] = string(data)
		return err
	}))
	return found
}

// image is what is left of the history so far.
func image(t *testing.T, f *crashfs.FS, c crashfs.Choice) map[string]string {
	t.Helper()
	dir := t.TempDir()
	h := f.History()
	must(t, h.Image(len(h), c).WriteTo(dir))
	return tree(t, dir)
}

func TestIsAFileSystem(t *testing.T) {
	before := t.TempDir()
	must(t, os.Mkdir(filepath.Join(before, "old"), 0o700))
	write(t, filepath.Join(before, "old/file"), os.O_CREATE, "as it was")
	f, dir := mount(t, before)

	must(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o700))
	write(t, filepath.Join(dir, "a/b/one"), os.O_CREATE, "one")
	write(t, filepath.Join(dir, "a/b/one"), os.O_APPEND, " and more")
	write(t, filepath.Join(dir, "a/two"), os.O_CREATE, "two")
	write(t, filepath.Join(dir, "a/two"), os.O_TRUNC, "2")
	write(t, filepath.Join(dir, "a/three"), os.O_CREATE, "three")
	must(t, os.Truncate(filepath.Join(dir, "a/three"), 2))
	must(t, os.Rename(filepath.Join(dir, "a/three"), filepath.Join(dir, "a/b/two")))
	must(t, os.Rename(filepath.Join(dir, "a/b"), filepath.Join(dir, "old/b")))
	write(t, filepath.Join(dir, "gone"), os.O_CREATE, "gone")
	must(t, os.Remove(filepath.Join(dir, "gone")))
	if err := os.Remove(filepath.Join(dir, "old")); err == nil {
		t.Error("a directory is removed that is not empty")
	}

	want := map[string]string{
		"old/": "", "old/file": "as it was", "old/b/": "", "old/b/one": "one and more", "old/b/two": "th", "a/": "", "a/two": "2",
	}
	if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, image(t, f, crashfs.Choice{Take: crashfs.Everything})); diff != "" {
		t.Errorf("image of everything: %s", diff)
	}
	for _, m := range []crashfs.Model{crashfs.Journal, crashfs.Strict} {
		want := map[string]string{"old/": "", "old/file": "as it was"}
		if diff := cmp.Diff(want, image(t, f, crashfs.Choice{Model: m})); diff != "" {
			t.Errorf("%s: image without what was not durable: %s", m, diff)
		}
	}
}

func TestSynchronousWritesAreDurable(t *testing.T) {
	f, dir := mount(t, "")
	for name, flags := range map[string]int{"sync": syscall.O_SYNC, "dsync": syscall.O_DSYNC, "not": 0} {
		write(t, filepath.Join(dir, name), os.O_CREATE|flags, name)
	}
	want := map[string]string{"sync": "sync", "dsync": "dsync"}
	got := image(t, f, crashfs.Choice{})
	delete(got, "not") // its name may be before the others
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFsyncOfFilesAndDirectories(t *testing.T) {
	f, dir := mount(t, "")
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
	write(t, filepath.Join(dir, "d/a"), os.O_CREATE, "a")
	fsync(t, filepath.Join(dir, "d/a"))
	write(t, filepath.Join(dir, "d/b"), os.O_CREATE, "b")
	for m, want := range map[crashfs.Model]map[string]string{
		crashfs.Journal: {"d/": "", "d/a": "a"}, crashfs.Strict: {},
	} {
		if diff := cmp.Diff(want, image(t, f, crashfs.Choice{Model: m})); diff != "" {
			t.Errorf("%s: after the fsync of a file: %s", m, diff)
		}
	}
	fsync(t, filepath.Join(dir, "d"))
	fsync(t, dir)
	want := map[string]string{"d/": "", "d/a": "a", "d/b": ""}
	for _, m := range []crashfs.Model{crashfs.Journal, crashfs.Strict} {
		if diff := cmp.Diff(want, image(t, f, crashfs.Choice{Model: m})); diff != "" {
			t.Errorf("%s: after the fsync of the directories: %s", m, diff)
		}
	}
}

// A second mount begins with what an image of the first one had.
func TestBeginsWithAnImage(t *testing.T) {
	f, dir := mount(t, "")
	write(t, filepath.Join(dir, "a"), os.O_CREATE|os.O_SYNC, "one")
	before := t.TempDir()
	must(t, f.History().Image(f.Now(), crashfs.Choice{}).WriteTo(before))
	f, dir = mount(t, before)
	write(t, filepath.Join(dir, "a"), os.O_APPEND, " two")
	if diff := cmp.Diff(map[string]string{"a": "one two"}, tree(t, dir)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "one"}, image(t, f, crashfs.Choice{})); diff != "" {
		t.Error(diff)
	}
}
