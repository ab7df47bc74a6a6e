package httppoll

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/expr"
	"stackstream/internal/openstack"
	"stackstream/internal/rawjson"
	"stackstream/internal/records"
	"stackstream/internal/timeform"
)

const (
	// pageTries is how often a page is asked for until the run fails; then the poller begins again from the cursor.
	pageTries = 4
	// minSkew and maxSkew bound by how much the service's clock may be behind ours for us to go by it: HTTP tells whole
	// seconds, and what is further off than the latter is no clock.
	minSkew = 2 * time.Second
	maxSkew = 24 * time.Hour

	opAsk = "ask for events"
)

var (
	errTooLarge = errors.New("the answer is larger than max_body")
	// errReset is an answer that means by retry.on that the service no longer knows where we stood.
	errReset = errors.New("the service no longer knows where we stood")
	// errForgotten is one that means that it no longer knows the page that was read last.
	errForgotten = errors.New("the service no longer knows the page before")
)

// answer is what the service said to one request.
type answer struct {
	url    *url.URL // that was asked, after redirects
	header http.Header
	page   records.Page
	date   time.Time // by the service's clock in whole seconds; zero if it did not say
	etag   string
	bytes  int64
	// nothing: the service said that there is nothing, in place of an answer with no records.
	nothing bool
	items   []item // the records, read

	variables expr.Vars
}

// vars are what expressions about an answer may use.
func (a *answer) vars() expr.Vars {
	if a.variables == nil {
		a.variables = expr.Vars{
			"headers": headersOf(a.header), "links": linksOf(a.header, a.url), "body": parsed(a.page.Document),
			"last": rawjson.Value("null"),
		}
		if a.page.Listed > 0 {
			a.variables["last"] = parsed(a.page.Last)
		}
	}
	return a.variables
}

// parsed is a document for expressions, null where it is no JSON.
func parsed(document []byte) rawjson.Value {
	v, err := rawjson.Parse(document)
	if err != nil {
		return rawjson.Value("null")
	}
	return v
}

// page asks for the next page of a walk, again after errors that may pass. It returns nil where nothing has changed since the
// answer whose ETag the position has.
func (w *walk) page(ctx context.Context) (*answer, error) {
	return retrying(ctx, w, func() (*answer, error) {
		began := time.Now()
		a, err := w.ask(ctx)
		for tooLarge(err) && w.pager.shrink(err) {
			w.retried("size")
			a, err = w.ask(ctx)
		}
		if tooLarge(err) && w.pager.full > 0 {
			err = w.pager.tooMany(err)
		}
		if a != nil && w.opts.Hooks.Page != nil {
			w.opts.Hooks.Page(len(a.page.Records), a.bytes, time.Since(began))
		}
		return a, err
	})
}

// retrying asks, and again after errors that may pass. Where the service wants a pause it is made here, if the walk is one to
// make it in.
func retrying[T any](ctx context.Context, w *walk, ask func() (T, error)) (T, error) {
	pause := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(200*time.Millisecond), backoff.WithMaxInterval(5*time.Second),
		backoff.WithMaxElapsedTime(0),
	)
	return backoff.RetryNotifyWithTimerAndData(func() (T, error) {
		var none T
		if d, why := w.pace.closed(w.now()); d > 0 {
			if err := w.wait(ctx, d, why); err != nil {
				return none, backoff.Permanent(err)
			}
		}
		v, err := ask()
		var asked *collectors.RetryAfter
		switch {
		case errors.As(err, &asked):
			if err := w.wait(ctx, asked.After, asked.Err); err != nil {
				return none, backoff.Permanent(err)
			}
		case err != nil && !mayPass(err):
			return none, backoff.Permanent(err)
		}
		return v, err
	}, backoff.WithContext(backoff.WithMaxRetries(pause, w.opts.Past.tries()-1), ctx), func(err error, _ time.Duration) {
		w.retried("error")
		w.opts.Past.waits(err)
	}, w.opts.Clock.timer(ctx))
}

// mayPass tells whether it is worth asking for the same page again soon.
func mayPass(err error) bool {
	return errors.Is(err, event.Unavailable) && !errors.Is(err, errReset) && !errors.Is(err, errForgotten)
}

// ask is one request for a page and its answer.
func (w *walk) ask(ctx context.Context) (*answer, error) {
	resp, err := w.exchange(ctx, func() (*http.Request, error) { return w.request(ctx) })
	if err != nil {
		return nil, err
	}
	a, err := w.judge(resp)
	drop(resp.Response)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return a, err
}

// exchange sends a request and returns what is answered, whatever its status is. Who we are is proven anew once if the service
// does not take it, and the same is asked again.
func (s *Source) exchange(ctx context.Context, write func() (*http.Request, error)) (reply, error) {
	for try := 0; ; try++ {
		req, err := write()
		if err != nil {
			return reply{}, err
		}
		proof, err := s.signer.sign(ctx, req)
		if err != nil {
			return reply{}, s.retryLater(err)
		}
		resp, err := s.client.Do(req)
		if err != nil {
			if ctx.Err() != nil {
				return reply{}, context.Cause(ctx)
			}
			return reply{}, openstack.TransportError(opAsk, err)
		}
		s.pace.observe(resp.Header, s.now())
		r, err := s.meaning(resp)
		if err != nil {
			drop(resp)
			return reply{}, err
		}
		if try > 0 || r.action != actionRefresh {
			return r, nil
		}
		again, err := s.signer.refused(ctx, proof)
		if err == nil && !again {
			return r, nil
		}
		drop(resp)
		if err != nil {
			return reply{}, s.retryLater(err)
		}
		s.retried("token")
	}
}

// request writes the request for the next page.
func (w *walk) request(ctx context.Context) (*http.Request, error) {
	if w.dialect != nil {
		return w.dialectRequest(ctx)
	}
	vars := w.requestVars()
	value, address := w.pager.value()
	if address == "" {
		var err error
		if address, err = w.resume(); err != nil {
			return nil, err
		}
	}
	req, err := w.programs.request.write(w.asking(ctx), w.cfg.Request.Method, address, vars)
	if err != nil {
		return nil, err
	}
	setDefault(req.Header, "Accept", accepts(w.cfg.Request.Decode))
	setDefault(req.Header, "User-Agent", w.userAgent())
	// An address that the service gave is asked as it is: only headers are ours.
	query := req.URL.Query()
	w.sendCursor(req, query)
	if address == "" {
		send(req, query, w.cfg.Pagination.Send, value)
		send(req, query, w.cfg.Pagination.sendSize(), strconv.Itoa(w.pager.size))
		req.URL.RawQuery = query.Encode()
	}
	if w.cfg.Cursor.Type == CursorNone && w.at.ETag != "" && w.pager.pages == 0 {
		req.Header.Set("If-None-Match", w.at.ETag)
	}
	return req, nil
}

// accepts is what we say we take, for a form.
func accepts(form records.Form) string {
	switch form {
	case records.NDJSON:
		return "application/x-ndjson, application/json"
	case records.CSV:
		return "text/csv"
	case records.XML:
		return "application/xml, text/xml"
	default:
		return "application/json"
	}
}

// sendCursor puts into the request from where it asks, and until when.
func (w *walk) sendCursor(req *http.Request, query url.Values) {
	c := w.cfg.Cursor
	switch c.Type {
	case CursorTime:
		form := c.Send.form(c)
		if from := w.asksFrom(); !from.IsZero() {
			send(req, query, c.Send, form.Format(from))
		}
		if c.Send.Until != "" {
			until := c.Send
			until.Name = c.Send.Until
			send(req, query, until, form.Format(w.asksUntil()))
		}
	case CursorInteger:
		if w.number != nil {
			send(req, query, c.Send, fmt.Sprint(*w.number))
		}
	case CursorToken:
		send(req, query, c.Send, w.token)
	}
}

// asksFrom is the time that is sent: before the lower bound by what makes sure that it is shown.
func (w *walk) asksFrom() time.Time {
	at := w.pager.begin(w.from)
	if at.IsZero() {
		return at
	}
	at = at.Truncate(w.step())
	if w.cfg.Cursor.Boundary == "exclusive" {
		at = at.Add(-w.step())
	}
	return at
}

// asksUntil is the end of what is asked for.
func (w *walk) asksUntil() time.Time {
	switch {
	case !w.pager.end.IsZero():
		return w.pager.end
	case w.until.IsZero():
		return w.start.Truncate(w.step())
	}
	return w.until.Truncate(w.step())
}

// requestVars are what texts of a request may use.
func (w *walk) requestVars() expr.Vars {
	from := w.asksFrom()
	if from.IsZero() {
		from = time.Unix(0, 0).UTC() // the beginning of all events, in a form that services take
	}
	vars := expr.Vars{
		"partition": w.partitionVar(w.part), "start": w.start, "from": from, "until": w.asksUntil(), "cursor": w.token,
		"page": w.pager.token, "page_size": strconv.Itoa(w.pager.size),
	}
	if w.number != nil {
		vars["cursor"] = fmt.Sprint(*w.number)
	}
	if value, _ := w.pager.value(); value != "" {
		vars["page"] = value
	}
	return vars
}

// form is how a time is sent: as it comes, where nothing else is said.
func (s Send) form(c Cursor) timeform.Form {
	if s.Format != "" {
		return s.Format
	}
	if len(c.Format) > 0 {
		return c.Format[0]
	}
	return timeform.RFC3339
}

// send puts a value where it belongs; an empty one is not sent.
func send(req *http.Request, query url.Values, to Send, value string) {
	switch {
	case value == "" || to.Name == "":
	case to.In == "header":
		req.Header.Set(to.Name, value)
	case to.In == "query":
		query.Set(to.Name, value)
	}
}

// retryLater gives an error of a login, where it asked for a pause, the form that the poller understands.
func (s *Source) retryLater(err error) error {
	var refused *openstack.Refused
	if errors.As(err, &refused) {
		if wait, ok := collectors.ParseRetryAfter(refused.RetryAfter, s.now(), s.cfg.Retry.Max); ok {
			return &collectors.RetryAfter{After: wait, Err: err}
		}
	}
	return err
}

// drop reads what is left of a small answer, so that the connection can be used again.
func drop(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, openstack.MaxFault)
	_ = resp.Body.Close()
}

func badRequest(field string, err error) error {
	return &event.Error{Kind: event.Invalid, Op: "write the request", Err: fmt.Errorf("%s: %w", field, err)}
}
