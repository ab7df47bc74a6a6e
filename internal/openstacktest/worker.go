package openstacktest

import (
	"context"
	"net/http"
)

// Worker does what there is to do with one service. It is for one goroutine; those of several services can work at the
// same time.
type Worker struct {
	service Service
	client  *client
}

// Workers logs in a worker for each service. What they do is kept account of in the ledger, if it is not nil.
func (c *Cloud) Workers(ctx context.Context, ledger *Ledger) ([]*Worker, error) {
	var crew []*Worker
	for _, s := range c.services {
		if s.name == placement { // it tells nothing
			continue
		}
		in, err := c.tellLogIn(ctx, ledger, admin())
		if err != nil {
			return nil, err
		}
		crew = append(crew, &Worker{service: s.name, client: in})
	}
	return crew, nil
}

// Work does everything once. What it makes has name in its name, which should be another each time.
func (w *Worker) Work(ctx context.Context, name string) error {
	switch w.service {
	case Keystone:
		return w.client.identity(ctx, name)
	case Glance:
		return w.client.images(ctx, name)
	case Cinder:
		return w.client.volumes(ctx, name)
	case Neutron:
		return w.client.networks(ctx, name)
	default:
		return w.client.servers(ctx, name)
	}
}

// WorkAlone does what does not need several processes of a service to talk to each other over the broker, which they can't
// while it is away.
func (w *Worker) WorkAlone(ctx context.Context, name string) error {
	if w.service == Cinder || w.service == Nova {
		return w.Nudge(ctx, name)
	}
	return w.Work(ctx, name)
}

// Nudge does one small thing that the service tells before it answers.
func (w *Worker) Nudge(ctx context.Context, name string) error {
	s := w.client.script(ctx)
	switch w.service {
	case Keystone:
		s.createIdentity("project", object{"name": "n-" + name, "domain_id": "default"})
	case Glance:
		s.createImage(name)
	case Cinder:
		s.createVolumeType("n-" + name)
	case Neutron:
		s.createNetwork("network", object{"name": name})
	default:
		s.createKeyPair("n-" + name)
	}
	return s.err
}

// Exchanges are those of the services.
func (c *Cloud) Exchanges() []string {
	var names []string
	for _, s := range c.services {
		if s.name != placement {
			names = append(names, exchangeOf(s.name))
		}
	}
	return names
}

// Queues are those by which the daemons hear of their work: when each has a consumer, Work can be done.
func (c *Cloud) Queues() []string {
	var names []string
	for _, s := range c.services {
		names = append(names, s.queues...)
	}
	return names
}

func (s *script) createVolumeType(name string) string {
	return s.create("volume_type", s.cinder("/types"), object{"name": name}, func(id string) []Event {
		return []Event{s.event("volume_type.create", target("volume_type", id))}
	})
}

func (s *script) createKeyPair(name string) {
	s.do("create key pair", http.MethodPost, s.nova("/os-keypairs"), object{"keypair": object{"name": name}},
		s.both("keypair.create", target("keypair", name))...)
}
