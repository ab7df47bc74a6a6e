package panko

import (
	"net/http"
	"testing"

	"stackstream/collectors/httppoll"
	"stackstream/collectors/telemetry/telemetrytest"
	"stackstream/internal/openstack/standin"
)

func TestThePast(t *testing.T) {
	telemetrytest.ReadsThePast(t, standin.Options{}, standin.Faults{ErrorRate: 0.2, ShortPages: true},
		func(past *httppoll.Past, client *http.Client) (telemetrytest.Past, error) {
			cfg := testConfig(address)
			cfg.Limit = 30
			return newSource(cfg, Options{Version: "test", Past: past}, client)
		})
}
