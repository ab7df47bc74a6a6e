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
	paths []string
}

// subject says what events of a type are about: the first of the paths that holds something names it.
type subject struct {
	prefix string // of the event type
	lookup
	// inside names an object whose members count like those of the payload: neutron puts a port's fields in "port".
	inside string
	// also names other things, by members that mean this only in events of this type.
	also []lookup
}

// newSubjects is tried in order; the first prefix that fits counts.
func newSubjects() []subject {
	return []subject{
		about("compute.instance.", "instance", "instance_id", "instance_uuid", "resource_id"),
		about("instance.", "instance", "uuid", "instance_id"),
		about("keypair.", "keypair", "key_name", "name", "resource_id"),
		about("flavor.", "flavor", "flavorid", "flavor_id", "resource_id"),
		about("aggregate.", "aggregate", "aggregate_id", "resource_id", "id"),
		about("servergroup.", "server_group", "server_group_id"),
		about("server_group.", "server_group", "uuid"),

		about("image.", "image", "resource_id", "id").and("project", "owner"),
		about("volume.", "volume", "volume_id", "resource_id"),
		about("volume_type.", "volume_type", "volume_types.id", "volume_type_id", "id"),
		about("snapshot.", "snapshot", "snapshot_id", "resource_id"),
		about("backup.", "backup", "backup_id", "resource_id"),
		about("orchestration.", "stack", "stack_id", "resource_id", "stack_identity"),

		about("network.floating_ip.", "floating_ip", "floating_ip_id", "floating_ip", "resource_id"),
		about("router.interface.", "router", "router_interface.id", "router_id", "resource_id").in("router_interface"),
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
		identity("project"), identity("user"), identity("group"), identity("role"), identity("domain"),
		identity("service"), identity("endpoint"), identity("region"), identity("policy"), identity("credential"),
		about("identity.OS-TRUST:trust.", "trust", "resource_info", "resource_id", "target.id", "target_id"),
	}
}

func about(prefix, kind string, paths ...string) subject {
	return subject{prefix: prefix, lookup: lookup{kind, paths}}
}

func (s subject) in(object string) subject {
	s.inside = object
	return s
}

func (s subject) and(kind string, paths ...string) subject {
	s.also = append(s.also, lookup{kind, paths})
	return s
}

// neutron writes {"port": {"id": …}}, {"port_id": …} on deletion, or {"ports": [{"id": …}, …]} for many at once.
func neutron(name, kind string) subject {
	return about(name+".", kind, name+"_id", name+".id", name+"s.id", "resource_id").in(name)
}

// identity is keystone: resource_info has the id that its API uses; target.id is a hash of it where it is no UUID.
func identity(kind string) subject {
	return about("identity."+kind+".", kind, "resource_info", "resource_id", "target.id", "target_id")
}

// newParts are looked for in every event, in this order.
func newParts() []lookup {
	return []lookup{
		{"instance", []string{"instance_id", "instance_uuid", "volume_attachment.instance_uuid"}},
		{"volume", []string{"volume_id"}},
		{"snapshot", []string{"snapshot_id"}},
		{"image", []string{"image_id"}},
		{"stack", []string{"stack_id"}},
		{"floating_ip", []string{"floatingip_id", "floating_ip_id"}},
		{"port", []string{"port_id"}},
		{"router", []string{"router_id"}},
		{"network", []string{"network_id"}},
		{"subnet", []string{"subnet_id", "subnet_ids"}},
		{"security_group", []string{"security_group_id"}},
		{"keypair", []string{"key_name"}},
		{"aggregate", []string{"aggregate_id"}},
		{"host", []string{"host", "node", "binding:host_id"}},
		{"availability_zone", []string{"availability_zone"}},
		{"project", []string{"project_id", "tenant_id", "initiator.project_id", "initiator_project_id"}},
	}
}

// targets names what the event touched: first what it is about, then the parts it mentions, the project last. No
// target comes twice.
func (f *facts) targets(subjects []subject, parts []lookup) []event.Target {
	var out []event.Target
	have := map[event.Target]bool{}
	add := func(kind, id string) {
		if kind == "host" {
			id, _, _ = strings.Cut(id, "@") // cinder: host@backend#pool
		}
		t := event.Target{Kind: kind, ID: id}
		if id == "" || have[t] {
			return
		}
		have[t] = true
		out = append(out, t)
	}
	collect := func(l lookup, all bool) {
		for _, path := range l.paths {
			before := len(out)
			f.each(path, func(id string) bool { add(l.kind, id); return true })
			if !all && len(out) > before {
				return
			}
		}
	}
	for _, s := range subjects {
		if !strings.HasPrefix(f.event.EventType, s.prefix) {
			continue
		}
		collect(s.lookup, false)
		f.lookInside(s.inside)
		for _, l := range s.also {
			collect(l, true)
		}
		break
	}
	// nova calls itself "aggregate.<id>" while it works on one.
	if id, ok := strings.CutPrefix(f.event.PublisherID, "aggregate."); ok {
		add("aggregate", id)
	}
	for _, l := range parts {
		collect(l, true)
	}
	return out
}

// lookInside adds the members of an object to the documents.
func (f *facts) lookInside(name string) {
	if name == "" {
		return
	}
	given := f.docs
	f.docs = slices.Clip(given) // the caller's stay as they are
	for _, doc := range given {
		for _, value := range []rawjson.Value{doc.Get(name), doc.Get(name + "s")} {
			elements, ok := value.Elements()
			if !ok {
				elements = []rawjson.Value{value}
			}
			for _, e := range elements {
				if members, ok := e.Members(); ok {
					f.docs = append(f.docs, members)
				}
			}
		}
	}
}
