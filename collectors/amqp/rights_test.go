package amqp

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// least are the rights that a user needs who collects from nova and glance.
type rights struct{ configure, write, read string }

func least(prefix string) rights {
	return rights{`^` + prefix + `\.`, `^` + prefix + `\.`, `^(` + prefix + `\..*|nova|glance)$`}
}

// as has a rig use a user of these rights.
func (w rights) as(t *testing.T, broker *rabbitmqtest.Broker, vhost, prefix string) func(c *Config) {
	t.Helper()
	user, password := broker.User(t, vhost, w.configure, w.write, w.read)
	return func(c *Config) {
		c.User, c.Password, c.Queue.Prefix = user, event.Secret(password), prefix
	}
}

// wantNothingRefused checks that the broker never refused anything to the user.
func (r *rig) wantNothingRefused(broker *rabbitmqtest.Broker) {
	r.t.Helper()
	for line := range strings.Lines(broker.Log(r.t)) {
		if strings.Contains(line, "refused for user '"+r.cfg.User+"'") {
			r.t.Errorf("the broker's log: %s", line)
		}
	}
}

// Everything there is needs these rights and no others.
func TestLeastRightsSuffice(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	for _, prefix := range []string{"stackstream", "cloud-a"} {
		for _, kind := range []string{"classic", "quorum"} {
			t.Run(prefix+", "+kind, func(t *testing.T) {
				t.Parallel()
				vhost := broker.VHost(t)
				r := newRig(t, broker, vhost, least(prefix).as(t, broker, vhost, prefix), func(c *Config) { c.Queue.Type = kind })
				r.cfg.Queue.MaxBytes = 20_000
				nova, glance := newService(t, broker, vhost, "nova", false), newService(t, broker, vhost, "glance", true)
				stop := r.run()
				r.live(Kind, "nova", "glance")
				want := append(nova.notify(20), glance.notify(20)...)
				r.eventually("all events", func() bool { return len(r.log.IDs(cloud)) == len(want) })
				stop()
				sent := nova.notify(300) // too many: some are dropped
				stop = r.run()
				r.eventually("what was dropped", func() bool {
					return r.dropped()["maxlen"] > 0 && slices.Contains(r.log.IDs(cloud), event.ID(sent[len(sent)-1]))
				})
				stop()

				// Another shard takes one of them over, other bindings are wanted, then the first one is no longer wanted.
				r.cfg.Shards, r.cfg.Priorities = map[string][]string{"images": {"glance"}}, []string{"info", "error"}
				stop = r.run()
				r.live("amqp-images", "glance")
				r.eventually("exchange let go of", func() bool { _, has := r.state(Kind).Claims["glance"]; return !has })
				stop()
				r.cfg.Shards = map[string][]string{"images": {"glance"}, "computes": {"nova"}}
				r.run()
				r.live("amqp-computes", "nova")
				r.eventually("the first one retired", func() bool { return r.log.Cursor(cloud, Kind).Retired })
				n := len(r.log.IDs(cloud))
				nova.notify(20)
				glance.notify(20)
				r.eventually("all events", func() bool { return len(r.log.IDs(cloud)) == n+40 })
				want = nil
				for _, s := range []string{"amqp-computes", "amqp-images"} {
					want = append(want, fmt.Sprintf("%s.cloud.%s", prefix, s), fmt.Sprintf("%s.cloud.%s.dropped", prefix, s))
				}
				if got := queuesIn(t, broker, vhost); !slices.Equal(got, want) {
					t.Errorf("there are the queues %q, want %q", got, want)
				}
				r.wantNothingRefused(broker)
			})
		}
	}
}

// Without any one of the rights there is an error that says which thing it is about.
func TestLessRightsFail(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	full := least("stackstream")
	for name, test := range map[string]struct {
		rights rights
		words  []string
	}{
		"no configure":            {rights{"^$", full.write, full.read}, []string{"configure", "'" + ourQueue}},
		"no configure of queue":   {rights{`^stackstream\..*\.(probe|dropped)$`, full.write, full.read}, []string{"configure", "queue '" + ourQueue + "'"}},
		"no configure of probe":   {rights{`^stackstream\..*\.(amqp|dropped)$`, full.write, full.read}, []string{"configure", ourQueue + ".probe"}},
		"no configure of dropped": {rights{`^stackstream\..*\.(amqp|probe)$`, full.write, full.read}, []string{"configure", ourQueue + ".dropped"}},
		"no write":                {rights{full.configure, "^$", full.read}, []string{"write", "'" + ourQueue}},
		"no write to queue":       {rights{full.configure, `^stackstream\..*\.(probe|dropped)$`, full.read}, []string{"write", "queue '" + ourQueue + "'"}},
		"no write to probe":       {rights{full.configure, `^stackstream\..*\.(amqp|dropped)$`, full.read}, []string{"write", ourQueue + ".probe"}},
		"no write to dropped":     {rights{full.configure, `^stackstream\..*\.(amqp|probe)$`, full.read}, []string{"write", ourQueue + ".dropped"}},
		"no read":                 {rights{full.configure, full.write, "^$"}, []string{"read", "'" + ourQueue}},
		"no read of queue":        {rights{full.configure, full.write, `^(stackstream\..*\.(probe|dropped)|nova|glance)$`}, []string{"read", "queue '" + ourQueue + "'"}},
		"no read of probe":        {rights{full.configure, full.write, `^(stackstream\..*\.(amqp|dropped)|nova|glance)$`}, []string{"read", ourQueue + ".probe"}},
		"no read of dropped":      {rights{full.configure, full.write, `^(stackstream\..*\.(amqp|probe)|nova|glance)$`}, []string{"read", ourQueue + ".dropped"}},
		"no read of nova":         {rights{full.configure, full.write, `^(stackstream\..*|glance)$`}, []string{"read", "exchange 'nova'"}},
		"no read of glance":       {rights{full.configure, full.write, `^(stackstream\..*|nova)$`}, []string{"read", "exchange 'glance'"}},
		"no right to create":      {full, []string{"configure", "exchange 'glance'"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vhost := broker.VHost(t)
			r := newRig(t, broker, vhost, test.rights.as(t, broker, vhost, "stackstream"))
			nova := newService(t, broker, vhost, "nova", true)
			if name == "no right to create" {
				r.cfg.CreateExchanges = createDurable
			} else {
				newService(t, broker, vhost, "glance", true)
			}
			r.run()
			words := append(test.words, "has no right to", "user '"+r.cfg.User+"'")
			r.troubled(0, words...)
			// It stays so, and with the right it is over.
			tries := len(r.told().connected)
			nova.notify(3)
			r.eventually("other tries", func() bool { return len(r.told().connected) > tries+2 })
			if n := len(r.logged(`"source":"amqp"`)); n > 4 {
				t.Errorf("%d lines in the log:\n%s", n, strings.Join(r.logged(`"source":"amqp"`), ""))
			}
			permit(t, broker, r.cfg.User, vhost, full.configure+"|^glance$", full.write, full.read)
			r.live(Kind, "nova", "glance")
			want := nova.notify(3)[2]
			r.eventually("events", func() bool { ids := r.log.IDs(cloud); return len(ids) > 0 && string(ids[len(ids)-1]) == want })
		})
	}
}
