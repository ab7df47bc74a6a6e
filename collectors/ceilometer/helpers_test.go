package ceilometer

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/collectors/httppoll"
	"stackstream/collectors/telemetry/telemetrytest"
	"stackstream/internal/openstack/standin"
)

const address = telemetrytest.Address

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

// cloud is a stand-in with Ceilometer.
func cloud() *standin.Service { return standin.New(standin.Options{Ceilometer: true, Seed: 4}) }

func TestConformance(t *testing.T) {
	collectorstest.TestSource(t, func(t *testing.T) collectorstest.Harness {
		opts := standin.Options{Ceilometer: true}
		return telemetrytest.Conformance(t, opts, Default().Spec(), func(address string) (collectors.Source, error) {
			cfg := testConfig(address)
			cfg.Every, cfg.Limit = 3*time.Millisecond, 7
			return New(cfg, Options{Version: "test"})
		})
	})
}

func TestEverythingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		telemetrytest.EverythingAtOnce(t, 2000, Kind, Default().Spec(), standin.Options{Ceilometer: true}, standin.Faults{},
			func(h http.Handler, hooks httppoll.Hooks) collectors.Source {
				return local(t, h, func(c *Config) { c.Limit, c.Every = 50, 2*time.Second }, hooks)
			})
	})
}
