package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stackstream/internal/app/config"
)

const changesFile = `nats: {url: ["nats://a:1", "nats://b:1"], user: u, password_file: nats.password}
providers:
  prod:
    amqp: {hosts: [rabbit], user: u, password_file: DIR/amqp, tls: {enabled: true, ca_file: DIR/ca}}
    panko: {auth: {url: "https://k", user: u, password_file: DIR/panko, domain: D, project_domain: D, project: p}}
  lab: {events: none}
`

func readChanges(t *testing.T, dir string, edits ...string) *config.Config {
	t.Helper()
	text := strings.NewReplacer(append([]string{"DIR", dir}, edits...)...).Replace(changesFile)
	cfg, err := reader().Bytes("stackstream.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestFilesAreThoseThatSettingsName(t *testing.T) {
	cfg := readChanges(t, "d")
	want := []config.NamedFile{
		{Setting: "amqp.password_file", Path: "d/amqp"}, {Setting: "amqp.tls.ca_file", Path: "d/ca"},
		{Setting: "panko.auth.password_file", Path: "d/panko"},
	}
	if diff := cmp.Diff(want, config.Files(cfg.Providers["prod"])); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if files := config.Files(cfg.Providers["lab"]); len(files) > 0 {
		t.Errorf("a provider without files names %v", files)
	}
}

func TestContentsChangeWithTheFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	prod := readChanges(t, dir).Providers["prod"]
	write("amqp", "hunter2")
	write("ca", "")
	before := config.ContentsOf(prod)
	if before[dir+"/amqp"] == "" || before[dir+"/ca"] != "" || before[dir+"/panko"] != "" || strings.Contains(before[dir+"/amqp"], "hunter2") {
		t.Errorf("contents are %v", before)
	}
	if diff := cmp.Diff(before, config.ContentsOf(prod)); diff != "" {
		t.Errorf("read again they differ:\n%s", diff)
	}
	write("amqp", "hunter3")
	if after := config.ContentsOf(prod); after[dir+"/amqp"] == before[dir+"/amqp"] || after[dir+"/amqp"] == "" {
		t.Error("another password has the same contents")
	}
}

func TestDifferencesAreNamed(t *testing.T) {
	a := readChanges(t, "d")
	if found := config.Differences(a, readChanges(t, "d")); len(found) > 0 {
		t.Errorf("the same file differs in %v", found)
	}
	b := readChanges(t, "d", `"nats://b:1"]`, `"nats://c:1", "nats://d:1"]`, "hosts: [rabbit]", "hosts: [hare]", "lab: {events: none}",
		"stage: {events: none}", "project: p}}", "project: p}, overlap: 1m, every: 1h, jitter: 0}")
	want := []string{
		"nats.url[1]", "nats.url[2]", "providers.lab.events", "providers.prod.amqp.hosts[0]", "providers.prod.panko.every",
		"providers.prod.panko.jitter", "providers.prod.panko.overlap", "providers.stage.events",
	}
	if diff := cmp.Diff(want, config.Differences(a, b)); diff != "" {
		t.Errorf("differences (-want +got):\n%s", diff)
	}
}
