package amqp

import (
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// Config is the configuration of the source. It is for all shards of a provider.
type Config struct {
	// Hosts are the nodes of one broker, "host" or "host:port"; they are tried in random order until one answers. The
	// port is 5672, or 5671 with TLS.
	Hosts []string `yaml:"hosts"`
	VHost string   `yaml:"vhost"`

	// User and Password (or PasswordFile); none of them where SASL is external: then the client certificate says who
	// we are.
	User         string       `yaml:"user"`
	Password     event.Secret `yaml:"password"`
	PasswordFile string       `yaml:"password_file"`
	SASL         string       `yaml:"sasl"` // plain or external

	TLS TLS `yaml:"tls"`

	// Heartbeat is what we ask for; the broker may ask for less. ConnectTimeout is for one host: TCP, TLS, login.
	Heartbeat      time.Duration `yaml:"heartbeat"`
	ConnectTimeout time.Duration `yaml:"connect_timeout"`

	// The bindings: every exchange with every <topic>.<priority>.
	Exchanges  []string `yaml:"exchanges"`
	Topics     []string `yaml:"topics"`
	Priorities []string `yaml:"priorities"`

	// Shards moves exchanges away from the source "amqp", each list to a source "amqp-<name>" of its own.
	Shards map[string][]string `yaml:"shards"`

	// CreateExchanges: never waits for the services to create their exchanges; durable or transient creates those that
	// are missing, with this flag. It must be the one that the services use, or they can't publish.
	CreateExchanges string `yaml:"create_exchanges"`
	// DurableExchanges says that the services' exchanges survive a restart of the broker (amqp_durable_queues).
	DurableExchanges bool `yaml:"durable_exchanges"`

	Queue Queue `yaml:"queue"`

	// Prefetch is the largest number of notifications that the broker hands over ahead of their acknowledgement, and
	// PrefetchBytes what they may take in memory, by the sizes seen lately; with a quorum queue, which needs the same number
	// always, by a size of 64 KiB.
	Prefetch      int `yaml:"prefetch"`
	PrefetchBytes int `yaml:"prefetch_bytes,size"`
	// Remember is how many of the last identities are remembered, to take a notification once that a publisher sent
	// again.
	Remember int `yaml:"remember"`
	// Probe is how often a message of our own is sent through the queue.
	Probe time.Duration `yaml:"probe"`

	EventTypes collectors.FilterConfig `yaml:"event_types"`
}

// TLS says how to speak TLS. There is no way to skip the check of the broker's certificate.
type TLS struct {
	Enabled    bool   `yaml:"enabled"`
	CAFile     string `yaml:"ca_file"`     // certificates to trust in place of the system's
	CertFile   string `yaml:"cert_file"`   // our certificate, with KeyFile
	KeyFile    string `yaml:"key_file"`    //
	ServerName string `yaml:"server_name"` // to expect in the certificate in place of the host
	MinVersion string `yaml:"min_version"` // 1.2 or 1.3
}

// Queue is what our queues are declared with. One that exists with other arguments is used as it is.
type Queue struct {
	// Prefix is what the names of all that we declare begin with.
	Prefix string `yaml:"prefix"`
	Type   string `yaml:"type"` // classic or quorum
	// MaxBytes and TTL bound what waits for us: more, or older, is dropped by the broker, oldest first. 0: no limit of
	// ours, for a broker that sets limits by policy.
	MaxBytes int64         `yaml:"max_bytes,size"`
	TTL      time.Duration `yaml:"ttl"`
}

// Default has the settings used where the configuration names none.
func Default() Config {
	return Config{
		VHost: "/", SASL: saslPlain, TLS: TLS{MinVersion: "1.2"},
		Heartbeat: 10 * time.Second, ConnectTimeout: 10 * time.Second,
		Exchanges:       []string{"nova", "cinder", "openstack", "glance", "neutron", "keystone", "heat", "ironic"},
		Topics:          []string{"notifications"},
		Priorities:      []string{"audit", "debug", "info", "warn", "error", "critical"},
		CreateExchanges: createNever,
		Queue:           Queue{Prefix: "stackstream", Type: "classic", MaxBytes: 1 << 30, TTL: 72 * time.Hour},
		Prefetch:        2000, PrefetchBytes: 8 << 20, Remember: 100_000, Probe: 15 * time.Second,
	}
}

const (
	saslPlain    = "plain"
	saslExternal = "external"

	createNever     = "never"
	createDurable   = "durable"
	createTransient = "transient"
)
