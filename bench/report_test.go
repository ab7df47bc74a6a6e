//go:build bench

package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"stackstream/bench/measure"
)

// report is all that was measured, and on what.
type report struct {
	Begun      time.Time      `json:"begun"`
	Machine    machine        `json:"machine"`
	Options    options        `json:"options"`
	Mean       int            `json:"mean_notification_bytes"`
	Throughput []rateRow      `json:"throughput,omitempty"`
	Latency    []latencyRow   `json:"latency,omitempty"`
	Start      *startRow      `json:"start,omitempty"`
	Growth     []growthRow    `json:"growth,omitempty"`
	Providers  []providersRow `json:"providers,omitempty"`
	Fairness   *fairnessRow   `json:"fairness,omitempty"`
}

// machine is what figures depend on.
type machine struct {
	Cores    int    `json:"cores"`
	CPU      string `json:"cpu"`
	Kernel   string `json:"kernel"`
	Go       string `json:"go"`
	NATS     string `json:"nats_server"`
	RabbitMQ string `json:"rabbitmq"`
	Commit   string `json:"commit"`
	Changed  bool   `json:"changed_since_the_commit,omitempty"`
	Busy     string `json:"load_average_before"`
}

func newReport(t *testing.T, w *world) *report {
	t.Helper()
	m := machine{
		Cores: runtime.NumCPU(), Go: runtime.Version(), RabbitMQ: w.rabbit, Commit: output("git", "rev-parse", "--short=12", "HEAD"),
		Changed: output("git", "status", "--porcelain", "-uno") != "",
		NATS:    output("go", "list", "-m", "-f", "{{.Version}}", "github.com/nats-io/nats-server/v2"),
	}
	first := func(file string) string {
		text, _ := os.ReadFile(file)
		line, _, _ := bytes.Cut(text, []byte("\n"))
		return strings.TrimSpace(string(line))
	}
	m.Kernel, m.Busy = first("/proc/sys/kernel/osrelease"), first("/proc/loadavg")
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		_, rest, _ := strings.Cut(string(text), "model name\t: ")
		m.CPU, _, _ = strings.Cut(rest, "\n")
	}
	return &report{Begun: time.Now().UTC(), Machine: m, Options: w.opt, Mean: w.bodies.mean()}
}

// output is what a command prints, "" if it does not work here.
func output(name string, args ...string) string {
	text, _ := exec.Command(name, args...).Output()
	return strings.TrimSpace(string(text))
}

func (r *report) writeJSON(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// table writes rows with their columns below each other.
func table(out io.Writer, rows ...[]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	fmt.Fprintln(w)
	return w.Flush()
}

func (r *report) write(out io.Writer) error {
	m := r.Machine
	changed := ""
	if m.Changed {
		changed = ", changed"
	}
	fmt.Fprintf(out, "\n%d cores (%s), Linux %s, load before %s\n", m.Cores, m.CPU, m.Kernel, m.Busy)
	fmt.Fprintf(out, "%s, nats-server %s ×%d, RabbitMQ %s, commit %s%s, notifications of %d bytes\n\n",
		m.Go, m.NATS, r.Options.Servers, m.RabbitMQ, m.Commit, changed, r.Mean)
	if r.Options.Short {
		fmt.Fprintf(out, "A short run: it shows that everything works. Its figures mean nothing.\n\n")
	}
	for _, section := range []func(io.Writer) error{
		r.writeThroughput, r.writeLatency, r.writeStart, r.writeGrowth, r.writeProviders, r.writeFairness,
	} {
		if err := section(out); err != nil {
			return err
		}
	}
	return nil
}

func whole(s measure.Spread) string { return fmt.Sprintf("%.0f (%.0f–%.0f)", s.Median, s.Min, s.Max) }

func (r *report) writeThroughput(out io.Writer) error {
	if len(r.Throughput) == 0 {
		return nil
	}
	rates := [][]string{{"PART", "EVENTS/S", "(MIN–MAX)", "OF THE CEILING", "(MIN–MAX)", "WHICH IS"}}
	processes := [][]string{{"PART", "PROCESS", "CPU µs/EVENT", "(MIN–MAX)", "PEAK RSS MiB"}}
	for _, row := range r.Throughput {
		cells := []string{row.Name, fmt.Sprintf("%.0f", row.Rate.Median), fmt.Sprintf("(%.0f–%.0f)", row.Rate.Min, row.Rate.Max)}
		if row.Ratio != nil {
			cells = append(cells, fmt.Sprintf("%.2f", row.Ratio.Median), fmt.Sprintf("(%.2f–%.2f)", row.Ratio.Min, row.Ratio.Max),
				strings.Join(row.Against, " or "))
		}
		rates = append(rates, cells)
		for _, name := range slices.Sorted(maps.Keys(row.Processes)) {
			p := row.Processes[name]
			processes = append(processes, []string{row.Name, name, fmt.Sprintf("%.1f", p.CPU.Median),
				fmt.Sprintf("(%.1f–%.1f)", p.CPU.Min, p.CPU.Max), fmt.Sprintf("%.1f", p.Peak.Max)})
		}
	}
	if err := table(out, rates...); err != nil {
		return err
	}
	return table(out, processes...)
}

func (r *report) writeLatency(out io.Writer) error {
	if len(r.Latency) == 0 {
		return nil
	}
	rows := [][]string{{"LATENCY", "EVENTS/S", "p50 ms", "p99 ms", "p99.9 ms", "MAX ms", "EVENTS"}}
	for _, row := range r.Latency {
		rows = append(rows, append([]string{row.Name, fmt.Sprintf("%.0f", row.Pace)}, quantiles(row.Latency)...))
	}
	return table(out, rows...)
}

func quantiles(l measure.Latency) []string {
	cells := []string{}
	for _, ms := range []float64{l.P50, l.P99, l.P999, l.Max} {
		cells = append(cells, fmt.Sprintf("%.1f", ms))
	}
	return append(cells, fmt.Sprint(l.N))
}

func (r *report) writeStart(out io.Writer) error {
	if r.Start == nil {
		return nil
	}
	rows := [][]string{{"START", "MEDIAN (MIN–MAX)"},
		{"stackstream, the binary", fmt.Sprintf("%.1f MiB", r.Start.Binary)},
		{"collector to its first poll", whole(r.Start.FirstPoll) + " ms"},
		{"collector ready", whole(r.Start.Collector) + " ms"},
		{"normalizer ready", whole(r.Start.Normalizer) + " ms"}}
	for _, name := range slices.Sorted(maps.Keys(r.Start.Idle)) {
		rows = append(rows, []string{name + " idle", fmt.Sprintf("%.1f MiB RSS", r.Start.Idle[name].RSS)})
	}
	return table(out, rows...)
}

func (r *report) writeGrowth(out io.Writer) error {
	if len(r.Growth) == 0 {
		return nil
	}
	rows := [][]string{{"IN STREAMS", "EVENTS/S", "READY ms", "PROCESS", "CPU µs/EVENT", "PEAK RSS MiB"}}
	for _, row := range r.Growth {
		ready := fmt.Sprintf("%.0f, %.0f", row.Collector, row.Normalizer)
		for _, name := range slices.Sorted(maps.Keys(row.Result.Processes)) {
			p := row.Result.Processes[name]
			rows = append(rows, []string{fmt.Sprint(row.Size), fmt.Sprintf("%.0f", row.Result.rate()), ready, name,
				fmt.Sprintf("%.1f", p.CPU), fmt.Sprintf("%.1f", p.Peak)})
		}
	}
	return table(out, rows...)
}

func (r *report) writeProviders(out io.Writer) error {
	if len(r.Providers) == 0 {
		return nil
	}
	rows := [][]string{{"PROVIDERS", "ALL POLLED s", "PROCESS", "RSS MiB", "% OF A CORE"}}
	for _, row := range r.Providers {
		for _, name := range slices.Sorted(maps.Keys(row.Processes)) {
			p := row.Processes[name]
			rows = append(rows, []string{fmt.Sprint(row.Providers), fmt.Sprintf("%.1f", row.Polled), name, fmt.Sprintf("%.1f", p.RSS),
				fmt.Sprintf("%.2f", 100*p.Core)})
		}
	}
	return table(out, rows...)
}

func (r *report) writeFairness(out io.Writer) error {
	if r.Fairness == nil {
		return nil
	}
	f := r.Fairness
	return table(out, []string{"QUIET PROVIDERS", "", "p50 ms", "p99 ms", "p99.9 ms", "MAX ms", "EVENTS"},
		append([]string{fmt.Sprint(f.Quiet), "alone"}, quantiles(f.Alone)...),
		append([]string{fmt.Sprint(f.Quiet), fmt.Sprintf("beside one with %.0f events/s", f.Hot)}, quantiles(f.Beside)...))
}
