package openstacktest

import (
	"cmp"
	"context"
	"fmt"
	"strings"
)

// service is how one of them is prepared and run.
type service struct {
	name Service
	// kind and path are what the catalogue says of it: its type, and what follows host and port.
	kind, path string
	// probe is a path of the API that needs no token.
	probe   string
	dirs    []string          // below its own directory
	files   map[string]string // in its directory, besides its configuration
	config  func(Broker) string
	prepare [][]string // commands that create the database
	wsgi    string     // the file with the WSGI application
	uwsgi   []string   // further arguments
	threads int        // of the API
	env     []string
	queues  []string // of the daemons
	daemons map[string][]string
	// settle waits for what else must be true before the service is of use.
	settle func(context.Context) error
}

func (c *Cloud) service(name Service) service {
	switch name {
	case Keystone:
		return c.keystone()
	case Glance:
		return c.glance()
	case Cinder:
		return c.cinder()
	case Neutron:
		return c.neutron()
	case Nova:
		return c.nova()
	case placement:
		return c.placement()
	}
	panic("no service " + name)
}

// notifications is the part of a configuration that says where notifications go. Everything is at its default except what a
// test would wait for: how long the client library pauses before it connects again.
func notifications(b Broker) string {
	driver := "messagingv2"
	if b.URL == "" {
		driver = "noop"
	}
	return fmt.Sprintf(`
[oslo_messaging_notifications]
driver = %s
topics = notifications
[oslo_messaging_rabbit]
amqp_durable_queues = %v
rabbit_retry_backoff = 0
kombu_reconnect_delay = 0.5
`, driver, b.Durable)
}

// transport is the line that names the broker; without one, one that nobody connects to, since commands want to read it.
func transport(b Broker) string {
	return "transport_url = " + cmp.Or(b.URL, "rabbit://nobody:nothing@127.0.0.1:9/nowhere")
}

// common are the sections by which a service asks keystone who is calling, locks and finds no policies but its own.
func (c *Cloud) common(s Service) string {
	return c.credentials("keystone_authtoken", s) + fmt.Sprintf(`www_authenticate_uri = %[1]s/v3
[oslo_concurrency]
lock_path = %[2]s/lock
[oslo_policy]
policy_dirs = %[2]s/policy.d
`, c.url(Keystone), c.path(string(s)))
}

// credentials is a section by which a service logs in as the user of a service.
func (c *Cloud) credentials(section string, user Service) string {
	return fmt.Sprintf(`
[%s]
auth_type = password
auth_url = %s/v3
username = %s
password = %s
user_domain_name = Default
project_name = service
project_domain_name = Default
region_name = RegionOne
`, section, c.url(Keystone), user, password)
}

// database is where a service has one of its databases.
func (c *Cloud) database(s Service, name string) string {
	return "sqlite:///" + c.path(string(s), name+".db")
}

// journal puts databases into the mode that lets threads read while one writes; else they fail with "database is locked".
func (c *Cloud) journal(s Service, names ...string) []string {
	code := "import sqlite3, sys\nfor f in sys.argv[1:]: sqlite3.connect(f).execute('PRAGMA journal_mode=WAL')"
	argv := []string{"/usr/bin/python3", "-c", code}
	for _, name := range names {
		argv = append(argv, strings.TrimPrefix(c.database(s, name), "sqlite:///"))
	}
	return argv
}

func (c *Cloud) keystone() service {
	dir := c.path("keystone")
	manage := []string{"keystone-manage", "--config-file", dir + "/keystone.conf"}
	url := c.url(Keystone) + "/v3"
	return service{
		name: Keystone, probe: "/v3",
		dirs: []string{"fernet", "credential"},
		files: map[string]string{
			"fernet/0": newKey(), "fernet/1": newKey(), "credential/0": newKey(), "credential/1": newKey(),
		},
		config: func(b Broker) string {
			return fmt.Sprintf(`[DEFAULT]
use_stderr = true
%s
# By default keystone tells nobody who logs in. An empty list of exceptions changes that.
notification_opt_out =
[database]
connection = %s
[fernet_tokens]
key_repository = %s/fernet
[fernet_receipts]
key_repository = %[3]s/fernet
[credential]
key_repository = %[3]s/credential
[cache]
enabled = true
backend = oslo_cache.dict
[identity]
password_hash_rounds = 4
`, transport(b), c.database(Keystone, "keystone"), dir) + notifications(b)
		},
		prepare: [][]string{
			append(manage, "db_sync"),
			c.journal(Keystone, "keystone"),
			append(manage, "bootstrap", "--bootstrap-password", password, "--bootstrap-region-id", "RegionOne",
				"--bootstrap-admin-url", url, "--bootstrap-internal-url", url, "--bootstrap-public-url", url),
		},
		threads: 6, wsgi: "/usr/bin/keystone-wsgi-public", env: []string{"OS_KEYSTONE_CONFIG_FILES=" + dir + "/keystone.conf"},
	}
}

func (c *Cloud) glance() service {
	dir := c.path("glance")
	conf := dir + "/glance.conf"
	return service{
		name: Glance, kind: "image", probe: "/",
		dirs: []string{"store", "stage", "tasks"},
		config: func(b Broker) string {
			return fmt.Sprintf(`[DEFAULT]
use_stderr = true
%s
enabled_backends = file:file
node_staging_uri = file://%[2]s/stage
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = %[2]s/store
[os_glance_staging_store]
filesystem_store_datadir = %[2]s/stage
[os_glance_tasks_store]
filesystem_store_datadir = %[2]s/tasks
[database]
connection = %[3]s
[paste_deploy]
flavor = keystone
config_file = %[2]s/glance-api-paste.ini
`, transport(b), dir, c.database(Glance, "glance")) + c.common(Glance) + notifications(b)
		},
		prepare: [][]string{
			{"ln", "-s", "glance.conf", "glance-api.conf"}, // the names that the application looks for
			{"cp", "/usr/share/glance-common/glance-api-paste.ini", "."},
			{"glance-manage", "--config-file", conf, "db_sync"},
			c.journal(Glance, "glance"),
		},
		threads: 4, wsgi: "/usr/bin/glance-wsgi-api", env: []string{"OS_GLANCE_CONFIG_DIR=" + dir},
	}
}

// retryLocked lets the services know sqlite's way to say that a transaction lost against another one. They try again
// then, as they do for the databases that they are made for.
const retryLocked = `from oslo_db import exception
from oslo_db.sqlalchemy import exc_filters
from sqlalchemy.exc import OperationalError
@exc_filters.filters("sqlite", OperationalError, r".*database is locked")
def lost_against_another(error, match, engine_name, is_disconnect):
    raise exception.DBDeadlock(error)
`

// daemonOf is a program that runs one of a service's daemons, named by its first argument, after a patch.
func daemonOf(service, patch string) string {
	return "import importlib, sys\n" +
		"daemon = importlib.import_module('" + service + ".cmd.' + sys.argv.pop(1))  # first: it patches the standard library\n" +
		retryLocked + patch + "sys.exit(daemon.main())\n"
}
