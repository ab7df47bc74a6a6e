//go:build chaos

package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"stackstream/internal/openstack/standin"
)

// configure writes a configuration for each process: each has a network of its own.
func (w *world) configure() {
	secret := filepath.Join(w.dir, "password")
	rabbit := filepath.Join(w.dir, "rabbit-password")
	w.write(secret, standin.Admin().Password+"\n")
	w.write(rabbit, "guest\n")
	vhosts := map[string]string{}
	for _, p := range w.opt.notified {
		vhosts[p] = w.broker.VHost(w.t)
	}
	w.traffic = newTraffic(w, vhosts)
	for i := range collectors + normalizers {
		host, program := collector(i), "collector"
		if i >= collectors {
			host, program = normalizer(i-collectors), "normalizer"
		}
		w.admin[host] = w.freeAddr()
		var urls []string
		for k := range nodes {
			urls = append(urls, "nats://"+w.link(host, node(k), w.addr[node(k)]))
		}
		var b strings.Builder
		fmt.Fprintf(&b, "nats:\n  url: [%s]\nadmin:\n  listen: %s\nlog: {format: json}\n%sproviders:\n",
			strings.Join(urls, ", "), w.admin[host], w.streams())
		for n, p := range w.opt.notified {
			hosts := w.addr[brokerHost]
			if program == "collector" {
				hosts = w.link(host, brokerHost, w.addr[brokerHost])
			}
			fmt.Fprintf(&b, `  %s:
    events: amqp
    amqp:
      hosts: ["%s"]
      vhost: %s
      user: guest
      password_file: %s
      durable_exchanges: true
      heartbeat: 5s
      probe: 2s
      exchanges: [glance, keystone%s]
`, p, hosts, vhosts[p], rabbit, pick(n == 0, ", nova", ""))
			if n > 0 {
				fmt.Fprintf(&b, "      shards:\n        compute: nova\n")
			}
		}
		for _, p := range w.opt.polled {
			at := "http://" + w.addr[cloudHost]
			if program == "collector" {
				at = "http://" + w.link(host, cloudHost, w.addr[cloudHost])
			}
			fmt.Fprintf(&b, `  %s:
    events: panko
    panko:
      auth:
        url: %s/%s/v3
        user: admin
        domain: Default
        password_file: %s
        project: admin
      endpoint: %s/%s
      every: 1s
      jitter: 0s
      overlap: %s
      limit: 500
      http: {timeout: 10s, header_timeout: 8s, connect_timeout: 3s}
`, p, at, p, secret, at, p, overlap)
		}
		file := filepath.Join(w.dir, host+".yaml")
		w.write(file, b.String())
		w.process[host] = w.newProcess(host, filepath.Join(w.bin, program), "-c", file)
		// A second writer that takes no lease and knows nothing of the other.
		w.process[zombie(host)] = w.newProcess(zombie(host), filepath.Join(w.bin, "nolease", program), "-c", w.zombieFile(host, file))
	}
}

func zombie(host string) string { return host + "-without-lease" }

// zombieFile is the configuration of the process beside host, with an admin server of its own.
func (w *world) zombieFile(host, file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	w.admin[zombie(host)] = w.freeAddr()
	other := strings.TrimSuffix(file, ".yaml") + "-without-lease.yaml"
	w.write(other, strings.Replace(string(text), w.admin[host], w.admin[zombie(host)], 1))
	return other
}

func (w *world) streams() string {
	return fmt.Sprintf("streams:\n  replicas: %d\n  lease_ttl: %s\n  raw: {max_bytes: %dGiB}\n  normalized: {max_bytes: %dGiB}\n",
		nodes, w.opt.lease, streamGiB, streamGiB)
}

// maxPayload is the most that a message may have: little, so that some notifications have to go to the object store.
const maxPayload = 400_000

// streamGiB is how large a stream may become, in GiB: never reached unless a fault says so.
const streamGiB = 100
