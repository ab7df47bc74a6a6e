package jetstream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"stackstream/event"
)

// emptyDir makes a directory, or accepts one that is there and empty.
func emptyDir(dir string) error {
	if dir == "" {
		return errors.New("no directory is named")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == manifestName }) {
		return fmt.Errorf("%s holds a backup already: name another directory, or remove it", dir)
	}
	return fmt.Errorf("%s is not empty and holds no complete backup (%s is missing): name another directory, or remove it",
		dir, manifestName)
}

// backupFile is a file of a backup while it is written. Only who backs up may read it.
type backupFile struct {
	name string
	file *os.File
	sum  hash.Hash
	size int64
}

// createFile makes a file anew: what is there is from a try that failed.
func createFile(dir, name string) (*backupFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &backupFile{name: name, file: f, sum: sha256.New()}, nil
}

func (f *backupFile) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	f.sum.Write(p[:n])
	f.size += int64(n)
	return n, err
}

// close makes the file durable.
func (f *backupFile) close() (BackupFile, error) {
	err := errors.Join(f.file.Sync(), f.file.Close())
	return BackupFile{Name: f.name, Size: f.size, SHA256: hex.EncodeToString(f.sum.Sum(nil))}, err
}

func writeFile(dir, name string, content []byte) (*BackupFile, error) {
	f, err := createFile(dir, name)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(content)
	written, closeErr := f.close()
	if err = errors.Join(err, closeErr); err != nil {
		return nil, err
	}
	return &written, nil
}

func writeRecords(dir, name string, records []record) (*BackupFile, error) {
	text, err := json.Marshal(records)
	if err != nil {
		return nil, err
	}
	return writeFile(dir, name, text)
}

// writeManifest ends a backup.
func (b *Backup) writeManifest() error {
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	draft := manifestName + ".new"
	if _, err := writeFile(b.dir, draft, append(text, '\n')); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(b.dir, draft), filepath.Join(b.dir, manifestName)); err != nil {
		return err
	}
	dir, err := os.Open(b.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// OpenBackup reads the manifest of a backup. Errors of the kind event.Invalid say why the directory is none, or none that
// this version can read.
func OpenBackup(dir string) (*Backup, error) {
	const op = "open the backup"
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	switch {
	case errors.Is(err, fs.ErrNotExist) && isDir(dir):
		return nil, invalid(op, fmt.Errorf("%s has no %s: it is no backup, or one that was interrupted", dir, manifestName))
	case err != nil:
		return nil, invalid(op, err)
	}
	b := &Backup{dir: dir}
	if err := event.Decode(text, backupFormat, b); err != nil {
		return nil, invalid(op, fmt.Errorf("%s: %w", filepath.Join(dir, manifestName), err))
	}
	if b.ID == "" || len(b.Streams) == 0 {
		return nil, invalid(op, fmt.Errorf("%s names no streams", filepath.Join(dir, manifestName)))
	}
	for _, s := range b.Streams {
		if s.Config.Metadata[metaRestoring] != "" {
			return nil, invalid(op, fmt.Errorf("%s is of a store that was restored in part: its %s lacks what would never be missed; "+
				"use another backup", dir, s.Name))
		}
	}
	for _, f := range b.files() {
		if !filepath.IsLocal(f.Name) {
			return nil, invalid(op, fmt.Errorf("%s names the file %q, which is not in it", manifestName, f.Name))
		}
	}
	return b, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// Dir is where the backup is.
func (b *Backup) Dir() string { return b.dir }

// Size is how many bytes its files have together.
func (b *Backup) Size() int64 {
	var size int64
	for _, f := range b.files() {
		size += f.Size
	}
	return size
}

func (b *Backup) files() []BackupFile {
	var files []BackupFile
	for _, s := range b.Streams {
		files = append(files, s.Snapshot)
		if s.Cursors != nil {
			files = append(files, *s.Cursors)
		}
		files = append(files, s.Bodies...)
	}
	return files
}

// Verify reads every file of the backup, compares its hash, goes through the snapshots as a restore would, and looks whether
// the streams fit together. An error of the kind event.Invalid names the first file that is damaged.
func (b *Backup) Verify(ctx context.Context, progress func(stream string, done, total uint64)) error {
	const op = "verify the backup"
	for _, f := range b.files() {
		if err := b.check(ctx, f); err != nil {
			return invalidUnless(ctx, op, err)
		}
	}
	for i := range b.Streams {
		s := &b.Streams[i]
		scan, file, err := b.open(s)
		if err != nil {
			return invalid(op, err)
		}
		scan.take = func(*message) error {
			if progress != nil {
				progress(s.Name, scan.held.Messages, s.Messages)
			}
			return ctx.Err()
		}
		err = errors.Join(scan.read(file), file.Close())
		if err == nil && (scan.held.Messages != s.Messages || scan.held.Last != s.Last || scan.held.Through != s.Through) {
			err = fmt.Errorf("%d messages up to %d count, and the manifest speaks of %d up to %d",
				scan.held.Messages, scan.held.Last, s.Messages, s.Last)
		}
		if err != nil {
			return invalidUnless(ctx, op, fmt.Errorf("%s: %w", filepath.Join(b.dir, s.Snapshot.Name), err))
		}
	}
	if err := b.fits(); err != nil {
		return invalid(op, err)
	}
	return nil
}

// invalidUnless gives err the kind Invalid unless ctx has ended.
func invalidUnless(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", op, ctx.Err())
	}
	return invalid(op, err)
}

// check compares a file with what the manifest says of it.
func (b *Backup) check(ctx context.Context, want BackupFile) error {
	path := filepath.Join(b.dir, want.Name)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, readUntil{ctx, f})
	switch {
	case err != nil:
		return err
	case size != want.Size:
		return fmt.Errorf("%s has %d bytes, %d were written: it is damaged", path, size, want.Size)
	case hex.EncodeToString(sum.Sum(nil)) != strings.ToLower(want.SHA256):
		return fmt.Errorf("%s does not have the hash that it was written with: it is damaged", path)
	}
	return nil
}

// readUntil ends with ctx.
type readUntil struct {
	ctx context.Context
	io.Reader
}

func (r readUntil) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// open begins to go through a stream's snapshot.
func (b *Backup) open(s *BackupStream) (*scan, *os.File, error) {
	cursors, err := b.cursors(s)
	if err != nil {
		return nil, nil, err
	}
	f, err := os.Open(filepath.Join(b.dir, s.Snapshot.Name))
	if err != nil {
		return nil, nil, err
	}
	scan := newScan(s.Name, cursors)
	if b.Format < formatTraces {
		scan.traces = nil
	}
	return scan, f, nil
}

// cursors returns the cursors of a stream, nil for one that has none.
func (b *Backup) cursors(s *BackupStream) ([]record, error) {
	if s.Cursors == nil {
		return nil, nil
	}
	path := filepath.Join(b.dir, s.Cursors.Name)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	records := []record{}
	if err := json.Unmarshal(text, &records); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return records, nil
}
