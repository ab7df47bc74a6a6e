package standin

import (
	"bytes"
	crand "crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"
)

const notAcceptable = "<html>\n <head>\n  <title>406 Not Acceptable</title>\n </head>\n <body>\n  " +
	"<h1>406 Not Acceptable</h1>\n  The resource could not be generated that was acceptable to your browser\n" +
	"(content of type text/html. <br /><br />\n\n </body>\n</html>"

func (s *Service) servePanko(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("x-openstack-request-id", "req-"+strings.ToLower(crand.Text()))
	faults := s.currentFaults()
	if faults.Delay > 0 {
		timer := time.NewTimer(faults.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	if faults.ErrorRate > 0 && s.roll() < faults.ErrorRate {
		pankoError(w, fail("(pymysql.err.OperationalError) (2013, 'Lost connection to MySQL server during query')"))
		return
	}
	id := r.Header.Get("X-Auth-Token")
	if id == "" && !s.opts.Ceilometer {
		middlewareError(w, http.StatusForbidden, "Forbidden", "RBAC Authorization Failed")
		return
	}
	who, ok := s.holder(id)
	if !ok {
		keystoneError(w, http.StatusUnauthorized, "The request you have made requires authentication.")
		return
	}
	path := strings.TrimSuffix(r.URL.Path, "/")
	switch {
	case s.opts.MovedTo != "" && path == "/v2/events":
		w.Header().Set("Location", s.opts.MovedTo+r.URL.RequestURI())
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		w.WriteHeader(http.StatusTemporaryRedirect)
	case path == "/v2/events" && r.Method == http.MethodGet:
		s.list(w, r, who, faults)
	case path == "/v2/events":
		w.Header().Set("Allow", http.MethodGet)
		middlewareError(w, http.StatusMethodNotAllowed, "Method Not Allowed", "")
	case strings.HasPrefix(path, "/v2/events/") && r.Method == http.MethodGet:
		s.show(w, strings.TrimPrefix(path, "/v2/events/"))
	default:
		var description any
		if s.opts.Ceilometer {
			description = ""
		}
		middlewareError(w, http.StatusNotFound, "Not Found", description)
	}
}

// list answers GET /v2/events.
func (s *Service) list(w http.ResponseWriter, r *http.Request, who Account, faults Faults) {
	// The real one answers XML to a client that does not ask for JSON; nobody is helped by more than a refusal.
	if accept := r.Header.Get("Accept"); !strings.Contains(accept, "application/json") && accept != "*/*" {
		writeJSON(w, http.StatusNotAcceptable, map[string]any{"error_message": notAcceptable})
		return
	}
	q, bad := parseQuery(r.URL.Query(), who, s.opts.Ceilometer)
	if bad != nil {
		pankoError(w, bad)
		return
	}
	events := s.events.visible(time.Now(), q.keep)
	q.sort(events)
	if q.marker != "" {
		// Panko looks the marker up among all events, whatever the filters, and goes on behind its place.
		marker, known := s.events.find(q.marker)
		if !known {
			pankoError(w, fail("Marker %s not found.", q.marker))
			return
		}
		behind := slices.IndexFunc(events, func(e Event) bool { return q.compare(e, marker) > 0 })
		if behind < 0 {
			behind = len(events)
		}
		events = events[behind:]
	}
	if s.opts.MaxLimit > 0 {
		q.limit = min(q.limit, s.opts.MaxLimit)
	}
	if faults.Unordered {
		s.shuffle(events)
	}
	events = events[:min(q.limit, len(events))]
	if faults.ShortPages && len(events) > 1 {
		events = events[:1+int(s.roll()*float64(len(events)))]
	}
	bodies := make([][]byte, len(events))
	for i, e := range events {
		bodies[i] = e.Body
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(slices.Concat([]byte("["), bytes.Join(bodies, []byte(", ")), []byte("]")))
}

func (q query) sort(events []Event) {
	if q.descending || q.idsDown {
		slices.SortFunc(events, q.compare)
	}
}

func (q query) compare(a, b Event) int {
	if order := a.Generated.Compare(b.Generated); order != 0 {
		if q.descending {
			return -order
		}
		return order
	}
	order := strings.Compare(a.ID, b.ID)
	if q.idsDown {
		return -order
	}
	return order
}

// show answers GET /v2/events/<message_id>.
func (s *Service) show(w http.ResponseWriter, id string) {
	e, known := s.events.find(id)
	if !known || e.Visible.After(time.Now()) {
		pankoError(w, &refusal{status: http.StatusNotFound, text: "Event " + id + " Not Found"})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(e.Body)
}

// pankoError writes an error as WSME does.
func pankoError(w http.ResponseWriter, bad *refusal) {
	code := "Client"
	if bad.status >= http.StatusInternalServerError {
		code = "Server"
	}
	writeJSON(w, bad.status, map[string]any{"error_message": map[string]any{
		"faultcode": code, "faultstring": bad.text, "debuginfo": nil,
	}})
}

// middlewareError writes an error as Panko's own error middleware does.
func middlewareError(w http.ResponseWriter, status int, title string, description any) {
	writeJSON(w, status, map[string]any{"error_message": map[string]any{
		"code": status, "title": title, "description": description,
	}})
}
