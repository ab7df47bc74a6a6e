package panko

import (
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/collectors/telemetry/telemetrytest"
	"stackstream/internal/openstack/standin"
)

func TestConformance(t *testing.T) {
	collectorstest.TestSource(t, func(t *testing.T) collectorstest.Harness {
		return telemetrytest.Conformance(t, standin.Options{}, Default().Spec(), func(address string) (collectors.Source, error) {
			cfg := testConfig(address)
			cfg.Every, cfg.Limit = 3*time.Millisecond, 7
			return New(cfg, Options{Version: "test"})
		})
	})
}
