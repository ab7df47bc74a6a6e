//go:build bench

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"stackstream/event"
)

// cloud is the provider whose services notify.
const cloud = "bench"

// pipeline is collector and normalizer on some servers, with streams of their own.
type pipeline struct {
	w     *world
	on    *servers
	vhost string            // of the provider whose services notify
	file  map[string]string // the configuration of each program, and
	admin map[string]string // where it says whether it is ready
}

// newPipeline makes the streams for a provider whose services notify, and for others. Settings that are not named are the defaults.
func (w *world) newPipeline(t *testing.T, on *servers, others string) *pipeline {
	t.Helper()
	p := &pipeline{w: w, on: on, vhost: w.broker.VHost(t), file: map[string]string{}, admin: map[string]string{}}
	p.configure(t, others)
	provision := w.start(t, "provision", w.program("stackstream"), nil, "provision", "-c", p.file["collector"])
	select {
	case <-provision.done:
	case <-time.After(patience):
	}
	if _, err := on.js.Stream(t.Context(), event.StreamNormalized); err != nil {
		t.Fatalf("provision made no streams: %v\n%s", err, tail(provision.log, 20))
	}
	return p
}

// configure writes the configuration of both programs: for the provider whose services notify, and for others.
func (p *pipeline) configure(t *testing.T, others string) {
	t.Helper()
	w := p.w
	secret := w.file(t, "rabbit-password", "guest\n")
	text := fmt.Sprintf(`nats:
  url: [%s]
streams:
  replicas: %d
  budget: 500GiB
log: {format: json}
providers:
  %s:
    events: amqp
    amqp:
      hosts: ["%s"]
      vhost: %s
      user: guest
      password_file: %s
      exchanges: [nova]
      create_exchanges: durable
%s`, strings.Join(p.on.urls, ", "), w.opt.Servers, cloud, w.broker.Addr(), p.vhost, secret, others)
	for _, program := range []string{"collector", "normalizer"} {
		p.admin[program] = freeAddr(t)
		p.file[program] = w.file(t, program+".yaml", text+"admin: {listen: \""+p.admin[program]+"\"}\n")
	}
}

// run starts one of the programs.
func (p *pipeline) run(t testing.TB, program string) *process {
	t.Helper()
	return p.w.run(t, program, program, "-c", p.file[program])
}

// ready waits until a program says that all its parts are.
func (p *pipeline) ready(t testing.TB, program *process) {
	t.Helper()
	eventually(t, program.name+" to be ready", func(ctx context.Context) error {
		if err := program.ended(); err != nil {
			t.Fatal(err)
		}
		_, err := get(ctx, "http://"+p.admin[program.name]+"/readyz")
		return err
	})
}

// both starts both programs and returns when they are ready.
func (p *pipeline) both(t testing.TB) (collector, normalizer *process) {
	t.Helper()
	normalizer, collector = p.run(t, "normalizer"), p.run(t, "collector")
	p.ready(t, normalizer)
	p.ready(t, collector)
	return collector, normalizer
}

// collected is how many notifications are in RAW.
func (p *pipeline) collected(ctx context.Context) (int, error) {
	var c event.RawCursor
	err := p.cursor(ctx, event.StreamRaw, event.RawCursorSubject(cloud, "amqp"), &c)
	return int(c.Position), err
}

// normalized is how many events were made of them.
func (p *pipeline) normalized(ctx context.Context) (int, error) {
	var c event.NormalizedCursor
	err := p.cursor(ctx, event.StreamNormalized, event.NormalizedCursorSubject(cloud), &c)
	return int(c.Position), err
}

// storedRow is how many bytes an event takes in each stream, in one copy.
type storedRow struct {
	Notification int     `json:"notification_bytes"`
	Raw          float64 `json:"raw_bytes_per_event"`
	Normalized   float64 `json:"normalized_bytes_per_event"`
}

// stored looks at streams whose events were made of notifications of a size on average.
func (p *pipeline) stored(t testing.TB, mean int) storedRow {
	t.Helper()
	perEvent := func(stream string, count func(context.Context) (int, error)) float64 {
		n, err := count(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s, err := p.on.js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		return float64(s.CachedInfo().State.Bytes) / float64(n)
	}
	return storedRow{mean, perEvent(event.StreamRaw, p.collected), perEvent(event.StreamNormalized, p.normalized)}
}

func (p *pipeline) cursor(ctx context.Context, stream, subject string, to any) error {
	answer, err := p.on.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, fmt.Appendf(nil, `{"last_by_subj": %q}`, subject))
	if err != nil {
		return err
	}
	var found struct {
		Message struct {
			Data []byte `json:"data"`
		} `json:"message"`
		Error *struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &found); err != nil {
		return err
	}
	if found.Error != nil && found.Error.Code == 404 {
		return nil // it has none yet
	}
	return json.Unmarshal(found.Message.Data, to)
}

// warmUp has everything made that is made once, and lets some events through, from which the collector learns their size.
func (p *pipeline) warmUp(t testing.TB, events int) {
	t.Helper()
	collector, normalizer := p.both(t)
	before, err := p.normalized(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.w.fill(t, p.vhost, p.w.bodies, events)
	eventually(t, "events to be normalized", func(ctx context.Context) error {
		n, err := p.normalized(ctx)
		if err == nil && n < before+events {
			err = fmt.Errorf("%d of %d", n, before+events)
		}
		return err
	})
	collector.stop(t)
	normalizer.stop(t)
}
