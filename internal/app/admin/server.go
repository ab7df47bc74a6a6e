// Package admin is the HTTP server for operators and orchestrators: /healthz, /readyz and /metrics.
//
// /healthz fails only when a loop is stuck, because only then does a restart help. /readyz fails while any part does
// not do what it should, with one line per part and the reason; a line that begins with "configuration: live" is no failure: it
// names what waits for a restart. Nothing here changes anything, and nothing here holds a secret; it listens on loopback unless
// configured otherwise.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"stackstream/event"
	"stackstream/internal/app/show"
)

// shutdownWait is how long requests under way may take when the server ends.
const shutdownWait = 2 * time.Second

// Server serves a Board and a metrics registry.
type Server struct {
	listener net.Listener
	server   *http.Server
}

// Listen opens the admin address. An address that is taken is an error with the kind event.Invalid that names the
// setting.
func Listen(ctx context.Context, address string, board *Board, registry *prometheus.Registry) (*Server, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &event.Error{Kind: event.Invalid, Op: "listen on admin address", Err: fmt.Errorf(
			"%s is taken by another process: set admin.listen to a free one (127.0.0.1:0 takes any)", address)}
	}
	if err != nil {
		return nil, &event.Error{Kind: event.Invalid, Op: "listen on admin address", Err: err}
	}
	return &Server{listener: listener, server: &http.Server{
		Handler:           Handler(board, registry),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}}, nil
}

// Address is where the server really listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Run serves until ctx ends, then lets requests under way finish, for 2 s at most.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve admin address: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownWait)
	defer cancel()
	if err := s.server.Shutdown(grace); err != nil {
		_ = s.server.Close() // a client that does not let go must not hold up the end
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve admin address: %w", err)
	}
	return nil
}

// Handler serves the three paths.
func Handler(board *Board, registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { health(w, r, board) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, r, board) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return mux
}

func health(w http.ResponseWriter, r *http.Request, board *Board) {
	stuck := board.Stuck()
	answer := struct {
		Healthy bool     `json:"healthy"`
		Stuck   []string `json:"stuck"`
	}{len(stuck) == 0, append([]string{}, stuck...)}
	lines := stuck
	if answer.Healthy {
		lines = []string{"ok"}
	}
	respond(w, r, answer.Healthy, answer, lines)
}

func ready(w http.ResponseWriter, r *http.Request, board *Board) {
	answer := struct {
		Ready bool   `json:"ready"`
		Parts []Part `json:"parts"`
	}{true, board.Parts()}
	var lines, notes []string
	for _, p := range answer.Parts {
		switch {
		case !p.Ready():
			answer.Ready = false
			lines = append(lines, p.line())
		case p.Noteworthy():
			notes = append(notes, p.line())
		}
	}
	if answer.Ready {
		lines = []string{"ready"}
	}
	lines = append(lines, notes...)
	respond(w, r, answer.Ready, answer, lines)
}

// line is what a person reads: "collector prod (panko): backoff: connection refused".
func (p Part) line() string {
	var b strings.Builder
	b.WriteString(string(p.Role))
	if p.Provider != "" {
		b.WriteString(" " + string(p.Provider))
	}
	if p.Source != "" {
		b.WriteString(" (" + string(p.Source) + ")")
	}
	b.WriteString(": " + string(p.State))
	if p.Reason != "" {
		b.WriteString(": " + show.Clean(strings.ReplaceAll(p.Reason, "\n", "; ")))
	}
	return b.String()
}

func respond(w http.ResponseWriter, r *http.Request, good bool, answer any, lines []string) {
	status := http.StatusOK
	if !good {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer) // the client went away: nobody is left to tell
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, strings.Join(lines, "\n")+"\n")
}
