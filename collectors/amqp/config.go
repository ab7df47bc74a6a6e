package amqp

import (
	"time"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/broker"
)

// Config is the configuration of the source. It is for all shards of a provider.
type Config struct {
	// Hosts are the nodes of one broker, "host" or "host:port"; they are tried in random order until one answers. The
	// port is 5672, or 5671 with TLS.
	Hosts []string `yaml:"hosts"`
	// VHost is the virtual host that the services use.
	VHost string `yaml:"vhost"`

	// User is who we are; none where SASL is external.
	User string `yaml:"user"`
	// Password of User; better in PasswordFile.
	Password event.Secret `yaml:"password"`
	// PasswordFile is a file with the password of User.
	PasswordFile string `yaml:"password_file"`
	// SASL is how to log in: plain with a user and a password, external where the client certificate of TLS says who we are.
	SASL string `yaml:"sasl" words:"plain,external"`

	TLS broker.TLS `yaml:"tls"`

	// Heartbeat is how often both sides show that they live; the broker may ask for less.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// ConnectTimeout is how long one host may take for TCP, TLS and login together.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`

	// Exchanges are those that the services notify on (their control_exchange). Every one is bound with every topic and priority.
	Exchanges []string `yaml:"exchanges"`
	// Topics are those that the services notify on, without the priority.
	Topics []string `yaml:"topics"`
	// Priorities are those that are collected.
	Priorities []string `yaml:"priorities" words:"audit,debug,info,warn,error,critical,sample"`

	// Shards moves exchanges away from the source "amqp", each list to a source "amqp-<name>" of its own.
	Shards map[string][]string `yaml:"shards"`

	// CreateExchanges says whether exchanges that are missing are waited for (never), or created, durable or transient. It must be
	// what the services use, or they can't publish.
	CreateExchanges string `yaml:"create_exchanges" words:"never,durable,transient"`
	// DurableExchanges says that the services' exchanges survive a restart of the broker (amqp_durable_queues).
	DurableExchanges bool `yaml:"durable_exchanges"`

	Queue Queue `yaml:"queue"`

	// Prefetch is the largest number of notifications that the broker hands over ahead of their acknowledgement.
	Prefetch int `yaml:"prefetch"`
	// PrefetchBytes is what they may take in memory, by the sizes seen lately; with a quorum queue, which needs the same number
	// always, by a size of 64 KiB.
	PrefetchBytes int `yaml:"prefetch_bytes,size"`
	// Remember is how many of the last identities are remembered, to take a notification once that a publisher sent
	// again.
	Remember int `yaml:"remember"`
	// Probe is how often a message of our own is sent through the queue.
	Probe time.Duration `yaml:"probe"`

	EventTypes collectors.FilterConfig `yaml:"event_types"`
}

// Queue is what our queues are declared with. One that exists with other arguments is used as it is.
type Queue struct {
	// Prefix is what the names of all that we declare begin with.
	Prefix string `yaml:"prefix"`
	// Type is the broker's type of queue.
	Type string `yaml:"type" words:"classic,quorum"`
	// MaxBytes is the most that may wait for us: more is dropped by the broker, oldest first. 0: no limit of ours, for a broker
	// that sets limits by policy.
	MaxBytes int64 `yaml:"max_bytes,size"`
	// TTL is how long it may wait: what is older is dropped by the broker. 0: no limit of ours.
	TTL time.Duration `yaml:"ttl"`
}

// Default has the settings used where the configuration names none.
func Default() Config {
	return Config{
		VHost: "/", SASL: broker.SASLPlain, TLS: broker.TLS{MinVersion: "1.2"},
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
	createNever     = "never"
	createDurable   = "durable"
	createTransient = "transient"
)

// address is host:port of a host, with the port that is meant where it names none.
func (c Config) address(host string) string { return broker.Address(host, c.TLS.Enabled) }
