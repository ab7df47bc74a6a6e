package panko

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/openstack"
)

// pageRequest says which page.
type pageRequest struct {
	from   time.Time // zero: from the beginning
	marker string
	limit  int
}

// page is what Panko answered.
type page struct {
	elements []element
	asked    int // how many events it was asked for
	odd      oddities
	bytes    int64
	date     time.Time // of the answer, by Panko's clock in whole seconds; zero if it did not say
}

// maxRetryAfter bounds what Panko may ask for: a wrong date must not silence us for a year.
const maxRetryAfter = 15 * time.Minute

const opAsk = "ask Panko for events"

// errTooLarge is a page that has more bytes than Config.MaxBody.
var errTooLarge = errors.New("the answer is larger than max_body")

// markerLost is Panko's answer to a marker that it does not know any more: that event's time to live is over.
type markerLost struct{ error }

func (e markerLost) Unwrap() error { return e.error }

// timeFormat is how Panko reads a time without taking a plus sign for a space: without a zone, meaning UTC.
const timeFormat = "2006-01-02T15:04:05.000000"

// errRefusedToken is an answer 401.
var errRefusedToken = errors.New("a token that Keystone has just given is not accepted")

// get asks for a page. A token that is refused is renewed once.
func (s *Source) get(ctx context.Context, r pageRequest) (page, error) {
	token, err := s.session.Token(ctx)
	if err != nil {
		return page{}, retryLater(err)
	}
	p, err := s.ask(ctx, token, r)
	if !errors.Is(err, errRefusedToken) {
		return p, err
	}
	s.retried("token")
	if token, err = s.session.Renew(ctx, token); err != nil {
		return page{}, retryLater(err)
	}
	return s.ask(ctx, token, r)
}

// ask is one request and its answer.
func (s *Source) ask(ctx context.Context, token *openstack.Token, r pageRequest) (page, error) {
	resp, err := s.send(ctx, token, r)
	if err != nil {
		return page{}, err
	}
	defer drop(resp)
	if resp.StatusCode != http.StatusOK {
		return page{}, s.refusal(resp)
	}
	return s.read(ctx, resp, r.limit)
}

func (s *Source) send(ctx context.Context, token *openstack.Token, r pageRequest) (*http.Response, error) {
	address, err := s.location(token)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"?"+s.query(r), nil)
	if err != nil {
		return nil, &event.Error{Kind: event.Invalid, Op: opAsk, Err: errors.New("endpoint is not a URL")}
	}
	req.Header.Set("X-Auth-Token", token.ID)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", s.userAgent())
	resp, err := s.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, openstack.TransportError(opAsk, err)
	}
	return resp, nil
}

// query writes the question, in the order in which people write it. No filter has a q.type: Panko wants it with all of
// them or with none.
func (s *Source) query(r pageRequest) string {
	var b strings.Builder
	fmt.Fprintf(&b, "sort=generated:asc&limit=%d", r.limit)
	filter := func(field, op, value string) {
		fmt.Fprintf(&b, "&q.field=%s&q.op=%s&q.value=%s", field, op, url.QueryEscape(value))
	}
	if !r.from.IsZero() {
		filter("start_timestamp", "ge", r.from.UTC().Format(timeFormat))
	}
	if s.cfg.AllTenants {
		filter("all_tenants", "eq", "True")
	}
	if r.marker != "" {
		b.WriteString("&marker=" + url.QueryEscape(r.marker))
	}
	return b.String()
}

// read takes the answer in, whole: an answer that ends early is an error and not a short page.
func (s *Source) read(ctx context.Context, resp *http.Response, asked int) (page, error) {
	wrong := func(err error) error {
		return &event.Error{Kind: event.Invalid, Op: opAsk,
			Err: fmt.Errorf("%s answered 200: %w", openstack.Address(resp.Request.URL), err)}
	}
	if resp.ContentLength > s.cfg.MaxBody {
		return page{}, wrong(errTooLarge)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, s.cfg.MaxBody+1))
	switch {
	case ctx.Err() != nil:
		return page{}, ctx.Err()
	case err != nil:
		return page{}, openstack.TransportError(opAsk, fmt.Errorf("read the answer: %w", err))
	case int64(len(body)) > s.cfg.MaxBody:
		return page{}, wrong(errTooLarge)
	}
	elements, odd, err := decodePage(body, time.Now().UTC())
	if errors.Is(err, errCut) {
		return page{}, &event.Error{Kind: event.Unavailable, Op: opAsk, Err: err}
	}
	if err != nil {
		return page{}, wrong(fmt.Errorf("%w (is this the events service? see endpoint)", err))
	}
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	return page{elements: elements, asked: asked, odd: odd, bytes: int64(len(body)), date: date}, nil
}

// refusal makes an error of any answer but 200.
func (s *Source) refusal(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, openstack.MaxFault))
	text := openstack.Fault(resp.StatusCode, body)
	said := fmt.Errorf("%s answered %d: %s", openstack.Address(resp.Request.URL), resp.StatusCode, text)
	failed := func(kind event.Kind, err error) error { return &event.Error{Kind: kind, Op: opAsk, Err: err} }
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized:
		return failed(event.Invalid, fmt.Errorf("%w: %w (does auth.url belong to the same cloud? see endpoint)",
			said, errRefusedToken))
	case status == http.StatusForbidden:
		return failed(event.Invalid, fmt.Errorf("%w: the account may not read events (give it a role that may, see auth; "+
			"all_tenants needs an administrator)", said))
	case status == http.StatusNotFound:
		return failed(event.Invalid, fmt.Errorf("%w (is this the events service? see endpoint)", said))
	case status == http.StatusInternalServerError && strings.Contains(text, "Marker ") && strings.Contains(text, " not found"):
		return markerLost{failed(event.Unavailable, said)}
	case status == http.StatusTooManyRequests || status >= http.StatusInternalServerError:
		return collectors.AskedToWait(failed(event.Unavailable, said), resp.Header.Get("Retry-After"), maxRetryAfter)
	default:
		return failed(event.Invalid, said)
	}
}

// retryLater gives an error of Keystone, where it asked for a pause, the form that the poller understands.
func retryLater(err error) error {
	var refused *openstack.Refused
	if errors.As(err, &refused) {
		return collectors.AskedToWait(err, refused.RetryAfter, maxRetryAfter)
	}
	return err
}

// drop reads what is left of a small answer, so that the connection can be used again.
func drop(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, openstack.MaxFault)
	_ = resp.Body.Close()
}
