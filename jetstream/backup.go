package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"stackstream/event"
)

const (
	// BackupVersion is the oldest nats-server that can be backed up and restored to: earlier ones copy files, among which a
	// batch may be cut in half.
	BackupVersion = "2.15.0"

	backupFormat   = 2
	formatTraces   = 2 // from this one on the trace of a source that was set back counts, though it stands behind the cursor
	manifestName   = "manifest.json"
	snapshotSuffix = ".snapshot"
	cursorsSuffix  = ".cursors"
	bodyDir        = "bodies"
	// snapshotTries is how often a snapshot is begun before its failure counts: leaders change.
	snapshotTries = 3
)

// BackupStreams are the streams of a backup in the order in which they are read. What is made of something comes before that
// of which it is made: so each stream has all that those before it speak of, though all are written to meanwhile.
func BackupStreams() []string {
	return []string{event.StreamDead, event.StreamNormalized, event.StreamRaw, streamBodies}
}

const streamBodies = "OBJ_" + event.BucketBodies

// Backup is a directory with what the streams held, and this is what its manifest says. The manifest is written last: a
// directory without one is no backup.
type Backup struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
	// Stackstream and Server are the versions that wrote it; Cluster is the name of the cluster, "" for a single server.
	Stackstream string    `json:"stackstream"`
	Server      string    `json:"nats_server"`
	Cluster     string    `json:"cluster,omitempty"`
	Began       time.Time `json:"began"`
	Ended       time.Time `json:"ended"`
	// Streams are in the order in which they were read.
	Streams []BackupStream `json:"streams"`

	dir string
}

// BackupStream is one stream of a backup.
type BackupStream struct {
	Name    string              `json:"name"`
	Created time.Time           `json:"created"`
	Config  natsjs.StreamConfig `json:"config"`
	// Held is what the snapshot has that counts, see archive.go.
	Held
	Snapshot BackupFile  `json:"snapshot"`
	Cursors  *BackupFile `json:"cursors,omitempty"`
	// Bodies are objects that were stored again while the snapshot was made, so that it has neither the old nor the new one.
	Bodies []BackupFile `json:"bodies,omitempty"`
	// Durables are the consumers that come back with the stream.
	Durables []Durable `json:"durables,omitempty"`
}

// BackupFile is a file of a backup.
type BackupFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// BackupOptions says what to back up and where to.
type BackupOptions struct {
	// Dir is made if it is missing; what is in it already is never touched.
	Dir string
	// Streams are some of BackupStreams; none means all.
	Streams []string
	// Version is that of the program.
	Version string
	// Progress, if set, is told how many messages of a stream are read, of how many. It must not block.
	Progress func(stream string, done, total uint64)
}

// Backup writes the streams into a directory, while they are written to. Each is as it was at one moment for each of its
// cursors, and all of them fit together. It holds up nobody and changes nothing. When it ends early the directory has no
// manifest, and is no backup.
func (c *Client) Backup(ctx context.Context, o BackupOptions) (*Backup, error) {
	const op = "back up"
	streams, err := chosen(o.Streams)
	if err != nil {
		return nil, invalid(op, err)
	}
	if err := c.canBackUp(op); err != nil {
		return nil, err
	}
	if err := c.halfRestored(ctx, op, streams); err != nil {
		return nil, err
	}
	if err := emptyDir(o.Dir); err != nil {
		return nil, invalid(op, err)
	}
	b := &Backup{
		Format: backupFormat, ID: nuid.Next(), Stackstream: o.Version, Server: c.nc.ConnectedServerVersion(),
		Cluster: c.nc.ConnectedClusterName(), Began: time.Now().UTC().Truncate(time.Millisecond), dir: o.Dir,
	}
	ctx, release := c.failOnRefusal(ctx, func(string) bool { return true })
	defer release()
	for _, name := range streams {
		s, err := c.backupStream(ctx, o, name)
		if err != nil {
			return nil, readError(ctx, op+" "+name, err)
		}
		b.Streams = append(b.Streams, s)
	}
	if err := c.unchanged(ctx, op, b); err != nil {
		return nil, err
	}
	if err := b.fits(); err != nil {
		return nil, unavailable(op, fmt.Errorf("%w: a server has shown less than there is; try again", err))
	}
	b.Ended = time.Now().UTC().Truncate(time.Millisecond)
	if err := b.writeManifest(); err != nil {
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	return b, nil
}

// unchanged returns an error if a restore has begun since the backup did, of its streams, or has made one of them anew.
func (c *Client) unchanged(ctx context.Context, op string, b *Backup) error {
	names := make([]string, 0, len(b.Streams))
	for _, s := range b.Streams {
		names = append(names, s.Name)
	}
	if err := c.halfRestored(ctx, op, names); err != nil {
		return err
	}
	now, err := c.Look(ctx, names)
	if err != nil {
		return err
	}
	for _, s := range b.Streams {
		same := func(n StreamNow) bool { return n.is(StreamNow{Name: s.Name, created: s.Created}) }
		if !slices.ContainsFunc(now, same) {
			return unavailable(op, fmt.Errorf("%s was made anew meanwhile: begin again", s.Name))
		}
	}
	return nil
}

func (c *Client) canBackUp(op string) error {
	name, version := c.nc.ConnectedServerName(), c.nc.ConnectedServerVersion()
	if !atLeast(version, BackupVersion) {
		return invalid(op, fmt.Errorf("server %q is nats-server %s: at least %s is needed for it", name, version, BackupVersion))
	}
	return nil
}

// chosen sorts the names of streams as they are to be read.
func chosen(names []string) ([]string, error) {
	all := BackupStreams()
	for _, name := range names {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("%q is none of the streams %s", name, strings.Join(all, ", "))
		}
	}
	if len(names) == 0 {
		return all, nil
	}
	return slices.DeleteFunc(all, func(name string) bool { return !slices.Contains(names, name) }), nil
}

// backupStream tries until there is a whole snapshot.
func (c *Client) backupStream(ctx context.Context, o BackupOptions, name string) (BackupStream, error) {
	for try := 1; ; try++ {
		s, err := c.backupOnce(ctx, o, name)
		if err == nil || try == snapshotTries || ctx.Err() != nil || event.KindOf(err) == event.Invalid || isFileError(err) {
			return s, err
		}
		c.log.Warn().Err(err).Str("stream", name).Msg("the snapshot failed, beginning again")
	}
}

func isFileError(err error) bool {
	var file *os.PathError
	return errors.As(err, &file)
}

func (c *Client) backupOnce(ctx context.Context, o BackupOptions, name string) (s BackupStream, err error) {
	info, err := c.stream(ctx, name)
	if err != nil {
		return s, err
	}
	s = BackupStream{Name: name, Created: info.CachedInfo().Created}
	if s.Durables, err = c.durables(ctx, name); err != nil {
		return s, err
	}
	// The cursors come first: those that the snapshot would have had may be replaced before it gets to them.
	var cursors []record
	switch name {
	case event.StreamRaw, event.StreamNormalized:
		if cursors, err = c.lastOfEach(ctx, name, cursorSubjects, isCursor); err != nil {
			return s, err
		}
		if s.Cursors, err = writeRecords(o.Dir, name+cursorsSuffix, cursors); err != nil {
			return s, err
		}
	}
	var objects []string
	if name == streamBodies {
		if objects, err = c.subjects(ctx, name, bodySubjects); err != nil {
			return s, err
		}
	}
	file, err := createFile(o.Dir, name+snapshotSuffix)
	if err != nil {
		return s, err
	}
	scan := newScan(name, cursors)
	scan.want(objects)
	s.Config, err = c.snapshot(ctx, name, file, scan, o.Progress)
	written, closeErr := file.close()
	if err = errors.Join(err, closeErr); err != nil {
		return s, err
	}
	s.Snapshot, s.Held = written, scan.held
	for _, missing := range scan.missing() {
		body, err := c.saveBody(ctx, o.Dir, missing)
		if err != nil {
			return s, err
		}
		if body != nil {
			s.Bodies = append(s.Bodies, *body)
		}
	}
	return s, nil
}

// saveBody stores an object that was replaced while the snapshot was made; nil if it is gone.
func (c *Client) saveBody(ctx context.Context, dir, subject string) (*BackupFile, error) {
	m, err := c.lastMessage(ctx, streamBodies, subject)
	if err != nil || m == nil {
		return nil, err
	}
	var info natsjs.ObjectInfo
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return nil, unavailable("read "+subject, err)
	}
	if info.Deleted {
		return nil, nil
	}
	body, err := c.Bodies().GetBody(ctx, event.BodyRef{Object: info.Name, Size: int64(info.Size)})
	switch {
	case event.KindOf(err) == event.Expired:
		return nil, nil
	case err != nil:
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, bodyDir), 0o700); err != nil {
		return nil, err
	}
	return writeFile(dir, bodyDir+"/"+info.Name, body)
}

// durables returns the consumers of a stream that outlive a connection, as far as they have acknowledged. The normalizers'
// are left out: they hold nothing that the cursors do not.
func (c *Client) durables(ctx context.Context, stream string) ([]Durable, error) {
	var found []Durable
	for offset := 0; ; {
		var answer consumerList
		ask := fmt.Appendf(nil, `{"offset":%d}`, offset)
		if err := c.api(ctx, "CONSUMER.LIST."+stream, ask, &answer); err != nil {
			return nil, err
		}
		for _, missing := range answer.Missing {
			if !isNormalizers(stream, missing) {
				return nil, unavailable("ask about the consumers of "+stream,
					fmt.Errorf("%s is on a server that does not answer", missing))
			}
		}
		for _, info := range answer.Consumers {
			if info.Config.durable() == "" || isNormalizers(stream, info.Name) {
				continue
			}
			at := info.AckFloor
			if info.Config.text("ack_policy") == "none" {
				at = info.Delivered
			}
			info.Config.set("name", info.Name)
			found = append(found, Durable{Config: info.Config, State: consumerState{Delivered: at, AckFloor: at}})
		}
		if offset += len(answer.Consumers) + len(answer.Missing); offset >= answer.Total || len(answer.Consumers) == 0 {
			slices.SortFunc(found, func(a, b Durable) int { return strings.Compare(a.Config.name(), b.Config.name()) })
			return found, nil
		}
	}
}

func isNormalizers(stream, consumer string) bool {
	return stream == event.StreamRaw && strings.HasPrefix(consumer, ConsumerName(""))
}

// fits tells whether the streams fit together: nothing speaks of what another one does not have.
func (b *Backup) fits() error {
	dead, normalized, raw := b.stream(event.StreamDead), b.stream(event.StreamNormalized), b.stream(event.StreamRaw)
	var cursors, rawCursors []record
	var err error
	if normalized != nil {
		if cursors, err = b.cursors(normalized); err != nil {
			return err
		}
	}
	if dead != nil && normalized != nil {
		for subject, seq := range dead.Copied {
			if at := find(cursors, cursorOf(subject)); at == nil || at.Sequence < seq {
				return fmt.Errorf("%s has a copy of message %d of %s, whose cursor does not stand behind it",
					event.StreamDead, seq, event.StreamNormalized)
			}
		}
	}
	if normalized == nil || raw == nil {
		return nil
	}
	if rawCursors, err = b.cursors(raw); err != nil {
		return err
	}
	for _, m := range cursors {
		p, _, ok := event.SubjectProvider(m.Subject)
		var at event.NormalizedCursor
		if !ok || json.Unmarshal(m.Data, &at) != nil {
			continue
		}
		for source, done := range at.Sources {
			var collected event.RawCursor
			if c := find(rawCursors, event.RawCursorSubject(p, source)); c == nil || json.Unmarshal(c.Data, &collected) != nil ||
				collected.Position < done.Position {
				return fmt.Errorf("event %d of %s/%s is normalized and not in %s", done.Position, p, source, event.StreamRaw)
			}
		}
	}
	return nil
}

// stream returns one stream of the backup, nil if it does not have it.
func (b *Backup) stream(name string) *BackupStream {
	for i := range b.Streams {
		if b.Streams[i].Name == name {
			return &b.Streams[i]
		}
	}
	return nil
}
