package amqp1

import (
	"time"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/broker"
)

// Config is the configuration of the source.
type Config struct {
	// Hosts are the nodes of one broker or router network, "host" or "host:port"; they are tried in random order until one
	// answers. The port is 5672, or 5671 with TLS.
	Hosts []string `yaml:"hosts"`
	// VHost is what is named as the host when a connection is opened, for peers that serve several: "vhost:NAME" with RabbitMQ.
	// Empty: the host.
	VHost string `yaml:"vhost"`
	// Addresses are what is received from, each by a link and a connection of its own: /amq/queue/NAME with RabbitMQ,
	// anycast/ceilometer/event.sample with the router of the Service Telemetry Framework.
	Addresses []string `yaml:"addresses"`

	// User is who we are; none where SASL is external or anonymous.
	User string `yaml:"user"`
	// Password of User; better in PasswordFile.
	Password event.Secret `yaml:"password"`
	// PasswordFile is a file with the password of User.
	PasswordFile string `yaml:"password_file"`
	// SASL is how to log in: plain with a user and a password, external where the client certificate of TLS says who we are,
	// anonymous where nobody asks.
	SASL string `yaml:"sasl" words:"plain,external,anonymous"`

	TLS broker.TLS `yaml:"tls"`

	// Heartbeat is how often both sides show that they live; the peer may ask for less. Twice as long without a sign of life
	// ends a connection.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// ConnectTimeout is how long one host may take for TCP, TLS, login and link together.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`

	// Prefetch is the largest number of messages that a link may have sent and that are not settled: its credit.
	Prefetch int `yaml:"prefetch"`
	// PrefetchBytes is what they may take in memory: the credit is made for the sizes seen lately, and nothing more is read while
	// it is exceeded.
	PrefetchBytes int `yaml:"prefetch_bytes,size"`
	// MaxMessage is the largest message that is taken. A larger one is rejected, counted, and said.
	MaxMessage int `yaml:"max_message,size"`
	// Remember is how many of the last identities are remembered, to take an event once that comes again.
	Remember int `yaml:"remember"`
	// Probe is how often a peer is asked whether everything is sent that there was.
	Probe time.Duration `yaml:"probe"`

	EventTypes collectors.FilterConfig `yaml:"event_types"`
}

// Default has the settings used where the configuration names none.
func Default() Config {
	return Config{
		SASL: broker.SASLPlain, TLS: broker.TLS{MinVersion: "1.2"},
		Heartbeat: 10 * time.Second, ConnectTimeout: 10 * time.Second,
		Prefetch: 1000, PrefetchBytes: 8 << 20, MaxMessage: 16 << 20, Remember: 100_000, Probe: 15 * time.Second,
	}
}
