package rules

import (
	"slices"
	"strings"

	"stackstream/event"
	"stackstream/internal/rawjson"
)

// lookup says that identifiers at any of the paths name things of a kind. All paths count.
type lookup struct {
	kind  string
	paths []path
}

func newLookup(kind string, paths ...string) lookup {
	l := lookup{kind, make([]path, len(paths))}
	for i, p := range paths {
		l.paths[i] = newPath(p)
	}
	return l
}

// subject says what events of a type are about: the first of the paths that holds something names it.
type subject struct {
	prefix string // of the event type
	lookup
	// inside names objects whose members count like those of the payload: neutron puts a port's fields in "port".
	inside []string
	// also names other things, by members that mean this only in events of this type.
	also []lookup
}

// newSubjects is tried in order; the first prefix that fits counts.
func newSubjects() []subject {
	return []subject{
		about("compute.instance.", "instance", "instance_id", "instance_uuid", "resource_id"),
		about("instance.", "instance", "uuid", "instance_id"),
		about("compute_task.", "instance", "instance_id", "instance_uuid").in("request_spec", "instance_properties"),
		about("scheduler.", "instance", "instance_uuid", "request_spec.instance_properties.uuid").
			in("request_spec.instance_properties"),
		about("keypair.", "keypair", "key_name", "name", "resource_id"),
		about("flavor.", "flavor", "flavorid", "flavor_id", "resource_id"),
		about("aggregate.", "aggregate", "aggregate_id", "resource_id", "id").and("host", "host_name"),
		about("servergroup.", "server_group", "server_group_id").and("instance", "instance_uuids"),
		about("server_group.", "server_group", "uuid"),
		about("service.", "service", "uuid"),
		about("HostAPI.", "host", "host_name"),

		about("image.", "image", "resource_id", "id", "image_id").
			and("project", "owner", "owner_id", "member_id"),
		about("task.", "task", "id").and("project", "owner"), // glance's imports
		about("metadef_", "metadef_namespace", "namespace").and("project", "owner"),
		about("volume.", "volume", "volume_id", "resource_id"),
		about("volume_type.", "volume_type", "volume_types.id", "volume_type_id", "id"),
		about("volume_type_", "volume_type", "type_id", "volume_type_id"), // extra_specs, encryption, project
		about("qos_specs.", "qos_specs", "id", "qos_specs.id").and("volume_type", "type_id"),
		about("snapshot.", "snapshot", "snapshot_id", "resource_id"),
		about("backup.", "backup", "backup_id", "resource_id"),
		about("group.", "volume_group", "group_id"),
		about("groups.", "volume_group", "id"),
		about("group_snapshot.", "group_snapshot", "group_snapshot_id").and("volume_group", "group_id"),
		about("groupsnapshots.", "group_snapshot", "id"),
		about("orchestration.", "stack", "stack_id", "resource_id", "stack_identity"),

		about("network.floating_ip.", "floating_ip", "floating_ip_id", "floating_ip", "resource_id"),
		about("router.interface.", "router", "router_interface.id", "router_id", "resource_id").in("router_interface"),
		about("dhcp_agent.", "agent", "agent.id").in("agent"),
		about("l3_agent.", "agent", "agent.id").in("agent"),
		neutron("network", "network"),
		neutron("subnet", "subnet"),
		neutron("port", "port").and("subnet", "fixed_ips.subnet_id").and("security_group", "security_groups"),
		neutron("router", "router"),
		neutron("floatingip", "floating_ip"),
		neutron("security_group_rule", "security_group_rule"),
		neutron("security_group", "security_group"),

		about("identity.authenticate", "user", "initiator.user_id"),
		about("identity.role_assignment.", "role", "role").
			and("user", "user").and("group", "group").and("project", "project").and("domain", "domain"),
		identity("group", "group").and("user", "actor_id"), // whom it was added to or removed from

	}
}

func about(prefix, kind string, paths ...string) subject {
	return subject{prefix: prefix, lookup: newLookup(kind, paths...)}
}

func (s subject) in(objects ...string) subject {
	s.inside = objects
	return s
}

func (s subject) and(kind string, paths ...string) subject {
	s.also = append(s.also, newLookup(kind, paths...))
	return s
}

// neutron writes {"port": {"id": …}}, {"port": {…}, "id": …} before an update, {"port_id": …} on deletion, or
// {"ports": [{"id": …}, …]} for many at once.
func neutron(name, kind string) subject {
	return about(name+".", kind, name+"_id", name+".id", name+"s.id", "resource_id", "id").in(name, name+"s")
}

// identity is keystone: resource_info has the id that its API uses; target.id is a hash of it where it is no UUID.
func identity(resource, kind string) subject {
	return about("identity."+resource+".", kind, "resource_info", "resource_id", "target.id", "target_id")
}

// subject returns what the event is about, or nil. Keystone, neutron and ironic name events of any resource alike, so that
// those not in the list are understood, too.
func (f *facts) subject(subjects []subject) *subject {
	for i := range subjects {
		if strings.HasPrefix(f.event.EventType, subjects[i].prefix) {
			return &subjects[i]
		}
	}
	first, rest, _ := strings.Cut(f.event.EventType, ".")
	resource, _, _ := strings.Cut(rest, ".")
	var s subject
	switch {
	case first == "identity":
		kind := resource[strings.LastIndexByte(resource, ':')+1:] // OS-TRUST:trust
		if !isKind(kind) {
			return nil
		}
		s = identity(resource, kind)
	case first == "baremetal" && isKind(resource):
		s = about("", "baremetal_"+resource, "uuid")
	case rest == "" || !isKind(first):
		return nil
	default:
		s = about("", first, first+"_id", first+".id", first+"s.id").in(first, first+"s")
		if slices.ContainsFunc(f.docs, func(doc Index) bool { return doc.Get(first).IsObject() }) {
			s.paths = append(s.paths, newPath("id")) // neutron, before an update
		}
	}
	return &s
}

func isKind(s string) bool {
	for i, c := range s {
		if (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '_') {
			return false
		}
	}
	return s != ""
}

// newParts are looked for in every event, in this order.
func newParts() []lookup {
	return []lookup{
		newLookup("instance", "instance_id", "instance_uuid", "volume_attachment.instance_uuid",
			"args.instance.uuid"), // nova, when a call failed
		newLookup("volume", "volume_id"),
		newLookup("snapshot", "snapshot_id"),
		newLookup("image", "image_id"),
		newLookup("stack", "stack_id"),
		newLookup("floating_ip", "floatingip_id", "floating_ip_id"),
		newLookup("port", "port_id"),
		newLookup("router", "router_id"),
		newLookup("network", "network_id"),
		newLookup("subnet", "subnet_id", "subnet_ids"),
		newLookup("security_group", "security_group_id"),
		newLookup("baremetal_node", "node_uuid"),
		newLookup("aggregate", "aggregate_id"),
		newLookup("host", "host", "node", "binding:host_id"),
		newLookup("availability_zone", "availability_zone"),
		newLookup("project", "project_id", "tenant_id", "initiator.project_id", "initiator_project_id"),
	}
}

// fewTargets is up to how many are gone through to find one.
const fewTargets = 16

// targets names what the event touched: first what it is about, then the parts it mentions, the project last. No
// target comes twice.
func (f *facts) targets(subjects []subject, parts []lookup) []event.Target {
	var out []event.Target
	var have map[event.Target]bool // nil as long as there are few
	add := func(kind, id string) {
		id = targetID(kind, id)
		t := event.Target{Kind: kind, ID: id}
		if id == "" || have[t] || have == nil && slices.Contains(out, t) {
			return
		}
		out = append(out, t)
		switch {
		case have != nil:
			have[t] = true
		case len(out) == fewTargets:
			have = map[event.Target]bool{}
			for _, t := range out {
				have[t] = true
			}
		}
	}
	collect := func(l lookup, all bool) {
		for i := range l.paths {
			before := len(out)
			f.each(&l.paths[i], func(id string) bool { add(l.kind, id); return true })
			if !all && len(out) > before {
				return
			}
		}
	}
	if s := f.subject(subjects); s != nil {
		collect(s.lookup, false)
		f.lookInside(s.inside)
		for _, l := range s.also {
			collect(l, true)
		}
		switch s.kind {
		case "port":
			f.devices(add)
		case "tag":
			f.tagged(add)
		}
	}
	// nova calls itself "aggregate.<id>" while it works on one, and "aggregate.<name>" before it has an id.
	if id, ok := strings.CutPrefix(f.event.PublisherID, "aggregate."); ok && id != f.first("name") {
		add("aggregate", id)
	}
	for _, l := range parts {
		collect(l, true)
	}
	if c := f.event.Context; c != nil && !slices.ContainsFunc(out, func(t event.Target) bool { return t.Kind == "project" }) {
		add("project", c.ProjectID)
	}
	return out
}

// targetID makes of an identifier as services write it the one that their APIs take.
func targetID(kind, id string) string {
	switch kind {
	case "host":
		id, _, _ = strings.Cut(id, "@") // cinder: host@backend#pool
	case "stack":
		if strings.HasPrefix(id, "arn:") { // heat: arn:openstack:heat::<project>:stacks/<name>/<id>
			id = id[strings.LastIndexByte(id, '/')+1:]
		}
	}
	return id
}

// devices names what a port belongs to: its device_id means what its device_owner says.
func (f *facts) devices(add func(kind, id string)) {
	for i := range f.docs {
		doc := &f.docs[i]
		id := Text(doc.Get("device_id"))
		switch owner := Text(doc.Get("device_owner")); {
		case strings.HasPrefix(owner, "compute:"):
			add("instance", id)
		case strings.HasPrefix(owner, "network:router_"), strings.HasPrefix(owner, "network:ha_router_"):
			add("router", id)
		}
	}
}

// tagged names what neutron put a tag on: {"parent_resource": "networks", "parent_resource_id": …}, or "obj_resource" in newer
// releases.
func (f *facts) tagged(add func(kind, id string)) {
	kind, id := f.first("parent_resource", "obj_resource"), f.first("parent_resource_id", "obj_resource_id")
	switch kind {
	case "floatingips":
		kind = "floating_ip"
	case "policies":
		kind = "policy"
	default:
		kind = strings.TrimSuffix(kind, "s")
	}
	if isKind(kind) {
		add(kind, id)
	}
}

// lookInside adds the members of some objects, or of those in lists, to the documents.
func (f *facts) lookInside(paths []string) {
	for _, doc := range f.docs {
		for _, path := range paths {
			value := at(doc.members, path)
			elements, ok := value.Elements()
			if !ok {
				elements = []rawjson.Value{value}
			}
			for _, e := range elements {
				if members, ok := e.Members(); ok {
					f.look(members)
				}
			}
		}
	}
}

// at returns the value at a path through objects.
func at(members rawjson.Object, path string) rawjson.Value {
	name, rest, nested := strings.Cut(path, ".")
	v := members.Get(name)
	if !nested {
		return v
	}
	inner, _ := v.Members()
	return at(inner, rest)
}
