package webhook

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"stackstream/event"
)

// address is where a rig listens.
func address(t *testing.T, r *rig) string {
	t.Helper()
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// honest posts events one by one and wants each taken, with as many tries as a sender has, and returns how long it took.
func honest(t *testing.T, r *rig, prefix string, n int, headers ...string) time.Duration {
	t.Helper()
	began := time.Now()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := range n {
		id := event.ID(fmt.Sprint(prefix, i))
		for try := 0; ; try++ {
			got, err := postTo(t.Context(), client, r.url, ceilometerBody(id), headers...)
			if err == nil && got.status == http.StatusOK {
				break
			}
			if try > 20 {
				t.Fatalf("%s is not taken: %v (%v)", id, got, err)
			}
		}
	}
	stored := map[event.ID]int{}
	for _, id := range r.log.IDs(cloud) {
		stored[id]++
	}
	for i := range n {
		if id := event.ID(fmt.Sprint(prefix, i)); stored[id] != 1 {
			t.Errorf("%s is stored %d times", id, stored[id])
		}
	}
	return time.Since(began)
}

// Many connections that send nothing, a header byte by byte, or a body that never ends take nothing from a sender that does: there
// are more of them than connections, places and memory.
func TestSlowSenders(t *testing.T) {
	t.Parallel()
	r := newRig(t, formatCeilometer, func(c *Config) {
		c.Limits.Connections, c.Limits.Concurrent = 40, 8
		c.Limits.HeaderTime, c.Limits.ReadTime = 20*time.Second, 20*time.Second
		c.Limits.Body, c.Limits.PendingBytes = 64<<10, 512<<10
	})
	addr := address(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	var harm sync.WaitGroup
	defer harm.Wait()
	defer cancel()
	for i := range 60 {
		harm.Go(func() {
			for ctx.Err() == nil {
				conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
				if err != nil {
					return
				}
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				switch i % 3 {
				case 0: // nothing
				case 1:
					_, _ = io.WriteString(conn, "POST /events HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
				default:
					_, _ = io.WriteString(conn, "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n"+strings.Repeat(" ", 50_000))
				}
				_, _ = bufio.NewReader(conn).ReadByte() // until we are thrown out
				stop()
				_ = conn.Close()
			}
		})
	}
	for r.reasons(reasonBusy) == 0 { // the places are all taken
		<-time.After(time.Millisecond)
	}
	if took := honest(t, r, "good-", 30); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

// A flood of junk and forged signatures changes nothing for who knows the secret, nor does a rate that it would use up.
func TestFlood(t *testing.T) {
	t.Parallel()
	r := newRig(t, formatCeilometer, func(c *Config) {
		c.Auth.HMAC = &HMAC{Scheme: "github", Secret: "s"}
		c.Limits.Rate = 30 // as many as the honest sender posts, and fewer than were forged by then
	})
	ctx, cancel := context.WithCancel(t.Context())
	var harm sync.WaitGroup
	for i := range 8 {
		harm.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for n := 0; ctx.Err() == nil; n++ {
				body := bytes.Repeat([]byte{byte(n)}, 100*(i+1))
				_, _ = postTo(ctx, client, r.url, body, "X-Hub-Signature-256", fmt.Sprintf("sha256=%064x", n))
			}
		})
	}
	v, err := newVerifier(HMAC{Scheme: "github", Secret: "s"})
	if err != nil {
		t.Fatal(err)
	}
	for r.reasons(reasonForged) < 500 {
		<-time.After(time.Millisecond)
	}
	for i := range 30 {
		body := ceilometerBody(event.ID(fmt.Sprint("good-", i)))
		sum := fmt.Sprintf("sha256=%x", v.sign(v.keys[0], nil, body))
		if got := r.post(t, body, "X-Hub-Signature-256", sum); got.status != http.StatusOK {
			t.Errorf("event %d: %v", i, got)
		}
	}
	cancel()
	harm.Wait()
	if got := len(r.log.IDs(cloud)); got != 30 {
		t.Errorf("%d events are stored", got)
	}
}

// endless is a body without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	r := newRig(t, formatCeilometer, func(c *Config) {
		c.Limits.Body, c.Limits.PendingBytes, c.Limits.Events = 256<<10, 2<<20, 100
	})
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(z, endless{}, 4<<20); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	for name, send := range map[string]func() (*http.Response, error){
		"a gibibyte, as it says": func() (*http.Response, error) {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url, io.LimitReader(endless{}, 1<<30))
			req.ContentLength = 1 << 30
			return http.DefaultClient.Do(req)
		},
		"without end": func() (*http.Response, error) {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url, endless{})
			return http.DefaultClient.Do(req)
		},
		"a bomb": func() (*http.Response, error) {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url, bytes.NewReader(bomb.Bytes()))
			req.Header.Set("Content-Encoding", "gzip")
			return http.DefaultClient.Do(req)
		},
		"many events": func() (*http.Response, error) {
			body := "[" + strings.Repeat(`{"event_type":"x"},`, 100) + `{"event_type":"y"}]`
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url, strings.NewReader(body))
			return http.DefaultClient.Do(req)
		},
	} {
		resp, err := send()
		if err != nil {
			// A sender that goes on while it is answered may see the connection end before the answer.
			if name == "a gibibyte, as it says" || name == "without end" {
				continue
			}
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
	if n := r.reasons(reasonTooLarge); n != 4 {
		t.Errorf("%d are counted", n)
	}
	honest(t, r, "good-", 3)
	if bytes, pending := r.front.room.used(); bytes != 0 || pending != 0 {
		t.Errorf("%d bytes and %d places are not given back", bytes, pending)
	}
}

// While nothing can be stored as much is taken in as there is room for, and the others are told to come again: who does loses nothing.
func TestBackpressure(t *testing.T) {
	t.Parallel()
	r := newRig(t, formatCeilometer, func(c *Config) { c.Limits.Pending = 5 })
	end := r.stall(t)
	var senders sync.WaitGroup
	for i := range 20 {
		senders.Go(func() {
			for {
				got := r.post(t, ceilometerBody(event.ID(fmt.Sprint("e-", i))))
				if got.status == http.StatusOK {
					return
				}
				if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") != "1" {
					t.Errorf("sender %d: %v", i, got)
					return
				}
				<-time.After(5 * time.Millisecond)
			}
		})
	}
	for r.reasons(reasonBusy) == 0 {
		<-time.After(time.Millisecond)
	}
	end(true)
	senders.Wait()
	if got := r.log.IDs(cloud); len(got) != 20 {
		t.Errorf("%d of 20 events are stored", len(got))
	}
}

// A sender that gives up at any answer sees none.
func TestDisconnect(t *testing.T) {
	t.Parallel()
	r := newRig(t, formatCeilometer, func(c *Config) { c.Refuse = refuseDisconnect })
	r.stop()
	if got, err := postTo(t.Context(), http.DefaultClient, r.url, ceilometerBody("a")); err == nil {
		t.Errorf("while nothing is at work: %v", got)
	}
	r.start(t)
	if got := r.post(t, []byte("[")); got.status != http.StatusBadRequest {
		t.Errorf("junk is answered with %v", got)
	}
	honest(t, r, "good-", 1)
}
