package crashfs_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stackstream/internal/crashfs"
)

// left writes the image of a whole history out and reads it.
func left(t *testing.T, h crashfs.History, c crashfs.Choice) map[string]string {
	t.Helper()
	dir := t.TempDir()
	must(t, h.Image(len(h), c).WriteTo(dir))
	return tree(t, dir)
}

// Short forms for histories.
func create(n, dir crashfs.Node, name string) crashfs.Op {
	return crashfs.Op{Kind: crashfs.Create, Node: n, Dir: dir, Name: name}
}

func mkdir(n, dir crashfs.Node, name string) crashfs.Op {
	return crashfs.Op{Kind: crashfs.Mkdir, Node: n, Dir: dir, Name: name}
}

func rename(n, dir crashfs.Node, name, to string) crashfs.Op {
	return crashfs.Op{Kind: crashfs.Rename, Node: n, Dir: dir, Name: name, NewDir: dir, NewName: to}
}

func remove(n, dir crashfs.Node, name string) crashfs.Op {
	return crashfs.Op{Kind: crashfs.Remove, Node: n, Dir: dir, Name: name}
}

func put(n crashfs.Node, at int64, text string) crashfs.Op {
	return crashfs.Op{Kind: crashfs.Write, Node: n, Offset: at, Data: []byte(text)}
}

func truncate(n crashfs.Node, size int64) crashfs.Op {
	return crashfs.Op{Kind: crashfs.Truncate, Node: n, Size: size}
}

func sync(n crashfs.Node) crashfs.Op { return crashfs.Op{Kind: crashfs.Fsync, Node: n} }

func TestWhatIsDurable(t *testing.T) {
	const root = crashfs.Root
	type files = map[string]string
	for name, test := range map[string]struct {
		history         crashfs.History
		journal, strict files
	}{
		"a write without an fsync": {
			crashfs.History{create(2, root, "a"), put(2, 0, "one"), sync(2), sync(root), put(2, 3, "two")},
			files{"a": "one"}, files{"a": "one"},
		},
		"the name of a file that was synced": {
			crashfs.History{create(2, root, "a"), put(2, 0, "one"), sync(2)},
			files{"a": "one"}, files{},
		},
		"the content of a file whose directory was synced": {
			crashfs.History{create(2, root, "a"), put(2, 0, "one"), sync(root)},
			files{"a": ""}, files{"a": ""},
		},
		"the names of new directories": {
			crashfs.History{mkdir(2, root, "d"), mkdir(3, 2, "e"), create(4, 3, "a"), put(4, 0, "one"), sync(4), sync(3), sync(2)},
			files{"d/": "", "d/e/": "", "d/e/a": "one"}, files{},
		},
		"names made before and after, elsewhere": {
			crashfs.History{mkdir(2, root, "d"), create(3, root, "a"), sync(3), create(4, root, "b")},
			files{"d/": "", "a": ""}, files{},
		},
		"an fsync of an old file": {
			crashfs.History{create(2, root, "a"), sync(root), create(3, root, "b"), sync(2)},
			files{"a": ""}, files{"a": ""},
		},
		"a rename": {
			crashfs.History{create(2, root, "a.tmp"), put(2, 0, "one"), sync(2), sync(root), rename(2, root, "a.tmp", "a")},
			files{"a.tmp": "one"}, files{"a.tmp": "one"},
		},
		"a rename over a file, with an fsync of the directory": {
			crashfs.History{
				create(2, root, "a"), put(2, 0, "old"), sync(2), create(3, root, "a.tmp"), put(3, 0, "new"),
				rename(3, root, "a.tmp", "a"), sync(root),
			},
			files{"a": ""}, files{"a": ""},
		},
		"a file removed": {
			crashfs.History{create(2, root, "a"), sync(2), sync(root), remove(2, root, "a")},
			files{"a": ""}, files{"a": ""},
		},
		"a truncation": {
			crashfs.History{create(2, root, "a"), put(2, 0, "one"), sync(2), sync(root), truncate(2, 0), put(2, 0, "t")},
			files{"a": "one"}, files{"a": "one"},
		},
		"what was there before": {
			crashfs.History{create(2, root, "a"), put(2, 0, "one"), {Kind: crashfs.Settle}, truncate(2, 1)},
			files{"a": "one"}, files{"a": "one"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for m, want := range map[crashfs.Model]files{crashfs.Journal: test.journal, crashfs.Strict: test.strict} {
				if diff := cmp.Diff(want, left(t, test.history, crashfs.Choice{Model: m})); diff != "" {
					t.Errorf("%s: %s", m, diff)
				}
			}
		})
	}
}

func TestAnythingMayBeLeftOfWhatIsNotDurable(t *testing.T) {
	pages := strings.Repeat("a", 4096) + strings.Repeat("b", 4096) + "c"
	h := crashfs.History{
		create(2, crashfs.Root, "f"), sync(crashfs.Root), put(2, 0, pages), truncate(2, 4096), put(2, 4096, "d"),
	}
	seen := map[string]bool{}
	for seed := range uint64(300) {
		for _, take := range []crashfs.Take{crashfs.Prefix, crashfs.Torn, crashfs.Subset} {
			seen[left(t, h, crashfs.Choice{Take: take, Seed: seed})["f"]] = true
		}
	}
	for what, want := range map[string]string{
		"nothing": "", "all of it": pages[:4096] + "d", "the write alone": pages, "its first page alone": pages[:4096],
		"its second page alone":         strings.Repeat("\x00", 4096) + pages[4096:8192],
		"the last write, not the first": strings.Repeat("\x00", 4096) + "d",
	} {
		if !seen[want] {
			t.Errorf("%s is never left", what)
		}
	}
	if seen[pages[:4096]+"d"+pages[4097:]] {
		t.Error("a write is there without the truncation before it")
	}
	torn := slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(s string) bool {
		return len(s)%4096 > 1 && strings.HasPrefix(pages, s)
	})
	if !torn {
		t.Error("no write is ever torn")
	}
}

// history draws what somebody may do to a few files and directories.
func history(t *rapid.T) crashfs.History {
	var h crashfs.History
	type place struct {
		dir  crashfs.Node
		name string
	}
	dirs, files := []crashfs.Node{crashfs.Root}, map[crashfs.Node]place{}
	next := crashfs.Root
	steps := rapid.IntRange(0, 25).Draw(t, "steps")
	for range steps {
		dir := rapid.SampledFrom(dirs).Draw(t, "dir")
		name := fmt.Sprint("f", next)
		known := slices.Sorted(maps.Keys(files))
		switch what := rapid.SampledFrom([]string{"create", "mkdir", "write", "truncate", "rename", "sync", "syncdir"}).Draw(t, "op"); {
		case what == "create" || len(files) == 0:
			next++
			h = append(h, create(next, dir, name))
			files[next] = place{dir, name}
		case what == "mkdir":
			next++
			h = append(h, mkdir(next, dir, name))
			dirs = append(dirs, next)
		case what == "syncdir":
			h = append(h, sync(dir))
		default:
			n := rapid.SampledFrom(known).Draw(t, "file")
			switch what {
			case "write":
				h = append(h, put(n, rapid.Int64Range(0, 9000).Draw(t, "at"), strings.Repeat("x", rapid.IntRange(1, 9000).Draw(t, "n"))))
			case "truncate":
				h = append(h, truncate(n, rapid.Int64Range(0, 9000).Draw(t, "size")))
			case "rename":
				to := fmt.Sprint(files[n].name, "'")
				h = append(h, rename(n, files[n].dir, files[n].name, to))
				files[n] = place{files[n].dir, to}
			case "sync":
				h = append(h, sync(n))
			}
		}
	}
	return h
}

func choice(t *rapid.T) crashfs.Choice {
	return crashfs.Choice{
		Model: rapid.SampledFrom([]crashfs.Model{crashfs.Journal, crashfs.Strict}).Draw(t, "model"),
		Take:  rapid.SampledFrom(crashfs.Takes()).Draw(t, "take"), Seed: rapid.Uint64().Draw(t, "seed"),
	}
}

// read writes an image out and reads it, without a *testing.T.
func read(t *rapid.T, im *crashfs.Image) map[string][]byte {
	dir, err := os.MkdirTemp("", "crashfs")
	if err == nil {
		defer os.RemoveAll(dir)
		err = im.WriteTo(dir)
	}
	found := map[string][]byte{}
	if err == nil {
		err = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() {
				found[path[len(dir):]], err = os.ReadFile(path)
			}
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Once everything was synced, the files and the directories, nothing can be lost, whatever comes after.
func TestWhatWasSyncedIsInEveryImage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := history(t)
		nodes := map[crashfs.Node]bool{crashfs.Root: true}
		for i := range h {
			nodes[h[i].Node] = true
		}
		for _, n := range slices.Sorted(maps.Keys(nodes)) {
			h = append(h, sync(n))
		}
		want := read(t, h.Image(len(h), crashfs.Choice{Take: crashfs.Everything}))
		h = append(h, create(1000, crashfs.Root, "later"), put(1000, 0, "later"))
		got := read(t, h.Image(len(h), choice(t)))
		delete(got, "/later")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// With a journal the names are those of some moment.
func TestTheJournalKeepsTheOrderOfNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, c := history(t), choice(t)
		c.Model = crashfs.Journal
		got := slices.Sorted(maps.Keys(read(t, h.Image(len(h), c))))
		for k := range len(h) + 1 {
			then := read(t, h.Image(k, crashfs.Choice{Take: crashfs.Everything}))
			if slices.Equal(got, slices.Sorted(maps.Keys(then))) {
				return
			}
		}
		t.Fatalf("there were never the names %q at once", got)
	})
}

func TestTheSameChoiceMakesTheSameImage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, c := history(t), choice(t)
		a, b := h.Image(len(h), c), h.Image(len(h), c)
		if a.Sum() != b.Sum() {
			t.Fatal("two sums of the same image")
		}
		if !maps.EqualFunc(read(t, a), read(t, b), bytes.Equal) {
			t.Fatal("two images of the same choice")
		}
	})
}
