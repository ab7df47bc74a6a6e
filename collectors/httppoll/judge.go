package httppoll

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/openstack"
	"stackstream/internal/records"
)

// bodyOf is the body of an answer, whole: one that ends early is an error.
func (s *Source) bodyOf(resp *http.Response) ([]byte, error) {
	tooLarge := &event.Error{
		Kind: event.Invalid, Op: opAsk,
		Err: fmt.Errorf("%s answered %d: %w", openstack.Address(resp.Request.URL), resp.StatusCode, errTooLarge),
	}
	if resp.ContentLength > s.cfg.Request.MaxBody {
		return nil, tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, s.cfg.Request.MaxBody+1))
	switch {
	case err != nil:
		return nil, openstack.TransportError(opAsk, fmt.Errorf("read the answer: %w", err))
	case int64(len(body)) > s.cfg.Request.MaxBody:
		return nil, tooLarge
	}
	return body, nil
}

// inUTF8 is the body of an answer in UTF-8: what its Content-Type says it is in, or the configuration, is turned into that. XML says it
// itself. What is no character of what it is in is mended.
func (s *Source) inUTF8(resp *http.Response, body []byte, form records.Form) (out []byte, mended bool, err error) {
	charset := s.cfg.Request.Charset
	if charset == "" {
		charset = records.CharsetOf(resp.Header.Get("Content-Type"))
	}
	if form == records.XML {
		return body, false, nil
	}
	out, err = charset.UTF8(body)
	if err == nil && form == records.CSV && !utf8.Valid(out) {
		err = errors.New("it is not in UTF-8: say what it is in (request.charset)")
	}
	if err != nil {
		err = fmt.Errorf("%s answered %d: %w", openstack.Address(resp.Request.URL), resp.StatusCode, err)
		return nil, false, &event.Error{Kind: event.Invalid, Op: opAsk, Err: err}
	}
	return out, charset.Mended(body, out), nil
}

// takeIn takes the answer in, taken apart by decoder.
func (s *Source) takeIn(resp *http.Response, decoder records.Decoder) (*answer, error) {
	body, err := s.bodyOf(resp)
	if err != nil {
		return nil, err
	}
	body, mended, err := s.inUTF8(resp, body, decoder.Form)
	if err != nil {
		return nil, err
	}
	page, err := decoder.Decode(body)
	page.Mended = page.Mended || mended
	if errors.Is(err, records.ErrCut) {
		return nil, &event.Error{Kind: event.Unavailable, Op: opAsk, Err: fmt.Errorf("the answer: %w", err)}
	}
	if much := (*records.TooMuch)(nil); errors.As(err, &much) {
		err = tooMuch(much, decoder)
	}
	if err != nil {
		err = fmt.Errorf("%s answered %d: %w%s", openstack.Address(resp.Request.URL), resp.StatusCode, err, s.hint(http.StatusOK))
		return nil, &event.Error{Kind: event.Invalid, Op: opAsk, Err: err}
	}
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	return &answer{
		url: resp.Request.URL, header: resp.Header, page: page, date: date, etag: resp.Header.Get("ETag"), bytes: int64(len(body)),
	}, nil
}

// judge makes an answer, or an error, of what came.
func (w *walk) judge(resp reply) (*answer, error) {
	status := resp.StatusCode
	switch {
	case w.dialect != nil && status != http.StatusOK: // nothing else was ever seen of it
	case status == http.StatusNotModified && resp.Request.Header.Get("If-None-Match") != "":
		return nil, nil
	case status == http.StatusNoContent && !resp.told, resp.action == actionEmpty:
		return &answer{url: resp.Request.URL, header: resp.Header, nothing: true}, nil
	case resp.success():
		return w.takeIn(resp.Response, w.decoder)
	}
	return nil, w.refusal(resp)
}

// refusal is the error that an answer is which is no success.
func (s *Source) refusal(resp reply) error {
	status := resp.StatusCode
	body := []byte(resp.message)
	if len(body) == 0 {
		body, _ = io.ReadAll(io.LimitReader(resp.Body, openstack.MaxFault))
	}
	text := openstack.Fault(status, body)
	if to, err := resp.Location(); err == nil && status/100 == 3 {
		text = "it leads to " + openstack.Address(to)
	}
	said := fmt.Errorf("%s answered %d: %s%s", openstack.Address(resp.Request.URL), status, text, s.hint(status))
	failed := func(kind event.Kind) error { return &event.Error{Kind: kind, Op: opAsk, Err: said} }
	action := resp.action
	if s.forgotten(status, text) {
		action = actionRestart
	}
	if wait, ok := s.pace.refused(resp.Response, action == actionRetry, failed(event.Unavailable), s.now()); ok {
		return &collectors.RetryAfter{After: wait, Err: failed(event.Unavailable)}
	}
	switch action {
	case actionRetry:
		return failed(event.Unavailable)
	case actionReset:
		return errors.Join(errReset, failed(event.Invalid))
	case actionRestart:
		return &event.Error{Kind: event.Unavailable, Op: opAsk, Err: fmt.Errorf("%w (%w)", said, errForgotten)}
	}
	return failed(event.Invalid)
}

// action is what to do with a status.
func (r Retry) action(status int) string {
	if action, ok := actionOf(r.On, status); ok {
		return action
	}
	switch {
	case status == http.StatusUnauthorized:
		return actionRefresh
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusAccepted, status >= 500:
		return actionRetry
	}
	return actionFail
}

// actionOf is what a configuration says of a status, by itself or, but for 401, by its class.
func actionOf(on map[string]string, status int) (action string, ok bool) {
	keys := []string{strconv.Itoa(status), strconv.Itoa(status/100) + "xx"}
	if status == http.StatusUnauthorized {
		keys = keys[:1]
	}
	for _, key := range keys {
		for _, several := range slices.Sorted(maps.Keys(on)) {
			for k := range strings.SplitSeq(several, ",") {
				if strings.TrimSpace(k) == key {
					return on[several], true
				}
			}
		}
	}
	return "", false
}
