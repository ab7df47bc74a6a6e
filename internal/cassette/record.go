package cassette

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	vcr "gopkg.in/dnaeon/go-vcr.v4/pkg/cassette"
)

// MaxRecorded bounds the answers of a conversation where nothing else is said.
const MaxRecorded = 64 << 20

// ErrTooMuch is what a conversation is that nobody wants to keep beside a configuration.
var ErrTooMuch = errors.New("the answers are too much to keep: begin later (cursor.start), or ask for less")

// Recorder takes down what is asked and answered. It is safe for concurrent use.
type Recorder struct {
	// Next leads to the network.
	Next http.RoundTripper
	// Login tells whether a request only proves who we are.
	Login func(*http.Request) bool
	// Max bounds the bytes of all answers; 0 is MaxRecorded.
	Max int64

	mu    sync.Mutex
	all   []*exchange
	bytes int64
}

// RoundTrip implements http.RoundTripper.
func (r *Recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := req.Clone(req.Context())
	body, err := take(sent)
	if err != nil {
		return nil, err
	}
	x := &exchange{login: r.Login(req), Interaction: &vcr.Interaction{Request: vcr.Request{
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: req.URL.Host, Method: req.Method, URL: req.URL.String(),
		Headers: header(req.Header), Body: body,
	}}}
	began := time.Now()
	resp, err := r.Next.RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	x.Response = vcr.Response{
		Proto: resp.Proto, ProtoMajor: resp.ProtoMajor, ProtoMinor: resp.ProtoMinor, Status: resp.Status, Code: resp.StatusCode,
		Headers: header(resp.Header), Uncompressed: resp.Uncompressed, Duration: time.Since(began),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, x)
	resp.Body = &heard{ReadCloser: resp.Body, recorder: r, exchange: x}
	return resp, nil
}

// heard is the body of an answer that is taken down as it is read.
type heard struct {
	io.ReadCloser
	recorder *Recorder
	exchange *exchange
	bytes.Buffer
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	r := h.recorder
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes += int64(n); r.bytes > cmp.Or(r.Max, MaxRecorded) {
		return 0, ErrTooMuch
	}
	h.Write(p[:n])
	return n, err
}

func (h *heard) Close() error {
	h.recorder.mu.Lock()
	h.exchange.Response.Body = h.String()
	h.recorder.mu.Unlock()
	return h.ReadCloser.Close()
}

// Requests is how many there were.
func (r *Recorder) Requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// Cassette is what was recorded, without the secrets.
func (r *Recorder) Cassette(kind string, runs []Run, secrets *Redactor) *Cassette {
	r.mu.Lock()
	defer r.mu.Unlock()
	secrets.redact(r.all)
	c := &Cassette{Version: vcr.CassetteFormatVersion, Recorded: &Recorded{Kind: kind, Runs: runs}}
	for _, x := range r.all {
		c.Interactions = append(c.Interactions, x.Interaction)
	}
	return c
}
