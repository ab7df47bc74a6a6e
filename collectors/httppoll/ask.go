package httppoll

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
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
)

// answer is what the service said to one request.
type answer struct {
	url    *url.URL // that was asked, after redirects
	header http.Header
	page   records.Page
	date   time.Time // by the service's clock in whole seconds; zero if it did not say
	etag   string
	bytes  int64

	variables expr.Vars
}

// vars are what expressions about an answer may use.
func (a *answer) vars() expr.Vars {
	if a.variables == nil {
		headers := map[string]string{}
		for name := range a.header {
			headers[strings.ToLower(name)] = a.header.Get(name)
		}
		a.variables = expr.Vars{"headers": headers, "body": parsed(a.page.Document), "last": rawjson.Value("null")}
		if n := len(a.page.Records); n > 0 {
			a.variables["last"] = parsed(a.page.Records[n-1])
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
	pause := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(200*time.Millisecond), backoff.WithMaxInterval(5*time.Second),
		backoff.WithMaxElapsedTime(0),
	)
	return backoff.RetryNotifyWithData(func() (*answer, error) {
		began := time.Now()
		a, err := w.ask(ctx)
		if err != nil && !mayPass(err) {
			return nil, backoff.Permanent(err)
		}
		if a != nil && w.opts.Hooks.Page != nil {
			w.opts.Hooks.Page(len(a.page.Records), a.bytes, time.Since(began))
		}
		return a, err
	}, backoff.WithContext(backoff.WithMaxRetries(pause, pageTries-1), ctx), func(error, time.Duration) { w.retried("error") })
}

// mayPass tells whether it is worth asking for the same page again soon.
func mayPass(err error) bool {
	var asked *collectors.RetryAfter
	return errors.Is(err, event.Unavailable) && !errors.As(err, &asked) && !errors.Is(err, errReset)
}

// ask is one request and its answer. Who we are is proven anew once if the service does not take it.
func (w *walk) ask(ctx context.Context) (*answer, error) {
	for try := 0; ; try++ {
		req, err := w.request(ctx)
		if err != nil {
			return nil, err
		}
		if err := w.signer.sign(ctx, req); err != nil {
			return nil, retryLater(err, w.cfg.Retry.Max)
		}
		resp, err := w.client.Do(req)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, openstack.TransportError(opAsk, err)
		}
		if resp.StatusCode == http.StatusUnauthorized && try == 0 {
			again, err := w.signer.refused(ctx, req)
			if err != nil {
				drop(resp)
				return nil, retryLater(err, w.cfg.Retry.Max)
			}
			if again {
				drop(resp)
				w.retried("token")
				continue
			}
		}
		a, err := w.judge(resp)
		drop(resp)
		if err != nil && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return a, err
	}
}

// request writes the request for the next page.
func (w *walk) request(ctx context.Context) (*http.Request, error) {
	vars := w.requestVars()
	value, address := w.pager.value()
	req, err := w.programs.request.write(ctx, w.cfg.Request.Method, address, vars)
	if err != nil {
		return nil, err
	}
	for name, v := range map[string]string{"Accept": accepts(w.cfg.Request.Decode), "User-Agent": w.userAgent()} {
		if req.Header.Get(name) == "" {
			req.Header.Set(name, v)
		}
	}
	// An address that the service gave is asked as it is: only headers are ours.
	query := req.URL.Query()
	w.sendCursor(req, query)
	if address == "" {
		send(req, query, w.cfg.Pagination.Send, value)
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
			send(req, query, until, form.Format(w.until))
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
	if w.from.IsZero() {
		return w.from
	}
	at := w.from.Truncate(w.step())
	if w.cfg.Cursor.Boundary == "exclusive" {
		at = at.Add(-w.step())
	}
	return at
}

// requestVars are what texts of a request may use.
func (w *walk) requestVars() expr.Vars {
	vars := expr.Vars{
		"partition": w.partitionVar(w.part), "start": w.start, "from": w.asksFrom(), "until": w.until, "cursor": w.token,
		"page": w.pager.token,
	}
	if w.until.IsZero() {
		vars["until"] = w.start
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

// takeIn takes the answer in, whole: an answer that ends early is an error and not a short page.
func (w *walk) takeIn(resp *http.Response) (*answer, error) {
	wrong := func(err error) error {
		err = fmt.Errorf("%s answered 200: %w", openstack.Address(resp.Request.URL), err)
		return &event.Error{Kind: event.Invalid, Op: opAsk, Err: err}
	}
	if resp.ContentLength > w.cfg.Request.MaxBody {
		return nil, wrong(errTooLarge)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, w.cfg.Request.MaxBody+1))
	switch {
	case err != nil:
		return nil, openstack.TransportError(opAsk, fmt.Errorf("read the answer: %w", err))
	case int64(len(body)) > w.cfg.Request.MaxBody:
		return nil, wrong(errTooLarge)
	}
	page, err := w.decoder.Decode(body)
	if errors.Is(err, records.ErrCut) {
		return nil, &event.Error{Kind: event.Unavailable, Op: opAsk, Err: fmt.Errorf("the answer: %w", err)}
	}
	if err != nil {
		return nil, wrong(err)
	}
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	return &answer{
		url: resp.Request.URL, header: resp.Header, page: page, date: date, etag: resp.Header.Get("ETag"), bytes: int64(len(body)),
	}, nil
}

// judge makes an answer, or an error, of what came.
func (w *walk) judge(resp *http.Response) (*answer, error) {
	status := resp.StatusCode
	switch {
	case status == http.StatusNotModified && resp.Request.Header.Get("If-None-Match") != "":
		return nil, nil
	case status == http.StatusNoContent:
		return &answer{url: resp.Request.URL, header: resp.Header}, nil
	case status >= 200 && status < 300:
		return w.takeIn(resp)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, openstack.MaxFault))
	said := fmt.Errorf("%s answered %d: %s", openstack.Address(resp.Request.URL), status, openstack.Fault(status, body))
	failed := func(kind event.Kind) error { return &event.Error{Kind: kind, Op: opAsk, Err: said} }
	switch w.cfg.Retry.action(status) {
	case "retry":
		return nil, collectors.AskedToWait(failed(event.Unavailable), resp.Header.Get("Retry-After"), w.cfg.Retry.Max)
	case "empty":
		return &answer{url: resp.Request.URL, header: resp.Header}, nil
	case "reset_cursor":
		return nil, errors.Join(errReset, failed(event.Invalid))
	}
	return nil, failed(event.Invalid)
}

// action is what to do with a status.
func (r Retry) action(status int) string {
	for _, key := range []string{fmt.Sprint(status), fmt.Sprintf("%dxx", status/100)} {
		for _, keys := range slices.Sorted(maps.Keys(r.On)) {
			if slices.ContainsFunc(strings.Split(keys, ","), func(k string) bool { return strings.TrimSpace(k) == key }) {
				return r.On[keys]
			}
		}
	}
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500:
		return "retry"
	}
	return "fail"
}

// retryLater gives an error of a login, where it asked for a pause, the form that the poller understands.
func retryLater(err error, most time.Duration) error {
	var refused *openstack.Refused
	if errors.As(err, &refused) {
		return collectors.AskedToWait(err, refused.RetryAfter, most)
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
