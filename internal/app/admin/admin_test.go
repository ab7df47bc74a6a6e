package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"stackstream/event"
)

func get(t *testing.T, h http.Handler, method, path, accept string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Accept", accept)
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestReadySaysWhatIsWrong(t *testing.T) {
	board := NewBoard()
	h := Handler(board, prometheus.NewRegistry())
	set := func(role event.Role, p event.Provider, s event.Source, st event.State, reason string) {
		board.Set(event.Status{Role: role, Provider: p, Source: s, State: st, Reason: reason})
	}
	set(RoleNATS, "", "", event.StateLive, "")
	set(event.RoleCollector, "prod", "panko", event.StateBackoff, "get token: connection refused\nsee auth.url")
	set(event.RoleNormalizer, "prod", "", event.StateStopped, "raw-expired")
	set(event.RoleCollector, "stage", "", event.StateIdle, "events: none")
	set(event.RoleNormalizer, "stage", "", event.StateStandby, "held by host-2")

	code, body := get(t, h, "GET", "/readyz", "")
	want := "collector prod (panko): backoff: get token: connection refused; see auth.url\n" +
		"normalizer prod: stopped: raw-expired\n"
	if code != http.StatusServiceUnavailable || body != want {
		t.Errorf("/readyz is %d:\n%s\nwant 503:\n%s", code, body, want)
	}
	if code, _ := get(t, h, "GET", "/healthz", ""); code != http.StatusOK {
		t.Errorf("/healthz is %d while no loop is stuck: a restart would not help", code)
	}

	code, body = get(t, h, "GET", "/readyz", "application/json")
	var answer struct {
		Ready bool
		Parts []Part
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("/readyz as JSON: %v in %s", err, body)
	}
	if code != http.StatusServiceUnavailable || answer.Ready || len(answer.Parts) != 5 {
		t.Errorf("/readyz as JSON is %d: %s", code, body)
	}

	set(event.RoleNormalizer, "prod", "", event.StateLive, "")
	set(event.RoleCollector, "prod", "panko", event.StateDegraded, "exchange nova is missing")
	code, body = get(t, h, "GET", "/readyz", "")
	if want := "collector prod (panko): degraded: exchange nova is missing\n"; code != http.StatusServiceUnavailable || body != want {
		t.Errorf("/readyz of a collector that works while something is wrong is %d:\n%s\nwant 503:\n%s", code, body, want)
	}
	if code, body := get(t, h, "GET", "/readyz", "application/json"); code != http.StatusServiceUnavailable ||
		!strings.Contains(body, `"state":"degraded","reason":"exchange nova is missing"`) {
		t.Errorf("/readyz as JSON of the same is %d: %s", code, body)
	}
	if code, body := get(t, h, "GET", "/healthz", ""); code != http.StatusOK {
		t.Errorf("/healthz of the same is %d %q: a restart would not help", code, body)
	}

	set(event.RoleCollector, "prod", "panko", event.StateLive, "")
	if code, body := get(t, h, "GET", "/readyz", ""); code != http.StatusOK || body != "ready\n" {
		t.Errorf("/readyz is %d %q once everything works", code, body)
	}

	// What is no failure and should be known is told behind that, whether all is ready or not.
	set(RoleConfiguration, "", "", event.StateLive, "in use but for what needs a restart: nats.url[0]")
	set(event.RoleCollector, "prod", "panko", event.StateLive, "the first that answers")
	const note = "configuration: live: in use but for what needs a restart: nats.url[0]\n"
	if code, body := get(t, h, "GET", "/readyz", ""); code != http.StatusOK || body != "ready\n"+note {
		t.Errorf("/readyz is %d %q while a change waits for a restart", code, body)
	}
	set(event.RoleNormalizer, "prod", "", event.StateStopped, "raw-expired")
	if code, body := get(t, h, "GET", "/readyz", ""); code != http.StatusServiceUnavailable ||
		body != "normalizer prod: stopped: raw-expired\n"+note {
		t.Errorf("/readyz is %d %q while that waits and another part has stopped", code, body)
	}
}

func TestHealthFailsWhenALoopIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		board := NewBoard()
		h := Handler(board, prometheus.NewRegistry())
		board.Beat("collector prod", time.Minute)
		board.Beat("collector stage", time.Minute)
		time.Sleep(3 * time.Minute)
		if code, body := get(t, h, "GET", "/healthz", ""); code != http.StatusOK || body != "ok\n" {
			t.Errorf("/healthz is %d %q for a loop that is late, want 200 ok", code, body)
		}
		board.Beat("collector stage", 0)
		time.Sleep(time.Second)
		code, body := get(t, h, "GET", "/healthz", "")
		want := "collector prod: no sign of life for 3m1s, expected every 1m0s\n"
		if code != http.StatusServiceUnavailable || body != want {
			t.Errorf("/healthz is %d %q, want 503 %q", code, body, want)
		}
		if _, body := get(t, h, "GET", "/healthz", "application/json"); !strings.Contains(body, `"healthy":false`) {
			t.Errorf("/healthz as JSON: %s", body)
		}
		board.Beat("collector prod", time.Minute)
		if code, _ := get(t, h, "GET", "/healthz", ""); code != http.StatusOK {
			t.Errorf("/healthz is %d after the loop came back", code)
		}
	})
}

func TestOnlyReading(t *testing.T) {
	h := Handler(NewBoard(), prometheus.NewRegistry())
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, _ := get(t, h, "POST", path, ""); code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s is %d, want 405", path, code)
		}
	}
	if code, _ := get(t, h, "GET", "/debug/pprof/", ""); code != http.StatusNotFound {
		t.Errorf("an unknown path is %d, want 404", code)
	}
}

func TestBoardKeepsTheTimeOfAState(t *testing.T) {
	b := NewBoard()
	s := event.Status{Role: event.RoleCollector, Provider: "p", State: event.StateBackoff, Reason: "a"}
	if !b.Set(s) {
		t.Error("the first status is no change")
	}
	since := b.Parts()[0].Since
	if b.Set(s) {
		t.Error("the same status again is a change")
	}
	s.Reason = "b"
	if !b.Set(s) {
		t.Error("another reason is no change")
	}
	if diff := cmp.Diff(since, b.Parts()[0].Since); diff != "" {
		t.Errorf("another reason for the same state moved its time: %s", diff)
	}
}

func TestServer(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "stackstream_test", Help: "Test."},
		func() float64 { return 7 }))
	s, err := Listen(t.Context(), "127.0.0.1:0", NewBoard(), registry)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()

	answer, err := http.Get("http://" + s.Address() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(body), "stackstream_test 7") {
		t.Errorf("/metrics has no stackstream_test: %s", body)
	}

	_, err = Listen(t.Context(), s.Address(), NewBoard(), registry)
	if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "set admin.listen to a free one") {
		t.Errorf("a taken address gives %v, want an Invalid that names the setting", err)
	}

	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run ended with %v", err)
	}
}
