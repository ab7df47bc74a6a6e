package jetstream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// killed restores through a connection that breaks before the request with number n, after which the client does no more: what
// kill -9 does at that moment. It tells whether the restore ended before.
func killed(t *testing.T, server string, b *jetstream.Backup, o jetstream.RestoreOptions, n int) (ended bool) {
	t.Helper()
	ctx, kill := context.WithCancel(testContext(t))
	defer kill()
	gate := jetstreamtest.NewGate(t, server, n-1, func(string) bool { return true }, kill)
	defer gate.Close()
	client, err := jetstream.Connect(ctx, jetstream.Config{URLs: []string{gate.URL()}}, zerolog.Nop(), jetstream.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Restore(ctx, b, o)
	closed, cancel := context.WithCancel(context.Background())
	cancel()
	_ = client.Close(closed) // at once
	return err == nil
}

// contents are the messages of all streams that a backup has, without what differs between a stream and a restored one.
func contents(t *testing.T, c *jetstream.Client) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, name := range jetstream.BackupStreams() {
		all[name] = []string{}
		for _, m := range messages(t, c, name) {
			all[name] = append(all[name], fmt.Sprintf("%d %s %s", m.Sequence, m.Subject, m.Header.Get(event.HeaderID)))
		}
	}
	return all
}

// streamNames are the streams but for those that a restore has made so far: a server may come to the last one late.
func streamNames(t *testing.T, c *jetstream.Client) []string {
	t.Helper()
	var names []string
	list := jetStream(t, c).ListStreams(testContext(t))
	for info := range list.Info() {
		if info.Config.Metadata["stackstream.restoring"] == "" {
			names = append(names, info.Config.Name)
		}
	}
	if list.Err() != nil {
		t.Fatal(list.Err())
	}
	slices.Sort(names)
	return names
}

// refused tells whether the streams are refused by everything that begins to work with them, which must not make any then.
func refused(t *testing.T, c *jetstream.Client) bool {
	t.Helper()
	layout := jetstream.DefaultLayout(1).Within(1 << 30)
	before := streamNames(t, c)
	plan, err := c.PlanNeeded(testContext(t), layout)
	if err != nil {
		t.Fatal(err)
	}
	if plan.HalfRestored() == nil {
		if _, err := c.Provision(testContext(t), layout, jetstream.CreateMissing); err != nil {
			t.Errorf("nothing is against it, and provisioning says %v", err)
		}
		return false
	}
	says := func(what string, err error) {
		t.Helper()
		if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "`stackstream restore --replace ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	says("the plan", plan.HalfRestored())
	says("whoever does not provision", plan.Broken())
	for _, mode := range []jetstream.Mode{jetstream.CreateMissing, jetstream.Apply} {
		_, err := c.Provision(testContext(t), layout, mode)
		says("provision", err)
	}
	_, err = c.Backup(testContext(t), jetstream.BackupOptions{Dir: filepath.Join(t.TempDir(), "half")})
	says("a backup", err)
	if diff := cmp.Diff(before, streamNames(t, c)); diff != "" {
		t.Errorf("streams were made: %s", diff)
	}
	return true
}

// A restore may be killed at any moment, and the next one, too: what it leaves is what was there before, or is refused until one
// has come to its end.
func TestARestoreIsKilled(t *testing.T) {
	source := jetstreamtest.Server(t).Client(t)
	b := backupOfAll(t, source)
	whole := contents(t, source)
	nothing := map[string][]string{}
	for _, name := range jetstream.BackupStreams() {
		nothing[name] = []string{}
	}
	replace := jetstream.RestoreOptions{Replace: true}
	// Before each step that deletes or opens two requests ask whether the mark is that of this restore still, so that every third one
	// meets all of them. Where nothing is there is little to lose.
	for name, bare := range map[string]bool{"over what is there": false, "where nothing is": true} {
		t.Run(name, func(t *testing.T) {
			server := openEmbedded(t, jetstream.EmbeddedConfig{Dir: t.TempDir(), Listen: "127.0.0.1:0", Bulk: true})
			client, _ := connectInProcess(t, server)
			restore(t, client, b, replace)
			step := 3
			if bare {
				step = 5
			}
			could := false
			for n, ended := 1, false; !ended; n += step {
				was := nothing
				if bare {
					empty(t, client)
				} else {
					mustAppend(t, client.Raw(), rawBatch("after", 1, 1, 0)) // the backup
					was = contents(t, client)
				}
				if ended = killed(t, server.ClientURL(), b, replace, n); ended {
					was = whole
				}
				abandoned := func() {
					t.Helper()
					m, err := client.Interrupted(testContext(t))
					if err != nil || m == nil {
						return
					}
					could = true
					if now := contents(t, client); !cmp.Equal(now, was) && !cmp.Equal(now, whole) {
						t.Errorf("killed before request %d, %+v may be abandoned, which has %v", n, m, now)
					}
				}
				if !refused(t, client) {
					if diff := cmp.Diff(was, contents(t, client)); diff != "" {
						t.Errorf("killed before request %d, this is taken for whole: %s", n, diff)
					}
				} else {
					if !killed(t, server.ClientURL(), b, replace, n*7%60+1) && !refused(t, client) {
						t.Errorf("killed before request %d, and then the next one, it leaves streams that nothing refuses", n)
					}
					abandoned()
				}
				restore(t, client, b, replace)
				if refused(t, client) {
					t.Errorf("killed before request %d, and then begun anew to the end, it is refused", n)
				}
				if diff := cmp.Diff(whole, contents(t, client)); diff != "" {
					t.Fatalf("killed before request %d, and then begun anew to the end, it has left: %s", n, diff)
				}
			}
			if !could && !bare {
				t.Error("none could be abandoned")
			}
		})
	}
}

// empty deletes all streams.
func empty(t *testing.T, c *jetstream.Client) {
	t.Helper()
	for _, name := range streamNames(t, c) {
		if err := jetStream(t, c).DeleteStream(testContext(t), name); err != nil {
			t.Fatal(err)
		}
	}
}

// backupOfAll fills every stream with little and backs it up.
func backupOfAll(t *testing.T, c *jetstream.Client) *jetstream.Backup {
	t.Helper()
	at := mustAppend(t, c.Raw(), rawBatch("panko", 1, 3, 0))
	cursor, err := json.Marshal(normalized(open(t, c, event.NormalizedCursor{}), at-1, "panko", 3))
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, c.Normalized(), event.Batch{
		Messages: []event.Message{
			{Subject: event.NormalizedSubject(prov), Header: event.Header{event.HeaderID: {"1"}, event.HeaderSeq: {"1"}}, Body: []byte("{}")},
			{Subject: event.DeadSubject(prov), Header: event.Header{event.HeaderID: {"2"}, event.HeaderSeq: {"2"}}, Body: []byte("{}")},
		},
		Cursor: event.Message{Subject: event.NormalizedCursorSubject(prov), Body: cursor},
	})
	if err := c.Bodies().PutBody(testContext(t), event.NewBodyRef(large[:10]), large[:10]); err != nil {
		t.Fatal(err)
	}
	until(t, "for the dead letter to be copied", func() bool { return len(messages(t, c, event.StreamDead)) == 1 })
	dir := filepath.Join(t.TempDir(), "backup")
	if _, err := c.Backup(testContext(t), jetstream.BackupOptions{Dir: dir, Version: "test"}); err != nil {
		t.Fatal(err)
	}
	b, err := jetstream.OpenBackup(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What the streams have handed out after a restore is not handed out again by the next one, though that was killed when they were gone.
func TestSequencesAfterARestoreThatWasKilled(t *testing.T) {
	b := backupOfAll(t, jetstreamtest.Server(t).Client(t))
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	raw := func() *jetstream.StreamNow {
		t.Helper()
		all, err := client.Look(testContext(t), []string{event.StreamRaw})
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 0 {
			return nil
		}
		return &all[0]
	}
	replace := jetstream.RestoreOptions{Replace: true}
	restore(t, client, b, replace)
	mustAppend(t, client.Raw(), rawBatch("after", 1, 1, 0))
	last := raw().Last
	only := jetstream.RestoreOptions{Replace: true, Streams: []string{event.StreamRaw}}
	for n := 1; raw() != nil && !raw().HalfRestore; n++ {
		if killed(t, server.URL(), b, only, n) {
			t.Fatal("it came to its end")
		}
	}
	err := client.HalfRestored(testContext(t))
	if want := "`stackstream restore --replace --stream EVENTS_RAW "; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("it says %v, want %s", err, want)
	}
	restore(t, client, b, replace)
	if now := raw().Last; now < last {
		t.Errorf("%d was handed out, and the next one is %d", last, now+1)
	}
	if err := client.HalfRestored(testContext(t)); err != nil {
		t.Error(err)
	}
}
