package rabbitmqtest_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"stackstream/internal/rabbitmqtest"
)

// how tells a test that runs in a process of its own how to end.
const how = "RABBITMQTEST_HOW"

// gone waits until nothing is left of a broker.
func gone(t *testing.T, root string) {
	t.Helper()
	if !rabbitmqtest.Poll(func() bool {
		_, err := os.Stat(root)
		return os.IsNotExist(err) && len(rabbitmqtest.Processes(root)) == 0
	}) {
		_, err := os.Stat(root)
		t.Errorf("processes %v still run, directory %s: %v", rabbitmqtest.Processes(root), root, err)
	}
}

func TestNothingIsLeftOfATest(t *testing.T) {
	for _, end := range []string{"running", "paused", "crashed"} {
		t.Run(end, func(t *testing.T) {
			var root string
			t.Run("test", func(t *testing.T) {
				b := rabbitmqtest.Start(t)
				root = b.Root()
				if got := len(rabbitmqtest.Processes(root)); got < 3 {
					t.Errorf("%d processes found, want the broker, its helper and the port mapper", got)
				}
				switch end {
				case "paused":
					b.Pause(t)
				case "crashed":
					p, err := os.FindProcess(b.Pid())
					if err != nil {
						t.Fatal(err)
					}
					if err := p.Kill(); err != nil {
						t.Fatal(err)
					}
				}
			})
			if left := rabbitmqtest.Processes(root); len(left) > 0 {
				t.Errorf("processes %v still run", left)
			}
			if _, err := os.Stat(root); !os.IsNotExist(err) {
				t.Errorf("directory %s: %v", root, err)
			}
		})
	}
}

// The process that owns a broker ends without a chance to clean up.
func TestNothingIsLeftOfAProcess(t *testing.T) {
	if end := os.Getenv(how); end != "" {
		dieAs(t, end)
	}
	for _, end := range []string{"killed while it is paused", "panics"} {
		t.Run(end, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+strings.Split(t.Name(), "/")[0]+"$")
			cmd.Env = append(os.Environ(), how+"="+end)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var root string
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				if r, ok := strings.CutPrefix(lines.Text(), "root "); ok {
					root = r
					break
				}
			}
			if root == "" {
				t.Fatalf("the other process started no broker: %v", cmd.Wait())
			}
			if strings.HasPrefix(end, "killed") {
				if got := len(rabbitmqtest.Processes(root)); got < 3 {
					t.Errorf("%d processes found", got)
				}
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			for lines.Scan() { // up to its end
				continue
			}
			if err := cmd.Wait(); err == nil {
				t.Error("the other process ended well")
			}
			gone(t, root)
		})
	}
}

func dieAs(t *testing.T, end string) {
	b := rabbitmqtest.Start(t)
	if end == "killed while it is paused" {
		b.Pause(t)
	}
	fmt.Printf("root %s\n", b.Root())
	if end == "panics" {
		panic("on purpose")
	}
	<-make(chan int)
}

// listeners are the TCP sockets of processes that listen.
func listeners(t *testing.T, pids []int) []*net.TCPAddr {
	t.Helper()
	inodes := map[string]bool{}
	for _, pid := range pids {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:") {
				inodes[strings.Trim(to, "socket:[]")] = true
			}
		}
	}
	var found []*net.TCPAddr
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			continue // a machine without IPv6
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" && inodes[f[9]] {
				found = append(found, address(t, f[1]))
			}
		}
	}
	return found
}

// address reads what the kernel writes: words of four bytes, each little-endian, a colon and the port.
func address(t *testing.T, s string) *net.TCPAddr {
	t.Helper()
	ip, port, _ := strings.Cut(s, ":")
	a := &net.TCPAddr{}
	for ; len(ip) >= 8; ip = ip[8:] {
		word, err := strconv.ParseUint(ip[:8], 16, 32)
		if err != nil {
			t.Fatalf("read address %s: %v", s, err)
		}
		a.IP = append(a.IP, byte(word), byte(word>>8), byte(word>>16), byte(word>>24))
	}
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		t.Fatalf("read port %s: %v", s, err)
	}
	a.Port = int(n)
	return a
}
