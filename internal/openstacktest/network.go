package openstacktest

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"stackstream/event"
)

// neutron has no agents: what its API does is told all the same.
func (c *Cloud) neutron() service {
	dir := c.path("neutron")
	conf := dir + "/neutron.conf"
	return service{
		name: Neutron, kind: "network", probe: "/",
		config: func(b Broker) string {
			return fmt.Sprintf(`[DEFAULT]
use_stderr = true
%s
auth_strategy = keystone
core_plugin = ml2
service_plugins = router
api_paste_config = /usr/share/neutron-common/api-paste.ini
state_path = %s
dhcp_agent_notification = false
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false
[database]
connection = %s
[ml2]
type_drivers = local,vxlan
tenant_network_types = vxlan
mechanism_drivers =
[ml2_type_vxlan]
vni_ranges = 1:1000
`, transport(b), dir, c.database(Neutron, "neutron")) + c.common(Neutron) + notifications(b)
		},
		prepare: [][]string{
			// Its migrations alter constraints, which sqlite can't; so the tables are made as they are in the end.
			{"/usr/bin/python3", "-c", "import sys, sqlalchemy\nfrom neutron.db.migration.models import head\n" +
				"head.get_metadata().create_all(sqlalchemy.create_engine(sys.argv[1]))", c.database(Neutron, "neutron")},
			{"neutron-db-manage", "--config-file", conf, "stamp", "heads"},
			c.journal(Neutron, "neutron"),
		},
		threads: 1, // it is made for green threads, which do not bear others
		wsgi:    "/usr/bin/neutron-api", env: []string{"OS_NEUTRON_CONFIG_FILES=" + conf},
	}
}

// networks makes a network with a subnet, a port, a security group and a router, changes them and deletes them. At the
// beginning of a request neutron says what was asked for, at its end what came of it.
func (c *client) networks(ctx context.Context, name string) error {
	s := c.script(ctx)
	network := s.createNetwork("network", object{"name": name})
	inNetwork := target("network", network)
	s.changeNetwork("network", network, object{"name": "renamed"})
	subnet := s.createNetwork("subnet", object{"network_id": network, "cidr": "10.9.0.0/24", "ip_version": 4}, inNetwork)

	var answer struct {
		Port struct {
			ID             string
			SecurityGroups []string `json:"security_groups"`
		}
	}
	var port []event.Target // what a port's events name in the end
	s.ask("create port", http.MethodPost, s.neutron("port", ""), object{"port": object{"network_id": network, "name": name}}, &answer,
		func() []Event {
			port = []event.Target{target("port", answer.Port.ID), target("subnet", subnet)}
			for _, group := range answer.Port.SecurityGroups {
				port = append(port, target("security_group", group))
			}
			port = append(port, inNetwork)
			return []Event{s.event("port.create.start", inNetwork), s.event("port.create.end", port...)}
		})
	if s.err != nil {
		return s.err
	}
	s.changeNetwork("port", answer.Port.ID, object{"admin_state_up": false}, port[1:]...)

	group := s.createNetwork("security_group", object{"name": name})
	s.createNetwork("security_group_rule", object{
		"security_group_id": group, "direction": "ingress", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22,
	}, target("security_group", group))
	router := s.createNetwork("router", object{"name": name})
	s.routerInterface("add", "create", router, subnet, network)
	s.routerInterface("remove", "delete", router, subnet, network)

	s.deleteNetwork("router", router)
	s.deleteNetwork("port", answer.Port.ID, port[1:]...)
	s.deleteNetwork("subnet", subnet, inNetwork)
	s.deleteNetwork("network", network)
	s.deleteNetwork("security_group", group)
	return s.err
}

// createNetwork makes something of a kind. Both events name what it is part of.
func (s *script) createNetwork(kind string, fields object, of ...event.Target) string {
	return s.create(kind, s.neutron(kind, ""), fields, func(id string) []Event {
		made := append([]event.Target{target(kind, id)}, of...)
		return []Event{s.event(kind+".create.start", of...), s.event(kind+".create.end", made...)}
	})
}

func (s *script) changeNetwork(kind, id string, fields object, inTheEnd ...event.Target) {
	s.do("change "+kind, http.MethodPut, s.neutron(kind, id), object{kind: fields}, s.grows(kind+".update", target(kind, id), inTheEnd)...)
}

func (s *script) deleteNetwork(kind, id string, inTheEnd ...event.Target) {
	s.do("delete "+kind, http.MethodDelete, s.neutron(kind, id), nil, s.grows(kind+".delete", target(kind, id), inTheEnd)...)
}

// grows are the two events of a request of which the second one names more.
func (s *script) grows(eventType string, what event.Target, more []event.Target) []Event {
	return []Event{s.event(eventType+".start", what), s.event(eventType+".end", append([]event.Target{what}, more...)...)}
}

func (s *script) routerInterface(what, tells, router, subnet, network string) {
	var answer struct {
		Port string `json:"port_id"`
	}
	s.ask(what+" router interface", http.MethodPut, s.neutron("router", router)+"/"+what+"_router_interface", object{"subnet_id": subnet},
		&answer, func() []Event {
			return []Event{s.event("router.interface."+tells,
				target("router", router), target("port", answer.Port), target("network", network), target("subnet", subnet))}
		})
}

func (c *client) neutron(kind, id string) string {
	return strings.TrimSuffix(c.cloud.url(Neutron)+"/v2.0/"+strings.ReplaceAll(kind, "_", "-")+"s/"+id, "/")
}
