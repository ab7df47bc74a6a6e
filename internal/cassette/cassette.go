// Package cassette keeps recorded conversations with HTTP services, in the form of go-vcr (version 4), so that other tools
// read and make them as well.
//
// What is saved has no secret in it: see Redactor. A member of its own, "stackstream", says by which time each run went,
// because requests have times in them; go-vcr passes over it. A conversation that another tool recorded has none, and goes by
// the times that the service told.
package cassette

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
	vcr "gopkg.in/dnaeon/go-vcr.v4/pkg/cassette"
)

// maxFile bounds what is read of a file.
const maxFile = 256 << 20

// Cassette is a conversation.
type Cassette struct {
	Version      int                `yaml:"version"`
	Recorded     *Recorded          `yaml:"stackstream,omitempty"`
	Interactions []*vcr.Interaction `yaml:"interactions"`
}

// Recorded says how a conversation came about.
type Recorded struct {
	// Kind of the source that asked.
	Kind string `yaml:"kind"`
	Runs []Run  `yaml:"runs"`
}

// Run is one reading of all that was new.
type Run struct {
	// Clock is the time that it went by when it began.
	Clock time.Time `yaml:"clock"`
	// Requests is how many it took.
	Requests int `yaml:"requests"`
	// Unfinished says that it ended early, because the service wanted a pause or failed; the next one goes on.
	Unfinished bool `yaml:"unfinished,omitempty"`
}

// ErrExists is what Save returns where there is a file already.
var ErrExists = errors.New("is there already")

// Load reads a cassette.
func Load(path string) (_ *Cassette, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s has more than %d MiB", path, maxFile>>20)
	}
	c := &Cassette{}
	if err := yaml.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("%s is no cassette: %w", path, err)
	}
	switch {
	case c.Version != vcr.CassetteFormatVersion:
		const want = vcr.CassetteFormatVersion
		return nil, fmt.Errorf("%s is no cassette of go-vcr of the format %d (its version is %d)", path, want, c.Version)
	case len(c.Interactions) == 0:
		return nil, fmt.Errorf("%s has no interactions", path)
	}
	for i, x := range c.Interactions {
		if x == nil || x.Request.URL == "" {
			return nil, fmt.Errorf("%s: interaction %d has no request", path, i)
		}
		if err := unpack(&x.Response); err != nil {
			return nil, fmt.Errorf("%s: interaction %d: %w", path, i, err)
		}
	}
	return c, nil
}

// unpack makes an answer as a client has it: a recorder that stands behind the client's unpacking keeps what was packed.
func unpack(r *vcr.Response) error {
	if !strings.EqualFold(r.Headers.Get("Content-Encoding"), "gzip") || !strings.HasPrefix(r.Body, "\x1f\x8b") {
		return nil
	}
	packed, err := gzip.NewReader(strings.NewReader(r.Body))
	if err != nil {
		return fmt.Errorf("unpack the answer: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(packed, maxFile+1))
	if err == nil && len(body) > maxFile {
		err = fmt.Errorf("it has more than %d MiB", maxFile>>20)
	}
	if err != nil {
		return fmt.Errorf("unpack the answer: %w", err)
	}
	r.Body, r.Uncompressed = string(body), true
	r.Headers.Del("Content-Encoding")
	return nil
}

// Save writes the cassette whole or not at all. Without force it replaces no file.
func (c *Cassette) Save(path string, force bool) (err error) {
	if err := Free(path, force); err != nil {
		return err
	}
	for i, x := range c.Interactions {
		x.ID = i
	}
	c.Version = vcr.CassetteFormatVersion
	data, err := yaml.Marshal(c)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return WriteFile(path, append([]byte("---\n"), data...), force)
}

// Free returns ErrExists where there is a file that may not be replaced.
func Free(path string, force bool) error {
	if _, err := os.Lstat(path); force || errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return fmt.Errorf("%s %w", path, ErrExists)
}

// WriteFile writes a file whole or not at all. Without force it replaces none.
func WriteFile(path string, data []byte, force bool) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := Free(path, force); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Runs are those that are known of; where nobody kept them it is one, by the time that the service told first.
func (c *Cassette) Runs() []Run {
	if c.Recorded != nil && len(c.Recorded.Runs) > 0 {
		return slices.Clone(c.Recorded.Runs)
	}
	return []Run{{Clock: Told(c.Interactions[0])}}
}

// Told is the time that the service told with an answer; a fixed one where it told none.
func Told(x *vcr.Interaction) time.Time {
	at, err := http.ParseTime(x.Response.Headers.Get("Date"))
	if err != nil {
		return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return at.UTC()
}

// header is a header as it is recorded: what is the connection's is left out.
func header(h http.Header) http.Header {
	out := h.Clone()
	for _, name := range []string{"Content-Length", "Connection", "Keep-Alive", "Transfer-Encoding"} {
		out.Del(name)
	}
	return out
}

// take reads a request's body and leaves the request as it was.
func take(req *http.Request) (string, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return "", nil
	}
	body, err := io.ReadAll(req.Body)
	if err = errors.Join(err, req.Body.Close()); err != nil {
		return "", err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	return string(body), nil
}

// answer makes a response of what was recorded.
func answer(req *http.Request, r *vcr.Response) *http.Response {
	h := r.Headers.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Del("Content-Length")
	return &http.Response{
		Status: fmt.Sprintf("%d %s", r.Code, http.StatusText(r.Code)), StatusCode: r.Code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader(r.Body)), ContentLength: int64(len(r.Body)), Request: req,
	}
}
