package app

import (
	"maps"
	"os"
	"time"
)

const (
	// lookEvery is how often files are looked at. Asking for a file's size and time is the one way that works for an editor that
	// puts another file in its place, for the links that Kubernetes exchanges, and for a directory on another machine, and it
	// costs next to nothing; the kernel's notices come for some of them only.
	lookEvery = 500 * time.Millisecond
	// settled is for how long files that have changed must have been as they are before they are read: whoever writes may not
	// be done.
	settled = time.Second
)

// look is what files were like at a moment. nil stands for one that is not there.
type look map[string]os.FileInfo

func lookAt(paths []string) look {
	found := look{}
	for _, path := range paths {
		info, err := os.Stat(path) // of the file that a link leads to
		if err != nil {
			info = nil
		}
		found[path] = info
	}
	return found
}

// same tells whether the files are the same and nothing was written into them.
func (l look) same(other look) bool {
	return maps.EqualFunc(l, other, func(a, b os.FileInfo) bool {
		if a == nil || b == nil {
			return a == nil && b == nil
		}
		return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
	})
}

// watch tells when files have changed and settled. It is not safe for concurrent use.
type watch struct {
	paths []string
	taken look      // as they were when they were last read
	last  look      // as they were when they were last looked at
	since time.Time // when they were first seen so
}

// changed looks at the files, and tells whether they are to be read.
func (w *watch) changed() bool {
	now := lookAt(w.paths)
	if !now.same(w.last) {
		w.last, w.since = now, time.Now()
	}
	return !now.same(w.taken) && time.Since(w.since) >= settled
}

// take says which files are watched from now on, and what they were like when they were read: taken may have more.
func (w *watch) take(paths []string, taken look) {
	w.paths, w.taken = paths, look{}
	for _, path := range paths {
		w.taken[path] = taken[path]
	}
}
