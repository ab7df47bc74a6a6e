package httppoll

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"stackstream/collectors"
	"stackstream/event"
)

// paced waits for our own pace before each request, logins and redirects too. The time limit of a request begins when its turn has
// come.
type paced struct {
	next    http.RoundTripper
	limiter *rate.Limiter
	timeout time.Duration
	clock   Clock
}

// pacedClient is a client that keeps to a rate, or the client itself where there is none.
func (c RateLimit) pacedClient(client *http.Client, clock Clock) *http.Client {
	if c.Rate.Per == 0 {
		return client
	}
	out := *client
	next := client.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	out.Transport = paced{
		next: next, limiter: rate.NewLimiter(rate.Limit(c.Rate.perSecond()), max(c.Burst, 1)), timeout: client.Timeout, clock: clock,
	}
	out.Timeout = 0
	return &out
}

// RoundTrip implements http.RoundTripper.
func (p paced) RoundTrip(req *http.Request) (*http.Response, error) {
	now := p.clock.Now()
	turn := p.limiter.ReserveN(now, 1)
	if err := p.clock.Pause(req.Context(), turn.DelayFrom(now)); err != nil {
		turn.CancelAt(p.clock.Now())
		return nil, err
	}
	if p.timeout <= 0 {
		return p.next.RoundTrip(req)
	}
	ctx, cancel := context.WithTimeout(req.Context(), p.timeout)
	resp, err := p.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = limited{resp.Body, cancel}
	return resp, nil
}

// limited is a body that may be read until a time limit, which its end releases.
type limited struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (l limited) Close() error {
	defer l.cancel()
	return l.ReadCloser.Close()
}

// pace is what the service says of the quota that our requests count against. It is safe for concurrent use.
type pace struct {
	cfg  RateLimit
	most time.Duration // the longest pause

	mu    sync.Mutex
	until time.Time // nothing is asked before
	why   error
}

// closed is how long nothing may be asked, because what is left of the quota belongs to others.
func (p *pace) closed(now time.Time) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.until.Sub(now), p.why
}

// observe goes by the headers of an answer. The pause ends with the reset, or after the longest pause, by a request that shows
// how things are: what is left may be so little for ever, and a quota that says it is never whole again stops nobody.
func (p *pace) observe(h http.Header, now time.Time) {
	if p.cfg.Remaining == "" {
		return
	}
	left, ok := number(h.Get(p.cfg.Remaining))
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until = (time.Time{}); left > p.reserved(h) {
		return
	}
	if wait, ok := p.reset(h, now); ok && wait > 0 {
		p.until = now.Add(wait)
		why := fmt.Errorf("%s says that %d requests are left", p.cfg.Remaining, left)
		p.why = &event.Error{Kind: event.Unavailable, Op: opAsk, Err: why}
	}
}

// reserved is how many requests are left to others.
func (p *pace) reserved(h http.Header) int64 {
	if p.cfg.Reserve.Percent == 0 {
		return p.cfg.Reserve.Number
	}
	limit, ok := number(h.Get(p.cfg.Limit))
	if !ok {
		return 0
	}
	return int64(float64(limit) * p.cfg.Reserve.Percent / 100)
}

// refused is how long an answer that is no success wants us to wait, and keeps everybody from asking before: as Retry-After says;
// else until the reset, where it is tried again anyway or the quota is used up, which some services say with 403.
func (p *pace) refused(resp *http.Response, retried bool, why error, now time.Time) (time.Duration, bool) {
	wait, ok := p.wanted(resp, retried, now)
	if !ok || wait <= 0 {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until, p.why = now.Add(wait), why
	return wait, true
}

func (p *pace) wanted(resp *http.Response, retried bool, now time.Time) (time.Duration, bool) {
	forbidden := resp.StatusCode == http.StatusForbidden
	if wait, ok := collectors.ParseRetryAfter(resp.Header.Get("Retry-After"), now, p.most); ok && (retried || forbidden) {
		return wait, true
	}
	left, told := number(resp.Header.Get(p.cfg.Remaining))
	if spent := told && left == 0 && forbidden; spent || retried && resp.StatusCode == http.StatusTooManyRequests {
		return p.reset(resp.Header, now)
	}
	return 0, false
}

// reset is the time until the quota is whole again.
func (p *pace) reset(h http.Header, now time.Time) (time.Duration, bool) {
	if p.cfg.Reset.Header == "" {
		return 0, false
	}
	// A moment is one of the service's clock.
	if date, err := http.ParseTime(h.Get("Date")); err == nil && date.Sub(now).Abs() <= maxSkew {
		now = date
	}
	wait, err := p.cfg.Reset.parse(strings.TrimSpace(h.Get(p.cfg.Reset.Header)), now)
	if err != nil {
		return 0, false
	}
	return min(max(wait, 0), p.most), true
}

var errNoReset = errors.New("is no time of a reset")

// parse reads the value of the header as the time from now on.
func (r Reset) parse(value string, now time.Time) (time.Duration, error) {
	as := r.As
	n, err := strconv.ParseFloat(value, 64)
	isNumber := err == nil && n >= 0 && n < 1e15
	if as == "auto" {
		switch {
		case !isNumber:
			if d, err := time.ParseDuration(value); err == nil {
				return d, nil
			}
			as = "http"
		case n > 1e11:
			as = "unix_ms"
		case n > 1e8: // three years in seconds
			as = "unix"
		default:
			as = "seconds"
		}
	}
	if as == "http" {
		at, err := http.ParseTime(value)
		if err != nil {
			at, err = time.Parse(time.RFC3339, value)
		}
		return at.Sub(now), err
	}
	if !isNumber {
		return 0, errNoReset
	}
	switch as {
	case "unix_ms":
		return time.UnixMilli(int64(n)).Sub(now), nil
	case "unix":
		return time.Unix(int64(n), 0).Sub(now), nil
	}
	return time.Duration(min(n, 1e8) * float64(time.Second)), nil
}

// number is the whole number that a value begins with: some services add to it.
func number(value string) (int64, bool) {
	value = strings.TrimSpace(value)
	end := 0
	for end < len(value) && value[end] >= '0' && value[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(value[:end], 10, 64)
	return n, err == nil
}
