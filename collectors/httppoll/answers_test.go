package httppoll

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// What is wrong stands in the body of an answer that says 200. Taken for no records, it would end the walk, and the cursor would
// pass what was not read.
func TestErrorsInSuccesses(t *testing.T) {
	for _, test := range []struct {
		name, body, then string
		check            func(t *testing.T, err error)
	}{
		{"fails", `{"errors": [{"message": "query too\nexpensive"}]}`, actionFail, func(t *testing.T, err error) {
			if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "answered 200: query too expensive") {
				t.Errorf("the error is %v", err)
			}
		}},
		{"is tried again", `{"errors": [{}]}`, actionRetry, func(t *testing.T, err error) {
			if !errors.Is(err, event.Unavailable) {
				t.Errorf("the error is %v", err)
			}
		}},
		{"is nothing", `{"errors": [{}]}`, actionEmpty, func(t *testing.T, err error) {
			if err != nil {
				t.Error(err)
			}
		}},
		{"another one decides", `{"errors": [{}], "kind": "gone"}`, actionFail, func(t *testing.T, err error) {
			if err != nil {
				t.Error(err)
			}
		}},
	} {
		bubble(t, test.name, func(t *testing.T) {
			s := newService()
			for range 30 {
				s.put(time.Now())
				time.Sleep(time.Second)
			}
			cfg := configured("http://service", s)
			cfg.Records.OnMissing = "empty"
			cfg.Retry.Answers = []Answer{
				{When: `body.kind == "gone"`, Then: actionEmpty},
				{When: `status == 200 && has(body.errors) && headers["content-type"] != ""`, Then: test.then, Message: "body.errors[0].message"},
			}
			src, out := local(t, cfg, s), newSink(t)
			s.intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Query().Get("at") != "14" {
					return false
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, test.body)
				return true
			}
			err := src.fetch(t.Context(), out.from, out.emit)
			test.check(t, err)
			if marks := len(out.marks); (err == nil) != (marks == 1) {
				t.Errorf("%d watermarks were told", marks)
			}
			s.intercept = nil
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			out.wantAll(s)
		})
	}
}

// A service that says no with a body, and how long to wait with a header.
func TestAPauseThatOnlyTheBodyAsksFor(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.put(time.Now())
		cfg := configured("http://service", s)
		cfg.Retry.Answers = []Answer{{When: `status == 403 && body.error == "ratelimited"`, Then: actionRetry, Message: "body.error"}}
		src, out := local(t, cfg, s), newSink(t)
		s.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "300")
			http.Error(w, `{"error": "ratelimited"}`, http.StatusForbidden)
			return true
		}
		err := src.fetch(t.Context(), out.from, out.emit)
		if asked := (*collectors.RetryAfter)(nil); !errors.As(err, &asked) || asked.After != 300*time.Second {
			t.Errorf("the error is %v", err)
		}
	})
}

// counting is a signer that counts how often it was told that its proof was refused.
type counting struct{ refusals *atomic.Int32 }

func (counting) sign(context.Context, *http.Request) (string, error) { return "proof", nil }
func (c counting) refused(context.Context, string) (bool, error)     { c.refusals.Add(1); return true, nil }

// A token that has expired is told in the body: who we are is proven anew, and the same page is asked for again.
func TestAnExpiryThatOnlyTheBodyTells(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		for range 30 {
			s.put(time.Now())
		}
		cfg := configured("http://service", s)
		cfg.Retry.Answers = []Answer{{When: `body.code == 7`, Then: actionRefresh}}
		src, out := local(t, cfg, s), newSink(t)
		var refusals atomic.Int32
		src.signer = counting{&refusals}
		s.intercept = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("at") != "14" || refusals.Load() > 0 {
				return false
			}
			_, _ = io.WriteString(w, `{"code": 7, "events": []}`)
			return true
		}
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		if n := refusals.Load(); n != 1 {
			t.Errorf("refused %d times", n)
		}
		out.wantAll(s)
	})
}
