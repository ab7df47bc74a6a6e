package e2e

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stackstream/event"
)

var (
	flood     = flag.Int("flood", 300, "requests a second of strangers in TestWebhookUnderAttack")
	floodSlow = flag.Int("flood-slow", 200, "connections in it that are slow or silent")
	floodTime = flag.Duration("flood-time", 2*time.Second, "how long it goes on")
)

// signed posts events one by one, with a signature, and again until each is taken.
type signed struct {
	url, secret string
	anew        bool // each over a connection of its own

	mu    sync.Mutex
	told  map[string]bool
	took  []time.Duration // from the first try to the answer
	fails map[string]int  // other tries, by what came of them
}

func (s *signed) post(ctx context.Context, name string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: s.anew}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprint(name, "-", n)
		body, _ := json.Marshal([]map[string]any{{
			"message_id": id, "event_type": "compute.instance.update", "generated": "2026-11-22T05:42:45.672012", "traits": []any{}, "raw": struct{}{},
		}})
		mac := hmac.New(sha256.New, []byte(s.secret))
		mac.Write(body)
		began := time.Now()
		for said := ""; said != "200"; {
			if said = s.try(client, body, fmt.Sprintf("sha256=%x", mac.Sum(nil))); said != "200" {
				s.failed(said)
				<-time.After(20 * time.Millisecond)
			}
		}
		s.mu.Lock()
		s.told[id], s.took = true, append(s.took, time.Since(began))
		s.mu.Unlock()
		<-time.After(10 * time.Millisecond)
	}
}

func (s *signed) failed(said string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails[said]++
}

// try posts once, and returns the status, or what went wrong.
func (s *signed) try(client *http.Client, body []byte, signature string) string {
	req, err := http.NewRequest(http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("X-Hub-Signature-256", signature)
	resp, err := client.Do(req)
	if err != nil {
		return errors.Unwrap(err).Error()
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return strconv.Itoa(resp.StatusCode)
}

// lap says how it went since the last one, and returns the longest time that an event took.
func (s *signed) lap(t *testing.T, what string) time.Duration {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.took) == 0 {
		t.Errorf("%s: nothing was taken", what)
		return 0
	}
	slices.Sort(s.took)
	at := func(part float64) time.Duration {
		return s.took[int(part*float64(len(s.took)-1))].Round(time.Millisecond / 10)
	}
	most := at(1)
	t.Logf("%s: %d events; half of them within %s, 99 of 100 within %s, all within %s; tries that failed: %v", what, len(s.took), at(0.5),
		at(0.99), most, s.fails)
	s.took, s.fails = nil, map[string]int{}
	return most
}

// strangers are requests of those who have no business here.
func strangers() [][]byte {
	request := func(line, header, body string) []byte {
		return []byte(line + "\r\nHost: x\r\n" + header + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body))
	}
	forged := "X-Hub-Signature-256: sha256=" + strings.Repeat("5a", sha256.Size) + "\r\n"
	body := `[{"message_id": "forged", "event_type": "x", "generated": "2026-11-22T05:42:45", "traits": [], "raw": {}}]`
	return [][]byte{
		request("POST /events HTTP/1.1", forged, body),
		request("POST /events HTTP/1.1", forged, strings.Repeat("\x00\xff junk ", 300)),
		request("POST /events HTTP/1.1", "", body),
		request("GET /wp-login.php HTTP/1.1", "", ""),
		[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no TLS is spoken here\r\n\r\n"),
	}
}

// attack has strangers knock so often in a second, and sit around on so many connections, until ctx ends. It returns how often they
// were answered, or thrown out.
func attack(ctx context.Context, addr string, rate, slow int) (answered *atomic.Int64, wait func()) {
	answered = new(atomic.Int64)
	var all sync.WaitGroup
	knock := func(request []byte, pause time.Duration) {
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
		if err == nil {
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			_, _ = conn.Write(request)
			_, _ = io.Copy(io.Discard, conn)
			stop()
			_ = conn.Close()
			answered.Add(1)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	const workers = 64
	requests := strangers()
	turns := make(chan int, workers)
	all.Go(func() {
		defer close(turns)
		began := time.Now()
		for n := 0; ; n++ {
			select {
			case <-time.After(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(rate)))):
			case <-ctx.Done():
				return
			}
			select {
			case turns <- n:
			case <-ctx.Done():
				return
			}
		}
	})
	for range workers {
		all.Go(func() {
			for n := range turns {
				knock(requests[n%len(requests)], 0)
			}
		})
	}
	for i := range slow {
		all.Go(func() {
			part := []string{
				"", "POST /events HTTP/1.1\r\nHost: x\r\nX-Slow: ",
				"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + strings.Repeat(" ", 50_000),
			}[i%3]
			for ctx.Err() == nil {
				knock([]byte(part), time.Second)
			}
		})
	}
	return answered, all.Wait
}

// While strangers post junk and forgeries, and sit on more connections than there are, those who can sign what they post are served as
// before: all they post is there once, and nothing else is.
func TestWebhookUnderAttack(t *testing.T) {
	startServer, url := singleServer(t, t.TempDir())
	startServer()
	d := doors(t, 1, "  url: "+url, "      auth: {hmac: {scheme: github, secret: s3cret}}\n")[0]
	resize(t, d.file)
	nc := connect(t, url)
	collector := start(t, "collector", "-c", d.file)
	normalizer := start(t, "normalizer", "-c", d.file)
	o := observe(t, nc, "webhook")

	kept := &signed{url: d.url, secret: "s3cret", told: map[string]bool{}, fails: map[string]int{}}
	anew := &signed{url: d.url, secret: "s3cret", told: map[string]bool{}, fails: map[string]int{}, anew: true}
	ctx, cancel := context.WithCancel(t.Context())
	var honest sync.WaitGroup
	for i := range 2 {
		honest.Go(func() { kept.post(ctx, fmt.Sprint("kept-", i)) })
		honest.Go(func() { anew.post(ctx, fmt.Sprint("anew-", i)) })
	}
	o.awaitNormalized(t, time.Minute, 10, collector, normalizer) // it has begun
	lap := func(what string) (most time.Duration) {
		return max(kept.lap(t, what+", kept connections"), anew.lap(t, what+", new connections"))
	}
	lap("to begin with")
	<-time.After(*floodTime)
	lap("in peace")
	bad, end := context.WithCancel(t.Context())
	answered, wait := attack(bad, address(t, d), *flood, *floodSlow)
	<-time.After(*floodTime)
	n := answered.Load()
	most := lap("under attack")
	end()
	wait()
	t.Logf("strangers were turned away %d times, %.0f a second", n, float64(n)/floodTime.Seconds())
	cancel()
	honest.Wait()
	if n == 0 || most > 20*time.Second {
		t.Errorf("an honest sender waited for %s, beside %d attacks", most, n)
	}
	want := map[string]bool{}
	for _, s := range []*signed{kept, anew} {
		for id := range s.told {
			want[id] = true
		}
	}
	o.awaitNormalized(t, time.Minute, len(want), collector, normalizer)
	expect(t, "normalized", checkOnce(want, dump(t, nc, event.StreamNormalized, event.NormalizedSubject("prod"))))
	expectMemory(t, collector)
}

// address is where a door listens.
func address(t *testing.T, d door) string {
	t.Helper()
	u, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}
