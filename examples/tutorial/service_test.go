package main

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/internal/mapping"
	"stackstream/normalizer/httpevent"
	"stackstream/normalizer/normalizertest"
)

// Where the tutorial ends every entry is collected once, also those that show late, and those that happen while it is read.
func TestTutorialCollectsEveryEntry(t *testing.T) {
	service := &turnstile{began: time.Now(), now: time.Now, live: 10 * time.Millisecond, late: 150 * time.Millisecond, most: 1 << 20}
	server := httptest.NewServer(service)
	defer server.Close()
	cfg, err := config.Reader{Kinds: app.Kinds()}.File("turnstile.yaml")
	if err != nil {
		t.Fatal(err)
	}
	settings := cfg.Providers["turnstile"].Sources[httppoll.Kind].(*httppoll.Config)
	settings.Request.URL = server.URL + "/api/v2/activity"
	settings.Schedule.Every, settings.Schedule.Jitter = 20*time.Millisecond, 0
	settings.RateLimit.Rate = httppoll.Rate{}
	settings.Auth.Bearer.TokenFile = filepath.Join(t.TempDir(), "turnstile.token")
	if err := os.WriteFile(settings.Auth.Bearer.TokenFile, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := httppoll.New(*settings, httppoll.Options{Version: "test", Format: httpevent.Format("turnstile")})
	if err != nil {
		t.Fatal(err)
	}
	const live = 100
	log := collectorstest.NewLog()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	loop := collectors.Loop{
		Provider: "turnstile", Name: httppoll.Kind, Source: source, Spec: settings.Spec(), Memory: log, Log: zerolog.Nop(),
		Writer: log.NewWriter("turnstile", httppoll.Kind, event.Fence{}), Options: collectors.Options{Heartbeat: 10 * time.Millisecond},
	}
	loop.Hooks.Committed = func(event.Provider, event.Source, collectors.Commit) {
		if len(log.Events("turnstile")) >= past+live {
			stop()
		}
	}
	if err := loop.Run(ctx); err != nil {
		t.Fatal(err)
	}

	m, mistakes := mapping.Compile(settings.Event)
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	converter := httpevent.New(normalizertest.Rules(t), m)
	entries := map[string]entry{}
	for seq := range past + 10*live {
		e := service.entry(seq)
		entries[e.UUID] = e
	}
	times := map[event.ID]int{}
	for _, raw := range log.Events("turnstile") {
		converted, err := converter.Convert(raw.Raw)
		if err != nil {
			t.Fatal(err)
		}
		e := converted.Events[0]
		times[event.ID(e.MessageID)]++
		entry := entries[e.MessageID]
		message := entry.Door.Name + " was " + entry.What
		if entry.Person != nil {
			message += " for " + entry.Person.Name
		}
		if e.EventType != "door."+entry.What || e.Message != message || !e.Timestamp.Time().Equal(time.UnixMilli(entry.At)) ||
			len(e.Targets) != 1 || e.Targets[0] != (event.Target{Kind: "door", ID: entry.Door.ID}) {
			t.Errorf("of %+v was made %+v", entry, e)
		}
	}
	// What had shown long before the end is there, and nothing twice.
	for seq := range past + live/2 {
		if id := event.ID(service.entry(seq).UUID); times[id] != 1 {
			t.Errorf("entry %d came %d times", seq, times[id])
		}
	}
	for id, n := range times {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
}
