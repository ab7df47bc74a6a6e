package webhook

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// One has to go of those of whom there are the most, whoever came and went before: the oldest of them, but that of several
// places with as many it may be another's than the oldest's where those who come are among them.
func TestCrowd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCrowd[int]()
		var all []*member[int] // the oldest first
		for i := range rapid.IntRange(1, 80).Draw(t, "steps") {
			from := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(0, 4).Draw(t, "from"))}), 32)
			if len(all) > 0 && rapid.IntRange(0, 2).Draw(t, "goes") == 0 {
				at := rapid.IntRange(0, len(all)-1).Draw(t, "which")
				c.remove(all[at])
				all = slices.Delete(all, at, at+1)
			} else {
				all = append(all, c.add(from, i))
			}
			count, most := map[netip.Prefix]int{}, 0
			for _, m := range all {
				count[m.from]++
				most = max(most, count[m.from])
			}
			got := c.next(from)
			if len(all) == 0 {
				if got != nil || len(c.from) != 0 || c.n != 0 {
					t.Fatalf("of nobody %v has to go, and there are %d", got, c.n)
				}
				continue
			}
			first := all[slices.IndexFunc(all, func(m *member[int]) bool { return m.from == got.from })]
			if got != first {
				t.Fatalf("%d has to go, and not %d, which is older", got.of, first.of)
			}
			if n := count[got.from]; n != most && (got.from != from || n*len(count) <= len(all)) {
				t.Fatalf("one of %d has to go, and there are %d elsewhere", n, most)
			}
		}
	})
}

func TestOrigin(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7:80": "192.0.2.7/32", "[::ffff:192.0.2.7]:80": "192.0.2.7/32", "[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80": "fe80::/64",
	} {
		if got := origin(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))); got.String() != want {
			t.Errorf("%s is from %s, want %s", addr, got, want)
		}
	}
	if got := origin(&net.UnixAddr{}); got.IsValid() {
		t.Errorf("a socket in a directory is from %s", got)
	}
}

// A sender whose way is slow, and who comes from elsewhere than a crowd that takes all connections and places, is waited for.
func TestCrowdFromElsewhere(t *testing.T) {
	t.Parallel()
	r := newRig(t, formatCeilometer, func(c *Config) { c.Limits.Connections, c.Limits.Concurrent = 20, 4 })
	dial := func(from string) net.Conn {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(t.Context(), "tcp", address(t, r))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	send := func(conn net.Conn, text string) {
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}
	crowd := func(text string) {
		for range 60 {
			send(dial("127.0.0.1"), text)
		}
	}
	body := string(ceilometerBody("slow"))
	header := fmt.Sprintf("POST /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", len(body))
	slow := dial("127.0.0.2")
	send(slow, header[:10])
	crowd("")
	send(slow, header[10:]+body[:10])
	for r.reasons(reasonBusy) == 0 { // the places are all taken, and more
		crowd("POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n[")
	}
	send(slow, body[10:])
	answer, err := io.ReadAll(slow)
	if err != nil || !strings.HasPrefix(string(answer), fmt.Sprint("HTTP/1.1 ", http.StatusOK)) {
		t.Errorf("it is answered %q (%v)", answer, err)
	}
}
