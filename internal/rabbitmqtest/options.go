package rabbitmqtest

// Option changes what a broker is like.
type Option func(*settings)

type settings struct {
	conf       []string
	plugins    []string
	management bool
	ca         *CA
}

func apply(opts []Option) settings {
	var s settings
	for _, opt := range opts {
		opt(&s)
	}
	return s
}

// Conf adds lines to the broker's rabbitmq.conf, "heartbeat = 2" for instance.
func Conf(lines ...string) Option {
	return func(s *settings) { s.conf = append(s.conf, lines...) }
}

// Plugins enables plugins. A plugin that depends on others needs them named, too.
func Plugins(names ...string) Option {
	return func(s *settings) { s.plugins = append(s.plugins, names...) }
}

// Management enables the management plugin; Broker.ManagementURL is where it listens. The broker then takes longer to
// start.
func Management() Option {
	return func(s *settings) {
		s.management = true
		s.plugins = append(s.plugins, "rabbitmq_management", "rabbitmq_management_agent", "rabbitmq_web_dispatch")
	}
}

// TLS gives the broker a second listener, Broker.TLSAddr, with a certificate that ca issued for localhost and 127.0.0.1.
// Clients have to show a certificate of ca; with the mechanism EXTERNAL its common name is the user.
func TLS(ca *CA) Option {
	return func(s *settings) {
		s.ca = ca
		s.plugins = append(s.plugins, "rabbitmq_auth_mechanism_ssl")
	}
}
