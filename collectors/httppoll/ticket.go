package httppoll

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"stackstream/event"
	"stackstream/internal/openstack"
)

// tokenLeft is how much of the life of a token must be left for it to be used; of a short life a quarter.
const tokenLeft = time.Minute

// ticket is something that a login handed out and that proves for a while who we are. It is safe for concurrent use; at most
// one login is under way.
type ticket struct {
	// login returns a new one, and how long it is good for, 0 where that is not known.
	login func(ctx context.Context) (token string, life time.Duration, err error)
	now   func() time.Time
	turn  chan struct{} // holds the right to read and write what follows
	token string
	renew time.Time // zero: not before it is refused
}

func newTicket(login func(context.Context) (string, time.Duration, error), now func() time.Time) *ticket {
	t := &ticket{login: login, now: now, turn: make(chan struct{}, 1)}
	t.turn <- struct{}{}
	return t
}

// get returns one that is good, after a login where there is none.
func (t *ticket) get(ctx context.Context) (string, error) {
	select {
	case <-t.turn:
		defer func() { t.turn <- struct{}{} }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if t.token != "" && (t.renew.IsZero() || t.now().Before(t.renew)) {
		return t.token, nil
	}
	asked := t.now()
	token, life, err := t.login(ctx)
	if err != nil {
		return "", err
	}
	t.token, t.renew = token, time.Time{}
	if life > 0 {
		t.renew = asked.Add(life - min(tokenLeft, life/4))
	}
	return token, nil
}

// refused drops the token that was refused, unless there is another one already.
func (t *ticket) refused(ctx context.Context, proof string) (bool, error) {
	select {
	case <-t.turn:
		defer func() { t.turn <- struct{}{} }()
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	if t.token == proof {
		t.token = ""
	}
	return true, nil
}

// loginReply is what a login was answered.
type loginReply struct {
	status int
	header http.Header
	body   []byte
}

// login sends a request that logs in, and takes in the answer.
func login(client *http.Client, req *http.Request, op string) (*loginReply, error) {
	resp, err := client.Do(req)
	if err != nil {
		if ctx := req.Context(); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, openstack.TransportError(op, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenAnswer))
	if err != nil {
		return nil, openstack.TransportError(op, err)
	}
	return &loginReply{resp.StatusCode, resp.Header, body}, nil
}

// refusedLogin is the error of a login that was no success. Nothing of what the server says is shown: it may repeat the secret.
func refusedLogin(op string, r *loginReply, more string) error {
	said := fmt.Errorf("it answered %d%s", r.status, more)
	if r.status == http.StatusTooManyRequests || r.status >= 500 {
		return &openstack.Refused{Op: op, Status: r.status, RetryAfter: r.header.Get("Retry-After"), Err: said}
	}
	return &event.Error{Kind: event.Invalid, Op: op, Err: said}
}

// seconds is a number of seconds as a time, 0 for anything else.
func seconds(text string) time.Duration {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n > 0 && n < 1e9) {
		return 0
	}
	return time.Duration(n * float64(time.Second))
}
