package config

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"stackstream/internal/check"
)

// door is an address that a process listens on.
type door struct {
	setting    string // the path of what it belongs to, without listen
	host, port string
	at         check.Position
}

// doors adds a problem for each address that something else takes as well. Only one of the two would get it, and that by chance: who
// knocks for the other one would be sent away.
func (d *decoder) doors(c *Config) {
	var all []door
	add := func(setting, address string) {
		host, port, err := net.SplitHostPort(address)
		if err == nil && strings.Trim(port, "0") != "" { // port 0 takes a free one
			all = append(all, door{setting, host, strings.TrimLeft(port, "0"), d.nearest(join(setting, "listen"))})
		}
	}
	add("admin", c.Admin.Listen)
	if c.NATS.UseEmbedded() {
		add("nats.embedded", c.NATS.Embedded.Listen)
	}
	for _, name := range c.Providers.Names() {
		p := c.Providers[name]
		for _, kind := range d.kinds {
			settings, configured := p.Sources[kind.Name]
			if configured && kind.Listens != nil && (p.Events == EventsAuto || p.Events == kind.Name) {
				add(join(join("providers", string(name)), kind.Name), kind.Listens(settings))
			}
		}
	}
	slices.SortStableFunc(all, func(a, b door) int {
		return cmp.Or(cmp.Compare(a.at.Line, b.at.Line), cmp.Compare(a.at.Column, b.at.Column))
	})
	for i, one := range all {
		taken := slices.IndexFunc(all[:i], one.meets)
		if taken < 0 {
			continue
		}
		other := all[taken]
		d.add(one.setting, []Problem{{"listen", fmt.Sprintf("%q is taken by %s (%q): each needs a port of its own",
			net.JoinHostPort(one.host, one.port), join(other.setting, "listen"), net.JoinHostPort(other.host, other.port))}})
	}
}

// meets tells whether two can't be listened on at once. A name is only known to be another's where both are the same, or one of them
// is every address that this machine has.
func (d door) meets(other door) bool {
	if d.port != other.port {
		return false
	}
	for _, a := range addresses(d.host) {
		for _, b := range addresses(other.host) {
			if a == b || a == everywhere || b == everywhere {
				return true
			}
		}
	}
	return false
}

// everywhere is every address that there is, of either family: so a server listens that is told 0.0.0.0 or ::.
const everywhere = ""

// addresses are what a host may stand for.
func addresses(host string) []string {
	if strings.EqualFold(host, "localhost") {
		return []string{"127.0.0.1", "::1"}
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return []string{strings.ToLower(host)}
	case ip.Unmap().IsUnspecified():
		return []string{everywhere}
	}
	return []string{ip.Unmap().String()}
}
