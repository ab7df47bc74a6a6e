package httppoll

import (
	"slices"
	"strings"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/timeform"
)

func good() Config {
	c := Default()
	c.Request.URL = "https://service.example/events"
	c.Records.Path = "events"
	c.Event.ID, c.Event.Type = "rec.id", "rec.type"
	c.Cursor.Type, c.Cursor.Field, c.Cursor.Order, c.Cursor.Overlap, c.Cursor.Send.Name = CursorTime, "at", "ascending", time.Minute, "from"
	return c
}

func TestValidate(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"good":  {func(*Config) {}, nil},
		"a URL": {func(c *Config) { c.Request.URL = "ftp://x" }, []string{"request.url: must begin with http:// or https://"}},
		"a host that an expression decides": {func(c *Config) { c.Request.URL = "https://{{partition.region}}.example/x" },
			[]string{"request.url: must name the host: no expression decides who is asked; a provider for each host does"}},
		"a query in the URL": {func(c *Config) { c.Request.URL = "https://x/a?b=c" },
			[]string{"request.url: must not have a query or a fragment; parameters go into request.query"}},
		"a path that one decides": {func(c *Config) { c.Request.URL = "https://x/{{page}}" }, nil},
		"a template": {func(c *Config) { c.Request.Query = map[string][]string{"a": {"{{start", "{{rec.x}}"}} },
			[]string{"request.query.a: has {{ without }}", "request.query.a: {{rec.x}}: there is no rec here, only cursor, from, page, page_size, partition, start, until; the value of a partition is partition.NAME (column 1 of the expression)\nrec.x\n^"}},
		"a body of GET": {func(c *Config) { c.Request.Body = "{}" }, []string{"request.body: is for the method POST"}},
		"two ways to say who we are": {func(c *Config) {
			c.Auth = Auth{Basic: &Basic{User: "a", Password: "x"}, Bearer: &Bearer{Token: "x"}}
		}, []string{"auth.bearer: can't be set together with basic: one of them says who we are"}},
		"no secret": {func(c *Config) { c.Auth = Auth{APIKey: &APIKey{In: "body"}} }, []string{
			`auth.api_key.in: is "body"; one of header, query is meant`, "auth.api_key.key_file: is missing (or set key)",
			"auth.api_key.name: is missing: the name of the header or parameter"}},
		"a path": {func(c *Config) { c.Records.Path = "a..b" }, []string{`records.path: "a..b" is no path of names with dots between them, like data.events`}},
		"a window": {func(c *Config) { c.Cursor.Window = time.Hour },
			[]string{"cursor.window: needs send.until, the name that takes the end of what is asked for (or {{ until }} in a text of the request)"}},
		"a window too small": {func(c *Config) {
			c.Cursor.Window, c.Cursor.Send.Until, c.Cursor.Send.Format = time.Hour, "until", timeform.Date
		}, []string{"cursor.window: must be more than overlap by at least two steps of the time that is sent, which are of 24h0m0s: windows overlap, too"}},
		"a cursor without a type": {func(c *Config) {
			c.Cursor = Cursor{Type: "none", Boundary: "inclusive", Order: "unordered", Field: "at", Send: Send{In: "query", Name: "from"}}
		},
			[]string{"cursor.field: is for another cursor.type than none, which it is where nothing else is said",
				"cursor.send.name: is for another cursor.type than none, which it is where nothing else is said"}},
		"a form": {func(c *Config) { c.Cursor.Format = timeform.Forms{"YYYY"} },
			[]string{`cursor.format[0]: "YYYY" is none of rfc3339, unix, unix_ms, unix_us, unix_ns, http, date, nor a layout of the moment 2006-01-02 15:04:05`}},
		"a number with a time's settings": {func(c *Config) { c.Cursor.Type = CursorInteger }, []string{"cursor.overlap: is for cursor.type: time"}},
		"a token": {func(c *Config) {
			c.Cursor = Cursor{Type: CursorToken, Boundary: "inclusive", Order: "ascending", Send: Send{In: "query"}}
		},
			[]string{"cursor.token: is missing: an expression for the next token, like body.next"}},
		"pages": {func(c *Config) { c.Pagination.Type, c.Pagination.Stop = PageMarker, "short_page" }, []string{
			"pagination.size: is missing: stop: short_page has to know how many records a full page has",
			"pagination.send.name: is missing: the name that takes the marker",
			"pagination.from: is missing: an expression for the marker, like body.next or last.id"}},
		"a token that is not sent": {func(c *Config) {
			c.Pagination.Type, c.Pagination.From, c.Pagination.Send = PageToken, "body.?next", Send{In: "none"}
			c.Request.Query = map[string][]string{"page": {"{{start}} page"}}
		}, []string{"pagination.send.in: is none, and no text of the request has {{ page }}: every page would be the first"}},
		"partitions": {func(c *Config) { c.Partitions.Values, c.Partitions.As = []string{"a", "a", ""}, "A" }, []string{
			`partitions.as: "A" is no name of small letters, digits and _`, `partitions.values[1]: "a" is there twice`, "partitions.values[2]: is empty"}},
		"statuses": {func(c *Config) { c.Retry.On = map[string]string{"4x": "ignore"} }, []string{
			`retry.on.4x: is "ignore"; one of retry, fail, empty, restart, reset_cursor, refresh_auth is meant`, `retry.on.4x: "4x" is no status like 410, nor a class like 5xx`}},
		"a session": {func(c *Config) {
			c.Auth.Session = &Session{URL: "https://x/login?a=b", JSON: map[string]string{"a": "{{usr}}"}, Body: "x", Method: "GET", ExpiresIn: "body.x", Lifetime: 1}
		}, []string{
			"auth.session.url: must not have a query or a fragment", "auth.session.body: of body, json and form one can be set",
			"auth.session.method: is GET, which has no body",
			"auth.session.token: is missing: an expression for what the login hands out, like body.token (or set cookie)",
			"auth.session.lifetime: can't be set together with expires_in",
			"auth.session.send.name: is missing: the name of the header, parameter or cookie that takes the token",
			"auth.session.json.a: {{usr}}: there is no usr here, only password, user (did you mean user?) (column 1 of the expression)\nusr\n^"}},
		"a cookie and a token": {func(c *Config) {
			c.Auth.Session = &Session{URL: "https://x", Cookie: "a", Token: "body.t", Basic: true, Send: SessionSend{In: "body"}}
		}, []string{"auth.session.password_file: is missing (or set password)", "auth.session.user: is missing: basic sends it",
			"auth.session.cookie: can't be set together with token", `auth.session.send.in: is "body"; one of header, query, cookie is meant`,
			"auth.session.send.name: is missing: the name of the header, parameter or cookie that takes the token"}},
		"a quota": {func(c *Config) {
			c.RateLimit = RateLimit{Burst: 3, Remaining: "X Left", Reset: Reset{As: "later"}, Reserve: Reserve{Percent: 10}}
		}, []string{"rate_limit.burst: is for rate, which is not set",
			`rate_limit.reset.as: is "later"; one of auto, seconds, unix, unix_ms, http is meant`,
			"rate_limit.reset.header: is missing: the header that says when there are requests again",
			"rate_limit.limit: is missing: the header that has the limit which reserve is a part of", `rate_limit.remaining: "X Left" is no name of a header`}},
		"a reserve of nothing": {func(c *Config) { c.RateLimit.Reserve.Number = 5 },
			[]string{"rate_limit.remaining: is missing: the header that says how many requests are left, for reserve"}},
		"a detail": {func(c *Config) {
			c.Detail = Detail{URL: "https://{{rec.host}}/x", Method: "PUT", Path: ".", On: map[string]string{"4": "skip"}, When: "rec.a ="}
		}, []string{"detail.url: must name the host: no expression decides who is asked; a provider for each host does", `detail.method: is "PUT"; one of GET, POST is meant`,
			`detail.path: "." is no path of names with dots between them, like data.events`,
			"detail.as: is missing: the member of the record that takes the answer (or set merge: true)",
			`detail.on.4: is "skip"; one of keep is meant`, `detail.on.4: "4" is no status like 410, nor a class like 5xx`,
			"detail.concurrency: must be from 1 to 64",
			"detail.when: = is no operator: two values are compared by == (column 7 of the expression)\nrec.a =\n      ^"}},
		"what a detail has not yet": {func(c *Config) {
			c.Detail.URL, c.Detail.As, c.Event.ID, c.Cursor.Field, c.Records.Filter = "/x", "more", "rec.?more.id", "more.at", "rec.more.ok"
		}, []string{
			"event.id: goes by the record as it was listed, which has no more yet: that is detail.as",
			"records.filter: goes by the record as it was listed, which has no more yet: that is detail.as",
			"cursor.field: goes by the record as it was listed, which has no more yet: that is detail.as"}},
		"a detail of nothing": {func(c *Config) { c.Detail.As = "more" }, []string{"detail.url: is missing: where there is more of a record"}},
		"listed partitions": {func(c *Config) {
			c.Partitions.Values, c.Partitions.Request.URL = []string{"a"}, "https://x/regions"
			c.Partitions.Shape, c.Partitions.Every, c.Partitions.Forget, c.Partitions.Concurrency = "one", 0, time.Hour, 0
			c.Partitions.Pagination.Type, c.Partitions.Request.Body = PageToken, "x"
		}, []string{"partitions.concurrency: must be from 1 to 64",
			"partitions.forget: must be at least 24h0m0s: a list that is wrong for a while must cost nothing",
			"partitions.values: can't be set together with request", "partitions.request.body: is for the method POST",
			`partitions.shape: is "one"; one of list, values is meant`, "partitions.pagination.send.name: is missing: the name that takes the token",
			"partitions.pagination.from: is missing: an expression for the token, like body.next or last.id",
			"partitions.value: is missing: an expression for the value, of rec, an element of the list", "partitions.every: must be more than 0"}},
		"partitions that nobody lists": {func(c *Config) { c.Partitions.Where = "rec.on" }, []string{"partitions.request.url: is missing: where the partitions are listed"}},
		"expressions": {func(c *Config) { c.Event.Type, c.Records.Filter, c.Pagination.More = "", "rec.a +", `"yes"` }, []string{
			"pagination.more: is text, and true or false is wanted (column 1 of the expression)\n\"yes\"\n^",
			"records.filter: the expression ends too early: something is missing, or a bracket or quote is not closed (column 8 of the expression)\n" +
				"rec.a +\n       ^",
			"event.type: is missing: an expression for the type of an event, or a text in quotes"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := good()
			test.change(&c)
			var got []string
			for _, p := range c.Validate() {
				got = append(got, p.String())
			}
			slices.Sort(got)
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("found:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// Each doubt names what may be lost or come twice, and goes away with what it names.
func TestDoubts(t *testing.T) {
	for name, test := range map[string]struct {
		change, mend func(*Config)
		field, want  string
	}{
		"no identity": {func(c *Config) { c.Event.ID = "" }, func(c *Config) { c.Event.ID = "rec.id" }, "event.id", "hash of the whole record"},
		"pages of a list that grows at its head": {func(c *Config) {
			c.Cursor = Cursor{Type: CursorNone, Order: "descending"}
			c.Pagination.Type = PageOffset
		}, func(c *Config) { c.Pagination.Type = PageMarker }, "pagination.type", "one that is removed meanwhile moves another out of sight"},
		"pages without an end": {func(c *Config) { c.Cursor.Order, c.Pagination.Type, c.Cursor.Window = "unordered", PageNumber, 1 },
			func(c *Config) { c.Cursor.Send.Until = "until" }, "pagination.type", "name what takes the end of the range"},
		"a cursor that is not sent": {func(c *Config) { c.Cursor.Send.Name = "" }, func(c *Config) { c.Request.URL += "?from={{from}}" },
			"cursor.send.name", "asked for everything each time"},
		"a number that is not sent": {func(c *Config) {
			c.Cursor = Cursor{Type: CursorInteger, Field: "seq", Order: "ascending", Boundary: "exclusive"}
		}, func(c *Config) { c.Request.Body = "{{ string(cursor) }}" }, "cursor.send.name", "no text of the request has {{ cursor }}"},
		"no overlap":   {func(c *Config) { c.Cursor.Overlap = 0 }, func(c *Config) { c.Cursor.Settle = 1 }, "cursor.overlap", "shows after a newer one is missed"},
		"another time": {func(c *Config) { c.Event.Time = "rec.stored" }, func(c *Config) { c.Event.Time = "rec.at" }, "event.time", "not the field of the cursor"},
		"seconds, exclusive": {func(c *Config) {
			c.Cursor.Boundary, c.Cursor.Format, c.Cursor.Overlap = "exclusive", timeform.Forms{"unix"}, 1
		},
			func(c *Config) { c.Cursor.Overlap = time.Minute }, "cursor.boundary", "steps of 1s"},
		"all of it at once": {func(c *Config) { c.Cursor.Order = "descending" }, func(c *Config) { c.Cursor.Start = startAt(time.Now()) },
			"cursor.window", "each restart meanwhile begins again"},
		"a list that changes, by offset": {func(c *Config) {
			c.Cursor = Cursor{Type: CursorInteger, Field: "n", Boundary: "exclusive", Order: "unordered", Send: Send{In: "query", Name: "since"}}
			c.Pagination.Type = PageOffset
		}, func(c *Config) { c.Pagination.Type = PageToken }, "pagination.type", "records move to the next page"},
		"newest first, and said to be oldest first": {func(c *Config) { c.Request.Query = map[string][]string{"sort": {"desc"}} },
			func(c *Config) { c.Request.Query["sort"] = []string{"asc"} }, "cursor.order", "the older ones behind it are missed"},
		"newest first, by a sign": {func(c *Config) { c.Request.Query = map[string][]string{"order_by": {"-created_at"}} },
			func(c *Config) { c.Request.Query["order_by"] = []string{"created_at"} }, "cursor.order", "asks for the newest first"},
		"newest first, by a field": {func(c *Config) { c.Request.Query = map[string][]string{"sort": {"generated:desc"}} },
			func(c *Config) { c.Request.Query = nil }, "cursor.order", "asks for the newest first"},
		"two different times": {func(c *Config) {
			c.Cursor.Field, c.Cursor.Send.Name, c.Event.ID = "updated_at", "created_after", "rec.updated_at"
		},
			func(c *Config) { c.Cursor.Send.Name = "updated_after" }, "cursor.send.name", "both must be the same time"},
		"records that change": {func(c *Config) { c.Cursor.Field = "modified" }, func(c *Config) { c.Event.ID = `rec.id + "/" + rec.modified` },
			"event.id", "comes again under an identity that is known"},
		"an error that is nothing": {func(c *Config) { c.Records.OnMissing, c.Cursor.Send.Until = "empty", "until" },
			func(c *Config) { c.Records.OnMissing = "error" }, "records.on_missing", "an error that comes with 200"},
		"an outage that is nothing": {func(c *Config) { c.Retry.On = map[string]string{"404, 503": "empty"} },
			func(c *Config) { c.Retry.On = map[string]string{"404": "empty"} }, "retry.on.404, 503", "is taken for nothing"},
		"a reset to now": {func(c *Config) {
			c.Retry.On = map[string]string{"410": "reset_cursor"}
			_ = c.Cursor.Start.UnmarshalText([]byte("now"))
		}, func(c *Config) { _ = c.Cursor.Start.UnmarshalText([]byte("now-24h")) }, "retry.on.410", "what came since the last run is missed"},
		"an outage of details": {func(c *Config) { c.Detail.URL, c.Detail.On = "/x", map[string]string{"5xx": "keep"} },
			func(c *Config) { c.Detail.On = map[string]string{"404": "keep"} }, "detail.on.5xx", "so that they wait"},
		"further back than is known": {func(c *Config) { c.Cursor.Overlap = 48 * time.Hour }, func(c *Config) { c.Cursor.Overlap = time.Hour },
			"cursor.overlap", "as long as the raw stream has it"},
		"more than is remembered": {func(c *Config) {
			c.Cursor = Cursor{Type: CursorNone, Order: "descending"}
			c.Pagination.Type, c.Pagination.Size, c.Pagination.MaxPages, c.Remember = PageToken, 100, 50, 1000
		}, func(c *Config) { c.Remember = 5000 }, "remember", "up to 5000 by pagination"},
		"nothing remembered": {func(c *Config) {
			c.Cursor = Cursor{Type: CursorInteger, Field: "n", Boundary: "inclusive", Order: "ascending", Send: Send{In: "query", Name: "since"}}
			c.Remember = 0
		}, func(c *Config) { c.Cursor.Boundary = "exclusive" }, "remember", "shown again by each run"},
		"one page behind a token": {func(c *Config) {
			c.Cursor = Cursor{Type: CursorToken, Token: "body.next", Boundary: "exclusive", Order: "ascending", Send: Send{In: "query", Name: "since"}}
		}, func(c *Config) { c.Pagination.Type = PageToken }, "pagination.type", "falls behind for good"},
		"one answer": {func(c *Config) { c.Cursor = Cursor{Type: CursorNone} }, func(c *Config) { c.Pagination.Type = PageLink }, "pagination", "is missed"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good()
			if found := c.Doubts(); len(found) > 0 {
				t.Fatalf("the good one is doubted: %v", found)
			}
			test.change(&c)
			found := c.Doubts()
			if len(found) != 1 || found[0].Field != test.field || !strings.Contains(found[0].Msg, test.want) {
				t.Errorf("found %v, want %s: %s", found, test.field, test.want)
			}
			if test.mend(&c); len(c.Doubts()) > 0 {
				t.Errorf("mended, and still %v", c.Doubts())
			}
		})
	}
}

func TestStart(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"beginning": {}, "now": now, "now-24h": now.Add(-24 * time.Hour), "now - 90m": now.Add(-90 * time.Minute),
		"2026-01-02T04:04:05+01:00": now,
	} {
		var s Start
		if err := s.UnmarshalText([]byte(text)); err != nil || !s.time(now).Equal(want) {
			t.Errorf("%q is %s (%v), want %s", text, s.time(now), err, want)
		}
		back, err := s.MarshalText()
		if err != nil || string(back) != text {
			t.Errorf("%q is written %q, %v", text, back, err)
		}
	}
	for _, text := range []string{"yesterday", "now+1h", "now-", "nowhere", "now--1h", ""} {
		var s Start
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for a start", text)
		}
	}
	var s Start
	if err := s.UnmarshalText([]byte("17")); err != nil || s.number == nil || *s.number != 17 {
		t.Errorf("17: %v", err)
	}
}

func TestNextLink(t *testing.T) {
	for header, want := range map[string]string{
		`<https://x/?page=2>; rel="next"`:                               "https://x/?page=2",
		`<https://x/?page=1>; rel="prev", </y>; title="a, b"; rel=next`: "/y",
		`<a>; rel="first next"`:                                         "a",
		`<a>; REL="NEXT"`:                                               "a",
		`<a>; rel="nextish"`:                                            "",
		`<a; rel="next"`:                                                "",
		``:                                                              "",
		`<a,b>; rel="next"`:                                             "a,b",
	} {
		if got := nextLink(map[string][]string{"Link": {header}}); got != want {
			t.Errorf("%s leads to %q, want %q", header, got, want)
		}
	}
	if got := nextLink(map[string][]string{"Link": {`<a>; rel="prev"`, `<b>; rel="next"`}}); got != "b" {
		t.Errorf("of two headers the next is %q", got)
	}
}

// A cursor is read as it was written, and what is none makes no source panic.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"parts": {"": {"newest": "2026-01-02T03:04:05Z", "from": "2026-01-02T03:03:05Z", "began": true}}}`))
	f.Add([]byte(`{"parts": {"a": null, "b": {"number": 7, "token": "x"}}}`))
	f.Add([]byte(`{"format": 2}`))
	f.Fuzz(func(t *testing.T, cursor []byte) {
		s, err := decodeState(cursor)
		if err != nil {
			if event.KindOf(err) != event.Invalid {
				t.Fatal(err)
			}
			return
		}
		s.floor(time.Now())
		out, err := s.encode()
		if err != nil {
			t.Fatalf("%q was read, and can't be written: %v", cursor, err)
		}
		if _, err := decodeState(out); err != nil {
			t.Fatalf("%q was written, and can't be read: %v", out, err)
		}
	})
}
