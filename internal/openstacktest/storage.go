package openstacktest

import (
	"context"
	"fmt"
	"net/http"

	"stackstream/event"
)

// cinder has a driver that only pretends. Its exchange is "openstack", as it is by default.
func (c *Cloud) cinder() service {
	dir := c.path("cinder")
	conf := dir + "/cinder.conf"
	daemon := func(name string) []string { return []string{"/usr/bin/python3", "run.py", name, "--config-file", conf} }
	return service{
		name: Cinder, kind: "volumev3", path: "/v3/%(tenant_id)s", probe: "/",
		dirs: []string{"volumes", "conversion"},
		files: map[string]string{
			"run.py": daemonOf("cinder", patchCinder),
			"api.wsgi": retryLocked + patchCinder +
				"from cinder.wsgi.wsgi import initialize_application\napplication = initialize_application()\n",
		},
		config: func(b Broker) string {
			return fmt.Sprintf(`[DEFAULT]
use_stderr = true
%s
auth_strategy = keystone
api_paste_config = /usr/share/cinder-common/api-paste.ini
my_ip = 127.0.0.1
host = block1
state_path = %[2]s
volumes_dir = %[2]s/volumes
image_conversion_dir = %[2]s/conversion
enabled_backends = fake
glance_api_servers = %[3]s
rootwrap_config = /etc/cinder/rootwrap.conf
[fake]
volume_driver = cinder.tests.fake_driver.FakeLoggingVolumeDriver
volume_backend_name = fake
target_helper = fake
[database]
connection = %[4]s
`, transport(b), dir, c.url(Glance), c.database(Cinder, "cinder")) + c.common(Cinder) + notifications(b)
		},
		prepare: [][]string{
			{"cinder-manage", "--config-file", conf, "db", "sync"},
			c.journal(Cinder, "cinder"),
		},
		threads: 4, wsgi: dir + "/api.wsgi", uwsgi: []string{"--pyargv", "--config-file " + conf},
		queues:  []string{"cinder-scheduler", "cinder-volume.block1@fake"},
		daemons: map[string][]string{"cinder-scheduler": daemon("scheduler"), "cinder-volume": daemon("volume")},
		settle: func(ctx context.Context) error {
			return c.servicesUp(ctx, c.url(Cinder)+"/v3/PROJECT/os-services", "cinder-scheduler", "cinder-volume")
		},
	}
}

// patchCinder makes up for a mistake in the packages: Debian's oslo.messaging 14.0.3-0+deb12u1 leaves out what it does not
// know of a request's context and makes it anew with from_dict, and that of cinder 21.3.1 does not bear that read_deleted
// is missing: every request that notifies would answer 500.
const patchCinder = `from cinder import context
made = context.RequestContext.from_dict.__func__
context.RequestContext.from_dict = classmethod(
    lambda cls, values: made(cls, dict(values, read_deleted=values.get('read_deleted') or 'no')))
`

// volumes makes a volume and a snapshot of it, attaches and detaches it, and deletes everything.
func (c *client) volumes(ctx context.Context, name string) error {
	s := c.script(ctx)
	kind := s.createVolumeType("t-" + name)
	host, zone := target("host", "block1"), target("availability_zone", "nova")
	volume := s.create("volume", s.cinder("/volumes"), object{"size": 1, "name": name, "volume_type": kind}, func(id string) []Event {
		return s.both("volume.create", target("volume", id), host, zone)
	})
	if s.err != nil {
		return s.err
	}
	this := target("volume", volume)
	url := s.cinder("/volumes/" + volume)
	s.wait(url, "volume", "available")
	s.do("rename volume", http.MethodPut, url, object{"volume": object{"name": "renamed"}}, s.both("volume.update", this, host, zone)...)
	snapshot := s.create("snapshot", s.cinder("/snapshots"), object{"volume_id": volume, "name": name}, func(id string) []Event {
		return s.both("snapshot.create", target("snapshot", id), this, zone)
	})
	s.wait(s.cinder("/snapshots/"+snapshot), "snapshot", "available")

	const server = "11111111-2222-3333-4444-555555555555" // cinder does not ask whether there is one
	attached := []event.Target{this, target("instance", server), host, zone}
	s.do("attach volume", http.MethodPost, url+"/action", object{"os-attach": object{"instance_uuid": server, "mountpoint": "/dev/vdb"}},
		s.event("volume.attach.start", this, host, zone), s.event("volume.attach.end", attached...))
	s.wait(url, "volume", "in-use")
	s.do("detach volume", http.MethodPost, url+"/action", object{"os-detach": object{}},
		s.event("volume.detach.start", attached...), s.event("volume.detach.end", this, host, zone))
	s.wait(url, "volume", "available")

	s.do("delete snapshot", http.MethodDelete, s.cinder("/snapshots/"+snapshot), nil,
		s.both("snapshot.delete", target("snapshot", snapshot), this, zone)...)
	s.wait(s.cinder("/snapshots/"+snapshot), "snapshot", gone)
	s.do("delete volume", http.MethodDelete, url, nil, s.both("volume.delete", this, host, zone)...)
	s.wait(url, "volume", gone)
	s.do("delete volume type", http.MethodDelete, s.cinder("/types/"+kind), nil, s.event("volume_type.delete", target("volume_type", kind)))
	return s.err
}

func (c *client) cinder(path string) string { return c.cloud.url(Cinder) + "/v3/" + c.projectID + path }
