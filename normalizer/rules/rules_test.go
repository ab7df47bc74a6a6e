package rules

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"stackstream/event"
	"stackstream/internal/rawjson"
)

func defaults(t testing.TB) *Rules {
	t.Helper()
	r, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func parse(t testing.TB, text string) rawjson.Value {
	t.Helper()
	v, err := rawjson.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// targetsOf applies the rules to an event with the payload and returns its targets as text.
func targetsOf(t *testing.T, e event.Event, payload string) string {
	t.Helper()
	members, _ := parse(t, payload).Members()
	defaults(t).Apply(&e, members)
	var out []string
	for _, target := range e.Targets {
		out = append(out, target.Kind+" "+target.ID)
	}
	return strings.Join(out, ", ")
}

func TestTargets(t *testing.T) {
	for _, c := range []struct{ eventType, publisher, payload, want string }{
		{"compute.instance.create.end", "compute.h1",
			`{"tenant_id": "p", "instance_id": "i", "host": "h1", "node": "h1", "availability_zone": "z", "reservation_id": "r"}`,
			"instance i, host h1, availability_zone z, project p"},
		{"compute.instance.create.start", "compute.h1",
			`{"instance_id": "i", "host": null, "availability_zone": "", "node": "n1"}`,
			"instance i, host n1"},
		{"instance.create.end", "nova-compute:h1",
			`{"uuid": "i", "host": "h1", "node": "n1", "tenant_id": "p", "availability_zone": "z"}`,
			"instance i, host h1, host n1, availability_zone z, project p"},
		{"keypair.create.end", "api.h1", `{"tenant_id": "p", "user_id": "u", "key_name": "k"}`, "keypair k, project p"},
		{"aggregate.create.end", "aggregate.1", `{"name": "a", "aggregate_id": 1}`, "aggregate 1"},
		{"aggregate.create.end", "nova-api:h1", `{"id": 1, "uuid": "x"}`, "aggregate 1"},
		{"aggregate.create.start", "aggregate.gold", `{"name": "gold"}`, ""},
		{"aggregate.updateprop.end", "aggregate.7", `{"name": "gold", "aggregate_id": 7}`, "aggregate 7"},
		{"aggregate.addhost.end", "aggregate.7", `{"aggregate_id": 7, "host_name": "h1"}`, "aggregate 7, host h1"},
		{"aggregate.addhost.end", "aggregate.7", `{"host": "h1"}`, "aggregate 7, host h1"},
		{"servergroup.create", "servergroup.api", `{"server_group_id": "g"}`, "server_group g"},
		{"servergroup.addmember", "servergroup.api", `{"server_group_id": "g", "instance_uuids": ["i", "j"]}`,
			"server_group g, instance i, instance j"},
		{"instance.create.end", "nova-compute:h1", `{"uuid": "i", "host_name": "vm", "key_name": "k"}`, "instance i"},
		{"service.update", "nova-compute:h1", `{"uuid": "s", "host": "h1"}`, "service s, host h1"},
		{"scheduler.select_destinations.end", "scheduler.h",
			`{"request_spec": {"instance_properties": {"uuid": "i", "project_id": "p", "availability_zone": "z"}}}`,
			"instance i, availability_zone z, project p"},
		{"scheduler.select_destinations.end", "nova-scheduler:h",
			`{"instance_uuid": "i", "project_id": "p", "availability_zone": "z"}`, "instance i, availability_zone z, project p"},
		{"compute_task.build_instances", "compute_task.h",
			`{"instance_id": "i", "instance_properties": {"uuid": "i", "project_id": "p"}, "request_spec": {"num_instances": 1}}`,
			"instance i, project p"},
		{"compute_task.build_instances.error", "nova-conductor:h",
			`{"instance_uuid": "i", "request_spec": {"instance_uuid": "i", "project_id": "p"}}`, "instance i, project p"},
		{"flavor.create", "nova-api:h1", `{"flavorid": "f"}`, "flavor f"},

		{"image.update", "image.localhost", `{"id": "g", "owner": "p"}`, "image g, project p"},
		{"image.member.create", "image.localhost", `{"image_id": "g", "member_id": "p2"}`, "image g, project p2"},
		{"image.send", "image.localhost", `{"image_id": "g", "owner_id": "p"}`, "image g, project p"},
		{"volume.create.end", "volume.vm1@fake#fake",
			`{"tenant_id": "p", "host": "vm1@fake#fake", "volume_id": "v", "snapshot_id": null, "volume_attachment": []}`,
			"volume v, host vm1, project p"},
		{"volume.attach.end", "volume.vm1@fake",
			`{"volume_id": "v", "volume_attachment": [{"instance_uuid": "i"}, {"instance_uuid": "i2"}]}`,
			"volume v, instance i, instance i2"},
		{"volume_type.create", "volumeType.vm1", `{"volume_types": {"id": "t"}}`, "volume_type t"},
		{"snapshot.create.end", "snapshot.vm1",
			`{"volume_id": "v", "snapshot_id": "s", "tenant_id": "p"}`,
			"snapshot s, volume v, project p"},
		{"backup.create.end", "backup.vm1", `{"backup_id": "b", "volume_id": "v"}`, "backup b, volume v"},
		{"orchestration.stack.create.end", "orchestration.h",
			`{"stack_identity": "arn:x", "tenant_id": "p"}`,
			"stack arn:x, project p"},
		{"orchestration.stack.create.end", "orchestration.h", `{"resource_id": "s"}`, "stack s"},
		{"orchestration.stack.delete.end", "orchestration.h",
			`{"stack_identity": "arn:openstack:heat::p:stacks/name/s"}`, "stack s"},
		{"group.create.end", "volume.h", `{"group_id": "g", "tenant_id": "p"}`, "volume_group g, project p"},
		{"baremetal.node.power_set.end", "ironic-conductor.h", `{"uuid": "n", "instance_uuid": "i"}`, "baremetal_node n, instance i"},

		{"network.create.start", "network.vm", `{"network": {"name": "n", "admin_state_up": true}}`, ""},
		{"network.create.end", "network.vm",
			`{"network": {"id": "n", "tenant_id": "p", "project_id": "p"}}`,
			"network n, project p"},
		{"network.delete.end", "network.vm",
			`{"network_id": "n", "network": {"id": "n", "project_id": "p"}}`,
			"network n, project p"},
		{"port.create.end", "network.vm",
			`{"port": {"id": "o", "network_id": "n", "binding:host_id": "h1", "fixed_ips": [{"subnet_id": "s"}], "security_groups": ["g"], "project_id": "p"}}`,
			"port o, subnet s, security_group g, network n, host h1, project p"},
		{"port.create.end", "network.vm",
			`{"ports": [{"id": "o1", "network_id": "n"}, {"id": "o2", "network_id": "n"}]}`,
			"port o1, port o2, network n"},
		{"network.update.start", "network.vm", `{"network": {"name": "n"}, "id": "n"}`, "network n"},
		{"port.update.end", "network.vm", `{"port": {"id": "o", "device_id": "i", "device_owner": "compute:nova"}}`,
			"port o, instance i"},
		{"port.create.end", "network.vm",
			`{"port": {"id": "o", "device_id": "r", "device_owner": "network:router_interface"}}`, "port o, router r"},
		{"port.create.end", "network.vm",
			`{"ports": [{"id": "o1", "device_id": "i", "device_owner": ""}, {"id": "o2", "device_id": "d", "device_owner": "network:dhcp"}]}`,
			"port o1, port o2"},
		{"subnetpool.create.end", "network.vm", `{"subnetpool": {"id": "s", "project_id": "p"}}`, "subnetpool s, project p"},
		{"subnetpool.delete.start", "network.vm", `{"subnetpool_id": "s"}`, "subnetpool s"},
		{"tag.create.end", "network.vm", `{"parent_resource": "networks", "parent_resource_id": "n", "tags": ["t"]}`, "network n"},
		{"tag.create.end", "network.vm", `{"parent_resource": "floatingips", "parent_resource_id": "f"}`, "floating_ip f"},
		{"tag.create.end", "network.vm", `{"obj_resource": "policies", "obj_resource_id": "q", "tags": ["t"]}`, "policy q"},
		{"tag.create.end", "network.vm", `{"obj_resource": "trunks", "obj_resource_id": "t"}`, "trunk t"},
		{"subnetpool.update.start", "network.vm", `{"subnetpool": {"name": "n"}, "id": "s"}`, "subnetpool s"},
		{"dhcp_agent.network.add", "network.vm", `{"agent": {"id": "a", "network_id": "n"}}`, "agent a, network n"},
		{"l3_agent.router.add", "network.vm", `{"agent": {"id": "a", "router_id": "r"}}`, "agent a, router r"},
		{"agent.update.end", "network.vm", `{"agent": {"id": "a", "host": "h1"}}`, "agent a, host h1"},
		{"HostAPI.set_enabled.start", "api.h1", `{"host_name": "h1", "enabled": true}`, "host h1"},
		{"volume_type_extra_specs.create", "volumeTypeExtraSpecs.vm", `{"type_id": "t", "specs": {}}`, "volume_type t"},
		{"volume_type_project.access.add", "volumeType.vm", `{"volume_type_id": "t", "project_id": "p"}`, "volume_type t, project p"},
		{"qos_specs.associate", "QoSSpecs.vm", `{"id": "q", "type_id": "t"}`, "qos_specs q, volume_type t"},
		{"groups.reset_status.end", "groupStatusUpdate.vm", `{"id": "g", "update": "available"}`, "volume_group g"},
		{"group_snapshot.create.end", "snapshot.vm", `{"group_snapshot_id": "s", "group_id": "g", "tenant_id": "p"}`,
			"group_snapshot s, volume_group g, project p"},
		{"groupsnapshots.reset_status.end", "x", `{"id": "s"}`, "group_snapshot s"},
		{"image_volume_cache.miss", "volume.vm1", `{"image_id": "g", "host": "vm1@lvm"}`, "image g, host vm1"},
		{"task.success", "image.localhost", `{"id": "t", "type": "import", "owner": "p"}`, "task t, project p"},
		{"metadef_object.create", "image.localhost", `{"namespace": "OS::x", "name": "o"}`, "metadef_namespace OS::x"},
		{"baremetal.volumetarget.create.end", "ironic-api.h", `{"uuid": "t", "node_uuid": "n", "volume_id": "v"}`,
			"baremetal_volumetarget t, volume v, baremetal_node n"},
		{"tag.create.end", "network.vm", `{"parent_resource": "Q-x", "parent_resource_id": "f"}`, ""},
		{"subnet.create.end", "network.vm", `{"subnet": {"id": "s", "network_id": "n"}}`, "subnet s, network n"},
		{"router.interface.create", "network.vm",
			`{"router_interface": {"id": "r", "tenant_id": "p", "port_id": "o", "network_id": "n", "subnet_id": "s", "subnet_ids": ["s", "s2"]}}`,
			"router r, port o, network n, subnet s, subnet s2, project p"},
		{"floatingip.update.end", "network.vm",
			`{"floatingip": {"id": "f", "port_id": "o", "router_id": "r"}}`,
			"floating_ip f, port o, router r"},
		{"security_group_rule.create.end", "network.vm", `{"security_group_rule": {"id": "r", "security_group_id": "g"}}`,
			"security_group_rule r, security_group g"},

		{"identity.project.deleted", "identity.vm",
			`{"target": {"id": "hash"}, "resource_info": "p", "initiator": {"project_id": "admin"}}`,
			"project p, project admin"},
		{"identity.user.created", "identity.vm", `{"target": {"id": "u"}}`, "user u"},
		{"identity.group.updated", "identity.vm", `{"resource_info": "g", "actor_id": "u", "actor_type": "user"}`, "group g, user u"},
		{"identity.application_credential.created", "identity.vm", `{"resource_info": "c"}`, "application_credential c"},
		{"identity.OS-TRUST:trust.created", "identity.vm", `{"resource_info": "t"}`, "trust t"},
		{"identity.ODD-THING.created", "identity.vm", `{"resource_info": "t"}`, ""},
		{"identity.role_assignment.created", "identity.vm",
			`{"role": "r", "user": "u", "project": "p", "group": null}`,
			"role r, user u, project p"},
		{"identity.authenticate", "identity.vm", `{"target": {"id": "hash"}, "initiator": {"user_id": "u"}}`, "user u"},

		{"some.thing", "x", `{"instance_id": "i", "network_id": "n", "volume_id": {"odd": 1}, "host": ["h1", " h2 ", ["h3"]]}`,
			"instance i, network n, host h1, host h2"},
		{"some.thing", "x", `{"id": "i"}`, ""},
		{"baremetal.Odd-Thing.x", "x", `{"uuid": "i"}`, ""},
		{"some.thing", "x", `{}`, ""},
		{"some.thing", "x", `{"instance_id": "***"}`, ""},
		{"Some-Thing.x", "x", `{"Some-Thing": {"id": "1"}}`, ""},
		{"some.thing", "x", `["no", "object"]`, ""},
	} {
		t.Run(c.eventType+" "+c.payload, func(t *testing.T) {
			got := targetsOf(t, event.Event{EventType: c.eventType, PublisherID: c.publisher}, c.payload)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Who an operation ran for counts where the payload names no project.
func TestProjectOfTheContext(t *testing.T) {
	for _, c := range []struct{ payload, want string }{
		{`{"port_id": "o"}`, "port o, project p"},
		{`{"port_id": "o", "project_id": "other"}`, "port o, project other"},
	} {
		e := event.Event{EventType: "port.delete.start", Context: &event.Context{ProjectID: "p"}}
		if got := targetsOf(t, e, c.payload); got != c.want {
			t.Errorf("%s: %s, want %s", c.payload, got, c.want)
		}
	}
}

func TestChain(t *testing.T) {
	for _, c := range []struct {
		name    string
		context *event.Context
		docs    []string
		want    string
	}{
		{"the reservation", &event.Context{RequestID: "req-1"}, []string{`{}`, `{"reservation_id": "r-1"}`}, "r-1"},
		{"else the request", &event.Context{RequestID: "req-1"}, []string{`{"reservation_id": "", "request_id": "req-2"}`}, "req-1"},
		{"of the payload", nil, []string{`{"request_id": "req-2"}`}, "req-2"},
		{"of who began it", &event.Context{UserID: "u"}, []string{`{"initiator": {"request_id": "req-3"}}`}, "req-3"},
		{"else nothing", nil, []string{`{"reservation_id": {}}`}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var docs []rawjson.Object
			for _, d := range c.docs {
				members, _ := parse(t, d).Members()
				docs = append(docs, members)
			}
			e := event.Event{EventType: "x.y", Context: c.context, Payload: []byte(c.docs[0])}
			defaults(t).Apply(&e, docs...)
			if e.ChainID != c.want {
				t.Errorf("got %q, want %q", e.ChainID, c.want)
			}
		})
	}
}

func TestGroupAndLevel(t *testing.T) {
	r := defaults(t)
	for _, c := range []struct{ eventType, priority, group, level string }{
		{"compute.instance.create.end", "INFO", "power", "critical"},
		{"compute.instance.create.start", "info", "power", "detail"},
		{"compute.instance.create.error", "", "power", "critical"},
		{"compute.instance.delete.end", "", "power", "critical"},
		{"compute.instance.exists", "", "configuration", "detail"},
		{"compute.instance.resize.end", "", "configuration", "critical"},
		{"compute.instance.resize.prep.end", "", "configuration", "detail"},
		{"compute.instance.snapshot.end", "", "snapshot", "critical"},
		{"compute.instance.update", "", "configuration", "detail"},
		{"compute.instance.suspend.end", "", "power", "critical"},
		{"compute.instance.suspend.start", "", "power", "detail"},
		{"instance.power_off.end", "", "power", "critical"},
		{"image.create", "", "addition", "critical"},
		{"image.delete", "", "deletion", "critical"},
		{"image.send", "", "addition", "detail"},
		{"volume.create.end", "", "storage", "critical"},
		{"snapshot.create.start", "", "storage", "critical"},
		{"backup.create.end", "", "storage", "critical"},
		{"network.create.end", "", "network", "critical"},
		{"port.create.end", "", "network", "detail"},
		{"port.create.end", "WARN", "network", "warning"},
		{"security_group.update.end", "", "network", "critical"},
		{"router.interface.create", "", "network", "critical"},
		{"identity.project.created", "", "addition", "critical"},
		{"identity.user.created", "", "general", "detail"},
		{"identity.user.created", "ERROR", "general", "critical"},
		{"aggregate.delete.end", "", "deletion", "critical"},
		{"aggregate.create.end", "", "addition", "critical"},
		{"orchestration.stack.create.end", "", "addition", "critical"},
		{"orchestration.stack.delete.error", "", "deletion", "critical"},
		{"compute_task.build_instances.error", "", "general", "critical"},
		{"scheduler.select_destinations.start", "", "general", "detail"},
		{"compute.instance.live_migration.rollback.dest.end", "", "power", "warning"},
		{"instance.live_migration_rollback_dest.end", "", "power", "warning"},
		{"metrics.update", "", "general", "detail"},
		{"tag.create.end", "", "network", "detail"},
		{"policy.create.end", "", "network", "detail"},
		{"minimum_bandwidth_rule.create.end", "", "network", "detail"},
		{"l3.meter", "", "network", "detail"},
		{"HostAPI.set_enabled.start", "", "general", "detail"},
		{"volume_type_extra_specs.create", "", "configuration", "detail"},
		{"qos_specs.create", "", "configuration", "detail"},
		{"groups.reset_status.start", "", "storage", "detail"},
		{"image_volume_cache.miss", "", "storage", "detail"},
		{"my.own.thing", "", "", "detail"},
		{"my.own.thing.failed", "", "", "critical"},
		{"my.own.thing.failed", "WARN", "", "critical"},
	} {
		group, level := r.table.lookUp(c.eventType, c.priority)
		if group != c.group || level != c.level {
			t.Errorf("%s %s: %q, %q; want %q, %q", c.eventType, c.priority, group, level, c.group, c.level)
		}
	}
}

func TestTheTableMayBeChanged(t *testing.T) {
	var c Config
	err := yaml.UnmarshalWithOptions([]byte(`
event_groups:
  groups:
    - {group: billing, types: ["my.*", compute.instance.exists]}
  levels:
    - {level: warning, types: ["*.e*.end", my.own.thing]}
    - {level: critical, types: [my.own.thing]}
`), &c, yaml.Strict())
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for eventType, want := range map[string][2]string{
		"my.own.thing":                {"billing", "warning"}, // the first entry counts
		"my.own.other":                {"billing", "detail"},
		"my.end":                      {"billing", "detail"}, // the parts of a pattern do not overlap
		"my.e.end":                    {"billing", "warning"},
		"compute.instance.exists":     {"billing", "detail"},
		"compute.instance.create.end": {"power", "critical"},
	} {
		group, level := r.table.lookUp(eventType, "")
		if got := [2]string{group, level}; got != want {
			t.Errorf("%s: %q, want %q", eventType, got, want)
		}
	}
}

func TestTheBuiltInTableIsAConfiguration(t *testing.T) {
	var table Table
	if err := yaml.UnmarshalWithOptions(DefaultTable(), &table, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if err := (Config{EventGroups: table}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesEveryMistake(t *testing.T) {
	err := Config{
		SecretKeys: []string{"pin", "", "*", "a*b"},
		EventGroups: Table{
			Groups: []GroupEntry{{Group: "Big Group", Types: []string{"a.b"}}, {Group: "x"}},
			Levels: []LevelEntry{{Level: "info", Types: []string{"a.[bc]", ""}}},
		},
	}.Validate()
	want := `event_groups.levels[0].level: is "info"; one of critical, warning, detail is meant
event_groups.groups[0]: group "Big Group": want a-z, 0-9, _ and -
event_groups.groups[1]: types is empty
event_groups.levels[0]: type "a.[bc]": want an event type, with * for any text
event_groups.levels[0]: type "": want an event type, with * for any text
secret_keys: "": want a key, or * and the end of one
secret_keys: "*": want a key, or * and the end of one
secret_keys: "a*b": want a key, or * and the end of one`
	if err == nil || err.Error() != want {
		t.Errorf("%v", cmp.Diff(want, err.Error()))
	}
}
