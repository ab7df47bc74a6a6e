// Package http_test collects from a stand-in for each of the services that this folder has an example for.
package http_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/internal/mapping"
	"stackstream/internal/standins"
	"stackstream/normalizer/httpevent"
	"stackstream/normalizer/normalizertest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// settings reads an example. The secrets that it names come from files of the test.
func settings(t *testing.T, s *standins.Service) (event.Provider, *httppoll.Config) {
	t.Helper()
	cfg, err := config.Reader{Kinds: app.Kinds()}.File(s.Name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	for provider, p := range cfg.Providers {
		c := p.Sources[httppoll.Kind].(*httppoll.Config)
		used := map[string]bool{}
		secrets(t, reflect.ValueOf(&c.Auth).Elem(), s.Secrets, used)
		if len(used) != len(s.Secrets) {
			t.Fatalf("it names the secrets %v, the stand-in has %v", used, s.Secrets)
		}
		c.Request.HTTP.TLS.CAFile = "" // of a server that is not there
		return provider, c
	}
	t.Fatal("it has no provider")
	return "", nil
}

// secrets puts each file that settings name for a secret into a folder of the test.
func secrets(t *testing.T, v reflect.Value, have map[string]string, used map[string]bool) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			secrets(t, v.Elem(), have, used)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if f := v.Field(i); f.Kind() != reflect.String || !strings.HasSuffix(name, "File") {
				secrets(t, f, have, used)
			} else if file := f.String(); file != "" {
				base := filepath.Base(file)
				path := filepath.Join(t.TempDir(), base)
				if err := os.WriteFile(path, []byte(have[base]+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				used[base] = true
				f.SetString(path)
			}
		}
	}
}

// wire leads to a stand-in without a network, so that time may be virtual, and does harm to some of the answers.
type wire struct {
	service http.Handler
	mu      sync.Mutex
	asked   int
	// harm tells what happens to the nth request, from 1 on: "" for nothing.
	harm func(n int) string
	// behind is called after each answer.
	behind func()
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.asked++
	harm := ""
	if w.harm != nil {
		harm = w.harm(w.asked)
	}
	w.mu.Unlock()
	out := httptest.NewRecorder()
	switch harm {
	case "down":
		return nil, errors.New("connection refused")
	case "broken":
		http.Error(out, `{"message": "try again"}`, http.StatusBadGateway)
	case "slow down":
		out.Header().Set("Retry-After", "7")
		http.Error(out, `{"message": "too many requests"}`, http.StatusTooManyRequests)
	default:
		asked := r.Clone(r.Context())
		asked.Host = r.URL.Host
		asked.RequestURI = r.URL.RequestURI()
		w.service.ServeHTTP(out, asked)
	}
	resp := out.Result()
	resp.Request = r
	if body := out.Body.Bytes(); harm == "cut off" && len(body) > 10 {
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), broken{}))
	}
	if w.behind != nil && harm == "" {
		w.behind()
	}
	return resp, nil
}

// broken is a connection that breaks.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// harms are what happens to every fourth request or so.
func harms(n int) string {
	switch n % 17 {
	case 3:
		return "broken"
	case 7:
		return "cut off"
	case 11:
		return "slow down"
	case 14:
		return "down"
	}
	return ""
}

// pause waits as long as it is to, up to a multiple of some time: else chance, which is part of every pause, would be part of what
// is collected.
func pause(ctx context.Context, d time.Duration) error {
	const even = 6 * time.Second
	timer := time.NewTimer((d + even).Truncate(even))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// collect runs an example against its stand-in, which has events, gets more between runs and within them, and shows some late,
// while one request of four goes wrong. It returns what was stored.
func collect(t *testing.T, s *standins.Service, adjust func(c *httppoll.Config)) (event.Provider, *httppoll.Config, []event.StoredRaw) {
	provider, cfg := settings(t, s)
	adjust(cfg)
	if found := cfg.Validate(); len(found) > 0 {
		t.Fatal(found)
	}
	cfg.Schedule.Jitter = 0
	way := &wire{service: s, harm: harms}
	source, err := httppoll.New(*cfg, httppoll.Options{
		Version: "test", Format: httpevent.Format(provider), Transport: func(http.RoundTripper) http.RoundTripper { return way },
		Clock: httppoll.Clock{Pause: pause},
	})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for i := range initial {
		at := began.Add(-s.Cutoff - time.Duration(initial-i/2*2)*100*time.Second) // two of each moment
		s.Put(at, at)
	}
	var answers, grown atomic.Int64
	way.behind = func() {
		if n := answers.Add(1); grown.Load() == 0 && n%5 == 2 {
			s.Put(time.Now(), time.Now())
		}
	}
	log := collectorstest.NewLog()
	ctx, stop := context.WithCancel(t.Context())
	loop := collectors.Loop{
		Provider: provider, Name: httppoll.Kind, Source: source, Spec: cfg.Spec(), Memory: log, Log: zerolog.Nop(),
		Writer: log.NewWriter(provider, httppoll.Kind, event.Fence{}), Options: collectors.Options{},
	}
	ended := make(chan error, 1)
	go func() {
		for {
			if err := loop.Run(ctx); ctx.Err() != nil {
				ended <- nil
				return
			} else if errors.Is(err, event.Invalid) {
				ended <- err
				return
			}
		}
	}()
	for range 4 {
		time.Sleep(cfg.Schedule.Every + time.Second)
		now := time.Now()
		s.Put(now, now)
		s.Put(now, now.Add(s.Late))
		s.Put(now.Add(time.Second/2), now.Add(time.Second/2))
	}
	synctest.Wait()
	grown.Store(1)
	time.Sleep(2*s.Late + s.Cutoff + 20*cfg.Schedule.Every)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return provider, cfg, log.Events(provider)
}

// initial is how many events a service has before it is asked for the first time.
const initial = 14

// one has everything asked for one by one, so that it comes in the same order each time.
func one(c *httppoll.Config) { c.Partitions.Concurrency, c.Detail.Concurrency = 1, 1 }

// Each example collects everything that its service shows, once, and in the order in which the service shows it; and makes of each
// record the event that it says. The golden files have the events of what is there at first: what comes later depends on when it was
// asked for.
func TestExamples(t *testing.T) {
	schema := normalizertest.NewSchema(t)
	for _, s := range standins.All() {
		t.Run(s.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				_, cfg, got := collect(t, s, one)
				compare(t, s, got)
				first := s.Entries()[:initial]
				m, mistakes := mapping.Compile(cfg.Event)
				if len(mistakes) > 0 {
					t.Fatal(mistakes)
				}
				converter := httpevent.New(normalizertest.Rules(t), m)
				events := make([]event.Event, initial)
				for _, raw := range got {
					raw.Received = began
					converted, err := converter.Convert(raw.Raw)
					if err != nil {
						t.Fatalf("%s becomes a dead letter: %v", raw.ID, err)
					}
					i := slices.IndexFunc(first, func(e standins.Entry) bool { return identity(e) == raw.ID })
					if i < 0 {
						continue
					}
					events[i] = converted.Events[0]
				}
				golden(t, filepath.Join("testdata", s.Name, "events.json"), schema.Encode(t, httppoll.Kind, events))
			})
		})
	}
}

// What is read side by side is collected as well.
func TestSideBySide(t *testing.T) {
	for _, s := range standins.All() {
		if _, cfg := settings(t, s); cfg.Partitions.Concurrency > 1 {
			t.Run(s.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					_, _, got := collect(t, s, func(*httppoll.Config) {})
					compare(t, s, got)
				})
			})
		}
	}
}

// identity is that of the event of an entry.
func identity(e standins.Entry) event.ID {
	if e.Part != "" {
		return event.ID(e.Part + "/" + e.ID)
	}
	return event.ID(e.ID)
}

// compare reports what is missing, what came twice, and what came out of order.
func compare(t *testing.T, s *standins.Service, got []event.StoredRaw) {
	t.Helper()
	entries, seen := map[event.ID]standins.Entry{}, map[event.ID]bool{}
	for _, e := range s.Entries() {
		if _, twice := entries[identity(e)]; twice {
			t.Errorf("the stand-in has %s twice", identity(e))
		}
		entries[identity(e)] = e
	}
	last := time.Time{}
	for _, raw := range got {
		e, known := entries[raw.ID]
		switch {
		case !known:
			t.Errorf("%s is nothing that the service has", raw.ID)
		case seen[raw.ID]:
			t.Errorf("%s came twice", raw.ID)
		case s.Ascending && !e.Late && e.At.Before(last):
			t.Errorf("%s of %s came behind one of %s", raw.ID, e.At, last)
		}
		seen[raw.ID] = true
		if !e.Late && e.At.After(last) {
			last = e.At
		}
	}
	for id, e := range entries {
		if !seen[id] {
			t.Errorf("%s of %s, shown at %s, is missing", id, e.At, e.Shown)
		}
	}
}

// golden compares events with a golden file.
func golden(t *testing.T, path string, events []json.RawMessage) {
	t.Helper()
	var got bytes.Buffer
	for _, e := range events {
		if err := json.Indent(&got, e, "", "  "); err != nil {
			t.Fatal(err)
		}
		got.WriteByte('\n')
	}
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// Every example has a stand-in, and every stand-in an example.
func TestEveryExampleIsRun(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, s := range standins.All() {
		have = append(have, s.Name+".yaml")
	}
	for _, name := range files {
		if name != "every-setting.yaml" && !slices.Contains(have, name) {
			t.Errorf("%s has no stand-in", name)
		}
	}
}
