package openstacktest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stackstream/internal/openstacktest/child"
)

// Agent is Ceilometer's notification agent, which makes events of the services' notifications and hands them out through its
// publishers. It needs no other service.
type Agent struct {
	// Broker is where it consumes, from the services' own queues, and where it goes for what it publishes over AMQP itself.
	Broker Broker
	// Exchanges are those of the services.
	Exchanges []string
	// Publishers are URLs as they stand in its event_pipeline.yaml. Each has a sink of its own: where one of a sink fails the agent
	// takes the notification for handled, as if it had been heard by all.
	Publishers []string
	// Drops is ack_on_event_error, its default: what can't be handed out is given up, and not given back to the broker.
	Drops bool
	// Raw is store_raw, for all priorities that it takes.
	Raw bool
	// Settings are more of its configuration, in sections: they count where they say other than the above.
	Settings string
}

// Start runs the agent until the test ends.
func (a Agent) Start(tb testing.TB) *child.Process {
	tb.Helper()
	dir := tb.TempDir()
	for name, text := range map[string]string{"ceilometer.conf": a.config(), "event_pipeline.yaml": a.pipeline()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	const program = "/usr/bin/ceilometer-agent-notification"
	if _, err := os.Stat(program); err != nil {
		tb.Fatalf("install ceilometer-agent-notification: %v", err)
	}
	cmd := exec.CommandContext(tb.Context(), program, "--config-file", filepath.Join(dir, "ceilometer.conf"))
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"}
	return child.Start(tb, "ceilometer-agent-notification", filepath.Join(dir, "agent.log"), cmd)
}

func (a Agent) config() string {
	raw := ""
	if a.Raw {
		raw = "store_raw = info\nstore_raw = error\n"
	}
	exchanges := ""
	for _, x := range a.Exchanges {
		exchanges += "notification_control_exchanges = " + x + "\n"
	}
	return fmt.Sprintf(`[DEFAULT]
use_stderr = true
%s
event_pipeline_cfg_file = event_pipeline.yaml
[notification]
pipelines = event
workers = 1
messaging_urls = %s
ack_on_event_error = %v
%s[event]
%s[oslo_messaging_rabbit]
amqp_durable_queues = %v
rabbit_retry_backoff = 0
kombu_reconnect_delay = 0.5
%s`, transport(a.Broker), a.Broker.URL, a.Drops, exchanges, raw, a.Broker.Durable, a.Settings)
}

func (a Agent) pipeline() string {
	var names []string
	sinks := ""
	for i, url := range a.Publishers {
		name := fmt.Sprint("sink-", i)
		names = append(names, name)
		sinks += fmt.Sprintf("    - name: %s\n      publishers:\n          - %s\n", name, url)
	}
	return fmt.Sprintf(`sources:
    - name: events
      events: ["*"]
      sinks: [%s]
sinks:
%s`, strings.Join(names, ", "), sinks)
}
