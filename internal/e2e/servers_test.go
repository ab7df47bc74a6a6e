package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stackstream/internal/porttest"
)

// servers is a cluster of three nats-server processes, which can be killed and stopped as a machine would do it.
type servers struct {
	t       testing.TB
	urls    []string
	configs []string
	running [3]*process
}

// startServers starts three servers that sync what they acknowledge, and creates the streams with the real command. stores
// are where the first of them keep their files, in place of folders of the test.
func startServers(t testing.TB, config func(nats string) string, stores ...string) (s *servers, file string) {
	t.Helper()
	s = &servers{t: t}
	dir := t.TempDir()
	addrs := porttest.Addrs(t, 6)
	routes := "nats://" + strings.Join(addrs[:3], ", nats://")
	for i := range s.running {
		store := filepath.Join(dir, fmt.Sprint("node-", i))
		if i < len(stores) {
			store = stores[i]
		}
		text := fmt.Sprintf(`server_name: node-%d
listen: "%s"
max_payload: 8454144
jetstream { store_dir: "%s", max_file_store: 64GB, max_memory_store: 256MB, sync_interval: always }
cluster { name: e2e, listen: "%s", routes: [%s] }
`, i, addrs[3+i], store, addrs[i], routes)
		config := filepath.Join(dir, fmt.Sprintf("node-%d.conf", i))
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s.urls = append(s.urls, "nats://"+addrs[3+i])
		s.configs = append(s.configs, config)
		s.start(i)
	}
	file = config("  url: [" + strings.Join(s.urls, ", ") + "]")
	if code := start(t, "stackstream", "provision", "-c", file).wait(); code != 0 {
		t.Fatalf("provision exits with %d", code)
	}
	return s, file
}

func (s *servers) start(i int) {
	s.t.Helper()
	s.running[i] = start(s.t, "nats-server", "-c", s.configs[i])
}

// freeAddr is a loopback address that was free a moment ago.
func freeAddr(t testing.TB) string { t.Helper(); return porttest.Addrs(t, 1)[0] }

// singleServer is one server that keeps its files in store; again starts it, for the first time, too.
func singleServer(t testing.TB, store string) (again func() *process, url string) {
	t.Helper()
	addr := freeAddr(t)
	config := filepath.Join(t.TempDir(), "nats.conf")
	text := fmt.Sprintf("server_name: solo\nlisten: %q\nmax_payload: 8454144\n"+
		"jetstream { store_dir: %q, max_file_store: 64GB, sync_interval: always }\n", addr, store)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() *process { return start(t, "nats-server", "-c", config) }, "nats://" + addr
}
