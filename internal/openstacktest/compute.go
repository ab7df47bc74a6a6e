package openstacktest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"stackstream/event"
)

func (c *Cloud) placement() service {
	dir := c.path("placement")
	return service{
		name: placement, kind: "placement", probe: "/",
		config: func(Broker) string {
			return fmt.Sprintf(`[DEFAULT]
use_stderr = true
[api]
auth_strategy = keystone
[placement_database]
connection = %s
`, c.database(placement, "placement")) + c.common(placement)
		},
		prepare: [][]string{
			{"placement-manage", "--config-file", dir + "/placement.conf", "db", "sync"},
			c.journal(placement, "placement"),
		},
		threads: 4, wsgi: "/usr/bin/placement-api", env: []string{"OS_PLACEMENT_CONFIG_DIR=" + dir},
	}
}

// nova has a virtualization driver that only pretends. It sends both of its formats, as a cloud in transition does.
func (c *Cloud) nova() service {
	dir := c.path("nova")
	manage := []string{"nova-manage", "--config-file", dir + "/nova.conf"}
	daemon := func(name string) []string {
		return []string{"/usr/bin/python3", "run.py", name, "--config-file", dir + "/nova.conf"}
	}
	return service{
		name: Nova, kind: "compute", path: "/v2.1", probe: "/",
		dirs: []string{"instances"},
		files: map[string]string{
			"run.py":   daemonOf("nova", ""),
			"api.wsgi": "from nova.api.openstack.compute import wsgi\n" + retryLocked + "application = wsgi.init_application()\n",
		},
		config: func(b Broker) string {
			return fmt.Sprintf(`[DEFAULT]
use_stderr = true
%s
my_ip = 127.0.0.1
host = compute1
state_path = %[2]s
instances_path = %[2]s/instances
compute_driver = fake.FakeDriver
allow_resize_to_same_host = true
[api]
auth_strategy = keystone
[wsgi]
api_paste_config = /usr/share/nova-common/api-paste.ini
[api_database]
connection = %[3]s
[database]
connection = %[4]s
[conductor]
workers = 1
[scheduler]
workers = 1
[glance]
endpoint_override = %[5]s
[vnc]
enabled = false
[notifications]
notification_format = both
notify_on_state_change = vm_and_task_state
`, transport(b), dir, c.database(Nova, "api"), c.database(Nova, "cell1"), c.url(Glance)) +
				c.credentials("placement", placement) + c.credentials("neutron", Nova) +
				"endpoint_override = " + c.url(Neutron) + "\n" + c.common(Nova) + notifications(b)
		},
		prepare: [][]string{
			append(manage, "api_db", "sync"),
			append(manage, "cell_v2", "map_cell0", "--database_connection", c.database(Nova, "cell0")),
			append(manage, "db", "sync"),
			// The broker is that of the configuration, whichever it is by then.
			append(manage, "cell_v2", "create_cell", "--name", "cell1", "--database_connection", c.database(Nova, "cell1"),
				"--transport-url", "{scheme}://{username}:{password}@{hostname}:{port}/{path}"),
			c.journal(Nova, "api", "cell0", "cell1"),
		},
		threads: 1, // like neutron
		wsgi:    dir + "/api.wsgi", env: []string{"OS_NOVA_CONFIG_FILES=/usr/share/nova-common/api-paste.ini;" + dir + "/nova.conf"},
		queues: []string{"conductor", "scheduler", "compute.compute1"},
		daemons: map[string][]string{
			"nova-conductor": daemon("conductor"), "nova-scheduler": daemon("scheduler"), "nova-compute": daemon("compute"),
		},
		settle: func(ctx context.Context) error {
			if err := c.mapComputeHost(ctx); err != nil || c.image != "" {
				return err
			}
			var err error
			c.image, err = c.bootImage(ctx)
			return err
		},
	}
}

// mapComputeHost waits for the compute service and lets the scheduler know it.
func (c *Cloud) mapComputeHost(ctx context.Context) error {
	if err := c.servicesUp(ctx, c.url(Nova)+"/v2.1/os-services", "nova-compute", "nova-conductor", "nova-scheduler"); err != nil {
		return err
	}
	s := c.nova()
	argv := []string{"nova-manage", "--config-file", c.path("nova", "nova.conf"), "cell_v2", "discover_hosts"}
	if out, err := c.command(ctx, s, argv).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, tail(string(out), 15))
	}
	return nil
}

// servicesUp waits until the API at url says that all of the daemons report.
func (c *Cloud) servicesUp(ctx context.Context, url string, daemons ...string) error {
	admin, err := c.logIn(ctx, nil, admin())
	if err != nil {
		return err
	}
	for {
		var answer struct {
			Services []struct{ Binary, State string }
		}
		if err := admin.call(ctx, http.MethodGet, strings.ReplaceAll(url, "PROJECT", admin.projectID), nil, &answer); err != nil {
			return err
		}
		up := map[string]bool{}
		for _, s := range answer.Services {
			up[s.Binary] = s.State == "up"
		}
		missing := ""
		for _, d := range daemons {
			if !up[d] {
				missing = d
			}
		}
		if missing == "" {
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", missing, context.Cause(ctx))
		}
	}
}

// servers makes what a server needs, then has one built, stopped, started, paused, resized and deleted. Nova's versioned
// notifications are on another topic; those of flavors are only there.
func (c *client) servers(ctx context.Context, name string) error {
	s := c.script(ctx)
	none := func(string) []Event { return nil }
	small := s.create("flavor", s.nova("/flavors"), object{"name": "s-" + name, "ram": 64, "vcpus": 1, "disk": 1}, none)
	large := s.create("flavor", s.nova("/flavors"), object{"name": "l-" + name, "ram": 128, "vcpus": 1, "disk": 1}, none)
	key := target("keypair", "k-"+name)
	s.createKeyPair(key.ID)
	s.do("delete key pair", http.MethodDelete, s.nova("/os-keypairs/"+key.ID), nil, s.both("keypair.delete", key)...)
	aggregate := s.create("aggregate", s.nova("/os-aggregates"), object{"name": "a-" + name}, func(id string) []Event {
		return []Event{s.event("aggregate.create.start"), s.event("aggregate.create.end", target("aggregate", id))}
	})
	s.do("delete aggregate", http.MethodDelete, s.nova("/os-aggregates/"+aggregate), nil,
		s.both("aggregate.delete", target("aggregate", aggregate))...)

	host, zone := target("host", "compute1"), target("availability_zone", "nova")
	server := s.create("server", s.nova("/servers"), object{
		"name": name, "flavorRef": small, "imageRef": s.cloud.image, "networks": "none",
	}, func(id string) []Event {
		this := target("instance", id)
		scheduled := []Event{s.updates(this, zone), s.event("compute.instance.create.start", this, zone)}
		return slices.Concat(s.both("scheduler.select_destinations", this), scheduled,
			[]Event{s.updates(this, host, zone), s.event("compute.instance.create.end", this, host, zone)})
	})
	if s.err != nil {
		return s.err
	}
	url := s.nova("/servers/" + server)
	s.wait(url, "server", "ACTIVE")
	touched := []event.Target{target("instance", server), host, zone}
	update := s.updates(touched...)
	s.do("rename server", http.MethodPut, url, object{"server": object{"name": "renamed"}}, update)
	act := func(action string, arguments any, status string, follows ...Event) {
		s.do(action, http.MethodPost, url+"/action", object{action: arguments}, follows...)
		s.wait(url, "server", status)
	}
	// Each step of these begins with an update and has one in the middle.
	step := func(name string) []Event {
		ends := s.both("compute.instance."+name, touched...)
		return []Event{update, ends[0], update, ends[1]}
	}
	act("os-stop", nil, "SHUTOFF", step("power_off")...)
	act("os-start", nil, "ACTIVE", step("power_on")...)
	act("pause", nil, "PAUSED", step("pause")...)
	act("unpause", nil, "ACTIVE", step("unpause")...)
	act("resize", object{"flavorRef": large}, "VERIFY_RESIZE", slices.Concat(
		[]Event{update}, s.both("scheduler.select_destinations", touched[0]), []Event{s.event("compute.instance.exists", touched...)},
		step("resize.prep")[1:], step("resize"), step("finish_resize"))...)
	act("confirmResize", nil, "ACTIVE", append(step("resize.confirm")[1:], update)...)
	s.do("delete server", http.MethodDelete, url, nil, slices.Concat(
		[]Event{update, s.event("compute.instance.delete.start", touched...)}, s.both("compute.instance.shutdown", touched...),
		[]Event{update, s.event("compute.instance.delete.end", touched...)})...)
	s.wait(url, "server", gone)
	return s.err
}

// updates are events that tell of each change of a server's state; how many there are is nova's own business.
func (s *script) updates(touched ...event.Target) Event {
	e := s.event("compute.instance.update", touched...)
	e.Often = true
	return e
}

func (c *client) nova(path string) string { return c.cloud.url(Nova) + "/v2.1" + path }
