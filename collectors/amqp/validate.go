package amqp

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"stackstream/event"
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

const (
	minHeartbeat = time.Second
	maxHeartbeat = time.Minute

	minConnectTimeout = 100 * time.Millisecond
	maxConnectTimeout = time.Minute

	maxPrefetch      = 65535
	minPrefetchBytes = 64 << 10
	maxPrefetchBytes = 1 << 30
	maxRemember      = 2_000_000

	minProbe = time.Second
	maxProbe = 10 * time.Minute

	minQueueBytes = 1 << 20
	minQueueTTL   = time.Minute

	// maxName is how long AMQP lets the name of an exchange, a queue or a virtual host be, and a routing key.
	maxName = 255
)

// priorities are those that oslo.messaging has; each is the last word of a routing key.
func priorities() []string {
	return setting.WordsOf[Config]("Priorities")
}

// Validate returns every mistake that shows without reading a file or asking anybody.
func (c Config) Validate() []Problem {
	var found problems
	for _, p := range setting.Check(c) {
		found.add(p.Field, "%s", p.Msg)
	}
	c.validateConnection(&found)
	broker.Login{SASL: c.SASL, User: c.User, Password: c.Password, PasswordFile: c.PasswordFile}.Problems(c.TLS,
		func(field, message string) { found.add(field, "%s", message) })
	c.TLS.Problems(func(field, message string) { found.add("tls."+field, "%s", message) })
	c.validateExchanges(&found)
	c.validateBindings(&found)
	c.Queue.validate(&found)
	c.validateFlow(&found)
	c.EventTypes.Problems(func(field, message string) { found.add("event_types."+field, "%s", message) })
	return found
}

func (c Config) validateConnection(found *problems) {
	broker.HostProblems(c.Hosts, c.TLS.Enabled, func(field, message string) { found.add(field, "%s", message) })
	switch {
	case c.VHost == "":
		found.add("vhost", `is empty: the virtual host that the services use; a broker's own is "/"`)
	case strings.EqualFold(c.VHost, "%2F"):
		found.add("vhost", `is %q, as it stands in a URL; write "/"`, c.VHost)
	case len(c.VHost) > maxName:
		found.add("vhost", "is longer than %d bytes", maxName)
	}
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
}

// validateExchanges looks at the names, and at who takes which. An exchange of a shard may also be in the list of all.
func (c Config) validateExchanges(found *problems) {
	if len(c.Exchanges) == 0 && len(c.Shards) == 0 {
		found.add("exchanges", "names none: those that the services notify on, like [nova, cinder, openstack]")
	}
	check := func(field, name string, seen map[string]string) {
		if msg := c.Queue.checkExchange(name); msg != "" {
			found.add(field, "%s", msg)
			return
		}
		if first, twice := seen[name]; twice {
			found.add(field, "%s is in %s already", name, first)
			return
		}
		seen[name] = field
	}
	listed := map[string]string{}
	for i, name := range c.Exchanges {
		check(fmt.Sprintf("exchanges[%d]", i), name, listed)
	}
	sharded := map[string]string{}
	for _, shard := range slices.Sorted(maps.Keys(c.Shards)) {
		field := "shards." + shard
		if shard == "" {
			found.add("shards", "has a shard without a name")
		} else if _, err := event.ParseSource(Kind + "-" + shard); err != nil {
			found.add(field, "does not make the name of a source: %s", err)
		}
		if len(c.Shards[shard]) == 0 {
			found.add(field, "names no exchange")
		}
		for i, name := range c.Shards[shard] {
			check(fmt.Sprintf("%s[%d]", field, i), name, sharded)
		}
	}
}

// checkExchange says what is wrong with the name of a service's exchange, "" if nothing is.
func (q Queue) checkExchange(name string) string {
	switch {
	case name == "":
		return "is empty; the default exchange has no bindings of its own"
	case strings.HasPrefix(name, "amq."):
		return fmt.Sprintf("%q is one of the broker's own: name the exchange of a service (its control_exchange)", name)
	case strings.HasPrefix(name, "notifications."):
		return fmt.Sprintf("%q is how the queues of the services are named, which are left alone: "+
			"name the exchange of a service (its control_exchange)", name)
	case q.Prefix != "" && strings.HasPrefix(name, q.Prefix+"."):
		return fmt.Sprintf("%q begins like what is declared here (queue.prefix)", name)
	case strings.ContainsAny(name, "*#"):
		return fmt.Sprintf("%q has a wildcard in it: name each exchange", name)
	}
	return checkName(name)
}

// checkName says what is wrong with text that goes into a field of AMQP for names.
func checkName(name string) string {
	if len(name) > maxName {
		return fmt.Sprintf("is longer than %d bytes", maxName)
	}
	for _, r := range name {
		if r <= ' ' || r == 0x7f || r == '\uFFFD' {
			return fmt.Sprintf("%q has a space or a character that can't be printed in it", name)
		}
	}
	return ""
}

func (c Config) validateBindings(found *problems) {
	each := func(setting string, values []string, check func(string) string) {
		for i, v := range values {
			field := fmt.Sprintf("%s[%d]", setting, i)
			if msg := check(v); msg != "" {
				found.add(field, "%s", msg)
			} else if slices.Contains(values[:i], v) {
				found.add(field, "%s is there twice", v)
			}
		}
	}
	if len(c.Topics) == 0 {
		found.add("topics", "names none: usually notifications, and for nova's other format versioned_notifications")
	}
	each("topics", c.Topics, checkTopic)
	if len(c.Priorities) == 0 {
		found.add("priorities", "names none: some of %s", strings.Join(priorities(), ", "))
	}
	each("priorities", c.Priorities, func(string) string { return "" })
}

func checkTopic(topic string) string {
	if topic == "" {
		return "is empty"
	}
	if strings.ContainsAny(topic, "*#") {
		return fmt.Sprintf("%q has a wildcard in it: other messages than notifications go through the same exchanges, "+
			"so name each topic, like notifications", topic)
	}
	if at := strings.LastIndexByte(topic, '.'); at >= 0 && slices.Contains(priorities(), topic[at+1:]) {
		return fmt.Sprintf("%q ends in a priority, which is added to each topic: write %s, and the priority in priorities",
			topic, topic[:at])
	}
	if len(topic)+len(".critical") > maxName {
		return fmt.Sprintf("is longer than %d bytes", maxName-len(".critical"))
	}
	return checkName(topic)
}

var prefixForm = regexp.MustCompile(`^[a-z0-9_.-]{1,64}$`)

func (q Queue) validate(found *problems) {
	switch first, _, _ := strings.Cut(q.Prefix, "."); {
	case !prefixForm.MatchString(q.Prefix):
		found.add("queue.prefix", "is %q; 1 to 64 characters of a-z, 0-9, _, . and - are meant", q.Prefix)
	case first == "amq":
		found.add("queue.prefix", "is %q; names that begin with amq. are the broker's own", q.Prefix)
	case first == "notifications":
		found.add("queue.prefix", "is %q; so begin the queues of the services, which are left alone", q.Prefix)
	}
	if q.MaxBytes != 0 && q.MaxBytes < minQueueBytes {
		found.add("queue.max_bytes", "must be at least 1MiB, or 0 for no limit from here")
	}
	if q.TTL != 0 && q.TTL < minQueueTTL {
		found.add("queue.ttl", "must be at least %s, or 0 for no limit from here", minQueueTTL)
	}
}

func (c Config) validateFlow(found *problems) {
	if c.Prefetch < 1 || c.Prefetch > maxPrefetch {
		found.add("prefetch", "must be from 1 to %d", maxPrefetch)
	}
	if c.PrefetchBytes < minPrefetchBytes || c.PrefetchBytes > maxPrefetchBytes {
		found.add("prefetch_bytes", "must be from 64KiB to 1GiB")
	}
	if least := 2 * min(max(c.Prefetch, 1), maxPrefetch); c.Remember < least || c.Remember > maxRemember {
		found.add("remember", "must be from %d, twice the prefetch, to %d", least, maxRemember)
	}
	if c.Probe < minProbe || c.Probe > maxProbe {
		found.add("probe", "must be from %s to %s", minProbe, maxProbe)
	}
}
