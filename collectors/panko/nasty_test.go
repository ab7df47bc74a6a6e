package panko

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/httppoll"
	"stackstream/collectors/telemetry/telemetrytest"
	"stackstream/internal/openstack/standin"
)

// Pages end early, besides.
func TestEverythingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		telemetrytest.EverythingAtOnce(t, 5000, Kind, Default().Spec(), standin.Options{}, standin.Faults{ShortPages: true},
			func(h http.Handler, hooks httppoll.Hooks) collectors.Source {
				return local(t, h, func(c *Config) { c.Limit, c.Every = 50, 2*time.Second }, hooks)
			})
	})
}
