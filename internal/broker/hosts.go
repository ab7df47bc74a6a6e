package broker

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// HostProblems calls each for every mistake in a list of hosts.
func HostProblems(hosts []string, secure bool, each func(field, message string)) {
	if len(hosts) == 0 {
		each("hosts", "is missing: the nodes of the broker, like [rabbit1, rabbit2:5672]")
	}
	seen := map[string]bool{}
	for i, host := range hosts {
		field := fmt.Sprintf("hosts[%d]", i)
		if msg := checkHost(host); msg != "" {
			each(field, msg)
			continue
		}
		address := Address(host, secure)
		if seen[address] {
			each(field, host+" is there twice")
		}
		seen[address] = true
	}
}

// checkHost says what is wrong with one of the hosts of a configuration, "" if nothing is. It does not repeat what could have a password
// in it.
func checkHost(host string) string {
	switch {
	case strings.TrimSpace(host) == "":
		return "is empty"
	case strings.Contains(host, "://"):
		return "is a URL; give host or host:port here, and the rest in user, password_file, vhost and tls"
	case strings.Contains(host, "@"):
		return "must not have a user or password in it: use user and password_file"
	case strings.Contains(host, "/"):
		return "must not have a path in it: the virtual host is the setting vhost"
	case strings.Contains(host, ","):
		return "has a comma in it: make it a list with one host each"
	case strings.ContainsAny(host, " \t\r\n?#"):
		return fmt.Sprintf("%q is not a host", host)
	}
	name, port, ok := splitHost(host)
	switch {
	case !ok && net.ParseIP(zoneless(host)) != nil:
		return fmt.Sprintf("%q is an IPv6 address, which stands in brackets: [%s]", host, host)
	case !ok:
		return fmt.Sprintf("%q is neither a host nor host:port", host)
	case name == "":
		return fmt.Sprintf("%q has no host before the port", host)
	case strings.Contains(name, ":") && net.ParseIP(zoneless(name)) == nil:
		return fmt.Sprintf("%q has no IPv6 address in its brackets", host)
	}
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Sprintf("%q has no port number from 1 to 65535 after the colon", host)
		}
	}
	return ""
}

func zoneless(ip string) string {
	ip, _, _ = strings.Cut(ip, "%")
	return ip
}

// splitHost takes "host", "host:port", "[address]" or "[address]:port" apart; port is "" where there is none.
func splitHost(host string) (name, port string, ok bool) {
	if inner, closed := strings.CutSuffix(host, "]"); closed && strings.HasPrefix(host, "[") {
		name = inner[1:]
		return name, "", strings.Contains(name, ":") && !strings.ContainsAny(name, "[]")
	}
	if !strings.Contains(host, ":") {
		return host, "", !strings.ContainsAny(host, "[]")
	}
	name, port, err := net.SplitHostPort(host)
	return name, port, err == nil && port != ""
}

// Address is host:port, with the port that is meant where none is given.
func Address(host string, secure bool) string {
	name, port, ok := splitHost(host)
	switch {
	case !ok:
		return host
	case port != "":
	case secure:
		port = "5671"
	default:
		port = "5672"
	}
	return net.JoinHostPort(name, port)
}
