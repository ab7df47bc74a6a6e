package monitoring

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/jetstream"
	"stackstream/jetstream/embedded"
)

// elsewhere matches the metrics that a pipeline without a broker and without a webhook, in which nothing goes wrong, does not show. Package metrics
// tests that they are shown once there is something to show.
var elsewhere = regexp.MustCompile(`^(stackstream_amqp1?_\w+|stackstream_webhook_\w+|` +
	`stackstream_source_(errors|page_retries|odd_events)_total|stackstream_hashed_events_total|stackstream_filtered_events_total|stackstream_duplicate_events_total|up|ALERTS)$`)

// What the dashboard and the alerts look at is shown by a process that collects and normalizes, with the labels that they use.
func TestARunningPipelineShowsWhatIsLookedAt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	subscribeIn(t, dir)
	demo := app.Demo{Dir: dir, Version: "test", Log: zerolog.Nop(), OpenStore: app.Stores(embedded.Open)}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var shown map[string]*dto.MetricFamily
	err := demo.Run(ctx, func(ctx context.Context, r app.Running, _ string) error {
		var last error
		for ctx.Err() == nil {
			families, err := scrape(ctx, r.Admin)
			if err == nil {
				shown = families
				if err = lacking(t, families); err == nil {
					return nil
				}
			}
			last = err
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		return errors.Join(ctx.Err(), last)
	})
	if err != nil {
		t.Fatalf("%v\nshown are %v", err, slices.Sorted(maps.Keys(shown)))
	}
}

// lacking says which metrics and labels are looked at and not shown.
func lacking(t *testing.T, families map[string]*dto.MetricFamily) error {
	d := loadDashboard(t)
	expressions := d.expressions()
	for _, r := range alerts(t) {
		expressions = append(expressions, expression{where: r.Alert, expr: r.Expr})
	}
	var problems []error
	for _, e := range expressions {
		names := used(e.expr)
		delete(names, "")
		for name, labels := range names {
			if elsewhere.MatchString(name) {
				continue
			}
			f := families[name]
			if f == nil {
				f = families[regexp.MustCompile(`_(sum|count|bucket)$`).ReplaceAllString(name, "")]
			}
			if f == nil {
				problems = append(problems, fmt.Errorf("%s: %s is not shown", e.where, name))
				continue
			}
			for _, label := range labels {
				if !slices.Contains([]string{"job", "instance", "le"}, label) && !slices.ContainsFunc(f.GetMetric()[0].GetLabel(),
					func(l *dto.LabelPair) bool { return l.GetName() == label }) {
					problems = append(problems, fmt.Errorf("%s: %s is shown without the label %s", e.where, name, label))
				}
			}
		}
	}
	return errors.Join(problems...)
}

func scrape(ctx context.Context, addr string) (map[string]*dto.MetricFamily, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(answer.Body)
}

// subscribeIn makes the streams in a directory, and a durable consumer that has acknowledged something.
func subscribeIn(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server, err := embedded.Open(jetstream.EmbeddedConfig{Dir: dir}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	client, err := jetstream.Connect(ctx, jetstream.Config{Embedded: server}, zerolog.Nop(), jetstream.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close(ctx) }()
	if _, err := client.Provision(ctx, jetstream.Layout{Replicas: 1}.Within(server.MaxFile()), jetstream.CreateMissing); err != nil {
		t.Fatal(err)
	}
	js, err := natsjs.New(client.Conn())
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.CreateConsumer(ctx, event.StreamNormalized, natsjs.ConsumerConfig{Durable: "inventory", AckPolicy: natsjs.AckAllPolicy})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "ingest.normalized.other", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	m, err := consumer.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.DoubleAck(ctx); err != nil {
		t.Fatal(err)
	}
}
