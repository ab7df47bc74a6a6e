package jetstream_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// A restore that begins while a backup is made, or begins and ends, is noticed before that counts as one.
func TestARestoreDuringABackup(t *testing.T) {
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	other := backupOfAll(t, client)
	replace := jetstream.RestoreOptions{Replace: true}
	for want, meanwhile := range map[string]func(){
		"has not ended":           func() { marked(t, server.URL(), other) },
		"was made anew meanwhile": func() { restore(t, client, other, replace) },
		"EVENTS_DEAD was made anew": func() {
			restore(t, client, other, jetstream.RestoreOptions{Replace: true, Streams: []string{event.StreamDead}})
		},
	} {
		dir, begun := filepath.Join(t.TempDir(), "backup"), false
		_, err := client.Backup(testContext(t), jetstream.BackupOptions{Dir: dir, Progress: func(stream string, _, _ uint64) {
			if stream == event.StreamRaw && !begun {
				begun = true
				meanwhile()
			}
		}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the backup ended with %v, want %q", err, want)
		}
		if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err == nil {
			t.Errorf("%s: it counts as a backup", want)
		}
		restore(t, client, other, replace)
	}
}

// Who backs up one stream is not kept from it by a restore of others.
func TestABackupBesideARestoreOfOthers(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	b := backupOfAll(t, client)
	_, err := client.Restore(testContext(t), b, jetstream.RestoreOptions{
		Replace: true, Streams: []string{event.StreamRaw}, Settle: func() error { return errKilled },
	})
	if err == nil {
		t.Fatal("it has ended")
	}
	of := func(streams ...string) error {
		_, err := client.Backup(testContext(t), jetstream.BackupOptions{Dir: filepath.Join(t.TempDir(), "some"), Streams: streams})
		return err
	}
	if err := of(event.StreamNormalized, event.StreamDead); err != nil {
		t.Error(err)
	}
	err = of(event.StreamDead, event.StreamRaw)
	if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "has not ended") {
		t.Errorf("of what is restored: %v", err)
	}
}
