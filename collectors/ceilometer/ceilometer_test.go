package ceilometer

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/telemetry/telemetrytest"
	"stackstream/event"
	"stackstream/internal/openstack/standin"
)

// wantAll fails the test unless everything that is there came, and came in order.
func wantAll(t *testing.T, s *standin.Service, out *telemetrytest.Sink) {
	t.Helper()
	known := map[string]bool{}
	var got []string
	for _, e := range out.Events() {
		if !known[string(e.ID)] {
			got = append(got, string(e.ID))
		}
		known[string(e.ID)] = true
	}
	var want []string
	for _, e := range s.Events() {
		want = append(want, e.ID)
	}
	telemetrytest.Want(t, got, want)
}

func TestReadsByTime(t *testing.T) {
	s := cloud()
	telemetrytest.Numbered(t, s, 25)
	asked := telemetrytest.Queries(s)
	var out telemetrytest.Sink
	if err := out.Once(t, local(t, s, func(c *Config) { c.Limit = 10 })); err != nil {
		t.Fatal(err)
	}
	wantAll(t, s, &out)
	if n := len(out.IDs()); n != 25 {
		t.Errorf("%d events were handed over: those of the moment where a page ends came twice", n)
	}
	at := func(i int) string { return url.QueryEscape(s.Events()[i].Generated.Format(telemetrytest.TimeFormat)) }
	const from, until = "&q.field=start_timestamp&q.op=ge&q.value=", "&q.field=end_timestamp&q.op=le&q.value="
	telemetrytest.Want(t, (*asked)[:4], []string{
		"limit=10",                 // is full, so that any may be left out
		"limit=10" + until + at(5), // has all there is
		"limit=10" + from + at(5),
		"limit=10" + from + at(5) + until + at(10),
	})
	if n := len(*asked); n > 12 {
		t.Errorf("%d requests for 25 events by ten", n)
	}
}

// Events of the recording come byte for byte, as the real service shows them.
func TestEventsOfTheRecording(t *testing.T) {
	s := cloud()
	s.Put(standin.RecordedCeilometerEvents()...)
	var out telemetrytest.Sink
	if err := out.Once(t, local(t, s, func(c *Config) { c.Limit = 3 })); err != nil {
		t.Fatal(err)
	}
	wantAll(t, s, &out)
	for i, e := range out.Events() {
		if want := s.Events()[i]; string(e.Body) != string(want.Body) || e.Format != Format || !e.Time.Equal(want.Generated) || e.Hashed {
			t.Errorf("event %d is %+v", i, e)
		}
	}
}

func TestErrorsOfTheRecording(t *testing.T) {
	telemetrytest.ErrorsOfTheRecording(t, standin.Options{Ceilometer: true}, standin.RecordedCeilometer(), func(t *testing.T, h http.Handler, _ standin.Exchange) error {
		return local(t, h, nil).Available(t.Context())
	})
}

// Late events within the overlap come, also while pages fail and tokens end in the middle of a run.
func TestLateEventsAndTokensThatEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cloud()
		var n telemetrytest.Counter
		src := local(t, s, func(c *Config) { c.Limit = 5 }, n.Hooks())
		requests := 0
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/v2/events" {
				return false
			}
			requests++
			switch requests % 5 {
			case 1:
				s.RevokeTokens()
			case 2:
				w.WriteHeader(http.StatusInternalServerError)
				_, _ = w.Write([]byte(`{"error_message": {"faultcode": "Server", "faultstring": "boom", "debuginfo": null}}`))
				return true
			case 3:
				_, _ = w.Write([]byte(`[{"message_id": "cut", "event_type": "x", "generated": "20`))
				return true
			}
			return false
		})
		var out telemetrytest.Sink
		for i := range 100 {
			now := time.Now()
			s.Put(telemetrytest.Made(t, fmt.Sprintf("a%03d", i), now))
			late := telemetrytest.Made(t, fmt.Sprintf("b%03d", i), now)
			late.Visible = now.Add(time.Duration(i%25) * time.Second)
			s.Put(late)
			time.Sleep(time.Second)
			if i%5 == 4 {
				if err := out.Once(t, src); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(25 * time.Second)
		if err := out.Once(t, src); err != nil {
			t.Fatal(err)
		}
		for _, e := range s.Events() {
			if !slices.Contains(out.IDs(), e.ID) {
				t.Errorf("%s is missing", e.ID)
			}
		}
		if n.Get("token") == 0 || n.Get("error") == 0 {
			t.Error("nothing went wrong: the test did not test")
		}
	})
}

// Of a run that fails on a page the cursor stays before it.
func TestAFailedPageIsNotPassed(t *testing.T) {
	s := cloud()
	telemetrytest.Numbered(t, s, 30)
	bad := true
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if bad && strings.Contains(r.URL.RawQuery, "ge&q.value="+url.QueryEscape(s.Events()[15].Generated.Format(telemetrytest.TimeFormat))) {
			http.Error(w, "no", http.StatusBadRequest)
			return true
		}
		return false
	})
	src := local(t, s, func(c *Config) { c.Limit = 10 })
	var out telemetrytest.Sink
	if err := out.Once(t, src); !errors.Is(err, event.Invalid) || len(out.IDs()) != 16 {
		t.Fatalf("%v with %d events", err, len(out.IDs()))
	}
	for _, b := range out.Batches {
		if !b.Watermark.IsZero() {
			t.Errorf("a run that failed has a watermark: %s", b.Watermark)
		}
	}
	bad = false
	if err := out.Once(t, src); err != nil {
		t.Fatal(err)
	}
	wantAll(t, s, &out)
}

func TestAvailable(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options standin.Options
		change  func(*Config)
		want    string // empty: available
	}{
		{name: "plain"},
		{name: "endpoint in place of the catalogue", options: standin.Options{NoEventService: true},
			change: func(c *Config) { c.Endpoint = address + "/v2/" }},
		{name: "no such service", options: standin.Options{NoEventService: true}, want: `the catalogue has no service of the type "metering"`},
		{name: "wrong password", change: func(c *Config) { c.Auth.Password = "guess" }, want: "answered 401: The request you have made"},
		{name: "Panko is there too", options: standin.Options{MovedTo: "http://10.0.0.1:8977"},
			want: "answered 307: it leads to http://10.0.0.1:8977/v2/events: this cloud has Panko, which answers for the events " +
				"(configure panko in place of ceilometer)"},
		{name: "Panko is there too, on the same host", options: standin.Options{MovedTo: address + "/event"},
			want: "this cloud has Panko"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.options.Ceilometer = true
			s := standin.New(tc.options)
			err := local(t, s, tc.change).Available(t.Context())
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
		})
	}
}

// A run that is sent on to Panko ends there too: it would speak another language.
func TestARunThatIsSentOnEnds(t *testing.T) {
	s := standin.New(standin.Options{Ceilometer: true, MovedTo: address + "/event"})
	asked := telemetrytest.Queries(s)
	var out telemetrytest.Sink
	err := out.Once(t, local(t, s, nil))
	if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "configure panko") || len(*asked) != 1 {
		t.Errorf("error is %v after %d requests", err, len(*asked))
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	s := cloud()
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/v2/events" {
			return false
		}
		w.Header().Set("Retry-After", "77")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	var out telemetrytest.Sink
	err := out.Once(t, local(t, s, nil))
	var asked *collectors.RetryAfter
	if !errors.As(err, &asked) || asked.After != 77*time.Second {
		t.Errorf("error is %v", err)
	}
}

func TestValidate(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"good":             {func(*Config) {}, "[]"},
		"max_limit":        {func(c *Config) { c.MaxLimit = 100 }, "[max_limit: must be from limit (500) to 1000000]"},
		"no service type":  {func(c *Config) { c.ServiceType = "" }, "[service_type: is empty: the type that the service has in the catalogue, usually metering]"},
		"an endless limit": {func(c *Config) { c.MaxLimit = 1 << 30 }, "[max_limit: must be from limit (500) to 1000000]"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(address)
			test.change(&cfg)
			if got := fmt.Sprint(cfg.Validate()); got != test.want {
				t.Errorf("found %s, want %s", got, test.want)
			}
		})
	}
}
