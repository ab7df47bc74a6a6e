package panko

import (
	"net/http"
	"testing"

	"stackstream/collectors/httppoll"
	"stackstream/collectors/telemetry/telemetrytest"
)

const (
	address    = telemetrytest.Address
	timeFormat = telemetrytest.TimeFormat
)

// testConfig is a valid configuration for the stand-in at a URL.
func testConfig(url string) Config {
	cfg := Default()
	cfg.Auth = telemetrytest.Auth(url)
	cfg.Jitter = 0
	return cfg
}

// local makes a source that talks to a handler without a network.
func local(t *testing.T, h http.Handler, change func(*Config), hooks ...httppoll.Hooks) *Source {
	t.Helper()
	opts := Options{Version: "test"}
	for _, h := range hooks {
		opts.Hooks = h
	}
	cfg := testConfig(address)
	if change != nil {
		change(&cfg)
	}
	if found := cfg.Validate(); len(found) > 0 {
		t.Fatalf("configuration: %v", found)
	}
	s, err := newSource(cfg, opts, telemetrytest.InProcess(h))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
