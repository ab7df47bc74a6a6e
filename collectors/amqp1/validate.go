package amqp1

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"stackstream/internal/broker"
	"stackstream/internal/setting"
)

// Problem is a mistake in the configuration. Field is the setting, as in the YAML file, with dots between levels.
type Problem struct{ Field, Msg string }

func (p Problem) String() string { return p.Field + ": " + p.Msg }

// problems collects what Validate finds.
type problems []Problem

func (ps *problems) add(field, format string, args ...any) {
	*ps = append(*ps, Problem{Field: field, Msg: fmt.Sprintf(format, args...)})
}

func (ps *problems) under(prefix string) func(field, message string) {
	return func(field, message string) { ps.add(prefix+field, "%s", message) }
}

const (
	minHeartbeat, maxHeartbeat           = time.Second, time.Minute
	minConnectTimeout, maxConnectTimeout = 100 * time.Millisecond, time.Minute
	minProbe, maxProbe                   = time.Second, 10 * time.Minute

	maxPrefetch                        = 65535
	minPrefetchBytes, maxPrefetchBytes = 64 << 10, 1 << 30
	minMaxMessage, maxMaxMessage       = 4 << 10, 256 << 20
	maxRemember                        = 2_000_000

	// maxAddresses bounds the connections there are.
	maxAddresses = 100
	// maxName bounds what goes into headers and logs.
	maxName = 255
)

// Validate returns every mistake that shows without reading a file or asking anybody.
func (c Config) Validate() []Problem {
	var found problems
	for _, p := range setting.Check(c) {
		found.add(p.Field, "%s", p.Msg)
	}
	broker.HostProblems(c.Hosts, c.TLS.Enabled, found.under(""))
	if msg := checkText(c.VHost); msg != "" {
		found.add("vhost", "%s", msg)
	}
	c.validateAddresses(&found)
	broker.Login{SASL: c.SASL, User: c.User, Password: c.Password, PasswordFile: c.PasswordFile}.Problems(c.TLS, found.under(""))
	c.TLS.Problems(found.under("tls."))
	c.validateTimes(&found)
	c.validateFlow(&found)
	c.EventTypes.Problems(found.under("event_types."))
	return found
}

func (c Config) validateAddresses(found *problems) {
	if len(c.Addresses) == 0 {
		found.add("addresses", "names none: what to receive from, like /amq/queue/event.sample or anycast/ceilometer/event.sample")
	}
	if len(c.Addresses) > maxAddresses {
		found.add("addresses", "names more than %d, each of which takes a connection", maxAddresses)
	}
	seen := map[string]bool{}
	for i, address := range c.Addresses {
		field := fmt.Sprintf("addresses[%d]", i)
		switch msg := checkText(address); {
		case strings.TrimSpace(address) == "":
			found.add(field, "is empty")
		case strings.Contains(address, "://"):
			found.add(field, "is a URL; give what comes behind the host here, and the host in hosts")
		case msg != "":
			found.add(field, "%s", msg)
		case seen[address]:
			found.add(field, "%s is there twice", address)
		}
		seen[address] = true
	}
}

// checkText says what is wrong with a name, "" if nothing is.
func checkText(text string) string {
	if len(text) > maxName {
		return fmt.Sprintf("is longer than %d bytes", maxName)
	}
	for _, r := range text {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return fmt.Sprintf("%q has a character that can't be printed in it", text)
		}
	}
	return ""
}

func (c Config) validateTimes(found *problems) {
	if c.Heartbeat < minHeartbeat || c.Heartbeat > maxHeartbeat {
		msg := "must be from %s to %s"
		if c.Heartbeat == 0 {
			msg += ": without heartbeats a dead connection is never noticed"
		}
		found.add("heartbeat", msg, minHeartbeat, maxHeartbeat)
	}
	if c.ConnectTimeout < minConnectTimeout || c.ConnectTimeout > maxConnectTimeout {
		found.add("connect_timeout", "must be from %s to %s", minConnectTimeout, maxConnectTimeout)
	}
	if c.Probe < minProbe || c.Probe > maxProbe {
		found.add("probe", "must be from %s to %s", minProbe, maxProbe)
	}
}

func (c Config) validateFlow(found *problems) {
	if c.Prefetch < 1 || c.Prefetch > maxPrefetch {
		found.add("prefetch", "must be from 1 to %d", maxPrefetch)
	}
	if c.PrefetchBytes < minPrefetchBytes || c.PrefetchBytes > maxPrefetchBytes {
		found.add("prefetch_bytes", "must be from 64KiB to 1GiB")
	}
	if c.MaxMessage < minMaxMessage || c.MaxMessage > maxMaxMessage {
		found.add("max_message", "must be from 4KiB to 256MiB")
	}
	least := 2 * min(max(c.Prefetch, 1), maxPrefetch) * min(max(len(c.Addresses), 1), maxAddresses)
	if c.Remember < least || c.Remember > maxRemember {
		found.add("remember", "must be from %d, twice the prefetch of all addresses, to %d", least, maxRemember)
	}
}
