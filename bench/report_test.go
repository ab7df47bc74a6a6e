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
	"time"
	"unicode/utf8"

	"stackstream/bench/measure"
)

// report is all that was measured, and on what.
type report struct {
	Begun      time.Time `json:"begun"`
	Machine    machine   `json:"machine"`
	Options    options   `json:"options"`
	Mean       int       `json:"mean_notification_bytes"`
	Throughput []rateRow `json:"throughput,omitempty"`
	// Capacity is how many events a second go through both hops while others hand over and subscribe on the same machine.
	Capacity  float64        `json:"capacity,omitempty"`
	Latency   []latencyRow   `json:"latency,omitempty"`
	Start     *startRow      `json:"start,omitempty"`
	Growth    []growthRow    `json:"growth,omitempty"`
	Restart   []restartRow   `json:"start_with_all_that,omitempty"`
	Providers []providersRow `json:"providers,omitempty"`
	Fairness  *fairnessRow   `json:"fairness,omitempty"`
	Stored    []storedRow    `json:"stored,omitempty"`
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

// table writes rows with their columns below each other, the first as the head, so that what is printed can be pasted into a page.
func table(out io.Writer, rows ...[]string) error {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	line := func(row []string, fill string) {
		for i, width := range widths {
			cell := ""
			if i < len(row) {
				cell = row[i]
			}
			fmt.Fprintf(&b, "| %s%s ", cell, strings.Repeat(fill, width-utf8.RuneCountInString(cell)))
		}
		b.WriteString("|\n")
	}
	line(rows[0], " ")
	line(nil, "-")
	for _, row := range rows[1:] {
		line(row, " ")
	}
	b.WriteString("\n")
	_, err := io.WriteString(out, b.String())
	return err
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
		r.writeThroughput, r.writeLatency, r.writeStart, r.writeGrowth, r.writeProviders, r.writeFairness, r.writeStored,
	} {
		if err := section(out); err != nil {
			return err
		}
	}
	return nil
}

// spread is a median with what was least and most.
func spread(s measure.Spread, decimals int) string {
	return fmt.Sprintf("%.*f (%.*f–%.*f)", decimals, s.Median, decimals, s.Min, decimals, s.Max)
}

func (r *report) writeThroughput(out io.Writer) error {
	if len(r.Throughput) == 0 {
		return nil
	}
	rates := [][]string{{"part", "events/s", "of the ceiling", "which is"}}
	processes := [][]string{{"part", "process", "CPU µs/event", "peak RSS MiB"}}
	for _, row := range r.Throughput {
		cells := []string{row.Name, spread(row.Rate, 0)}
		if row.Ratio != nil {
			cells = append(cells, spread(*row.Ratio, 2), strings.Join(row.Against, " or "))
		}
		rates = append(rates, cells)
		for _, name := range slices.Sorted(maps.Keys(row.Processes)) {
			p := row.Processes[name]
			processes = append(processes, []string{row.Name, name, spread(p.CPU, 1), fmt.Sprintf("%.1f", p.Peak.Max)})
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
	rows := [][]string{{"latency of", "events/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "events"}}
	for _, row := range r.Latency {
		rows = append(rows, append([]string{row.Name, fmt.Sprintf("%.0f", row.Pace)}, quantiles(row.Latency)...))
	}
	if err := table(out, rows...); err != nil {
		return err
	}
	return table(out, []string{"with who hands over and who reads beside them", "events/s"}, []string{partTwoHops, fmt.Sprintf("%.0f", r.Capacity)})
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
	rows := [][]string{{"start", "median (min–max)"},
		{"stackstream, the binary", fmt.Sprintf("%.1f MiB", r.Start.Binary)},
		{"collector to its first poll", spread(r.Start.FirstPoll, 0) + " ms"},
		{"collector ready", spread(r.Start.Collector, 0) + " ms"},
		{"normalizer ready", spread(r.Start.Normalizer, 0) + " ms"}}
	for _, name := range slices.Sorted(maps.Keys(r.Start.Idle)) {
		rows = append(rows, []string{name + " idle", fmt.Sprintf("%.1f MiB RSS", r.Start.Idle[name].RSS)})
	}
	return table(out, rows...)
}

func (r *report) writeGrowth(out io.Writer) error {
	if len(r.Growth) == 0 {
		return nil
	}
	rows := [][]string{{"in streams", "events/s", "process", "CPU µs/event", "peak RSS MiB", "ready after ms"}}
	for _, row := range r.Growth {
		ready := map[string]string{"collector": fmt.Sprintf("%.0f", row.Collector), "normalizer": fmt.Sprintf("%.0f", row.Normalizer)}
		for _, name := range slices.Sorted(maps.Keys(row.Result.Processes)) {
			p := row.Result.Processes[name]
			rows = append(rows, []string{fmt.Sprint(row.Size), fmt.Sprintf("%.0f", row.Result.rate()), name,
				fmt.Sprintf("%.1f", p.CPU), fmt.Sprintf("%.1f", p.Peak), ready[name]})
		}
	}
	if err := table(out, rows...); err != nil || len(r.Restart) == 0 {
		return err
	}
	starts := [][]string{{"in streams", "providers", "start", "normalizer ready after s", "first poll after s", "all polled after s",
		"collector ready after s"}}
	for _, row := range r.Restart {
		cells := []string{fmt.Sprint(row.Size), fmt.Sprint(row.Providers), row.Start}
		for _, seconds := range []float64{row.Normalizer, row.FirstPoll, row.Polled, row.Collector} {
			cells = append(cells, fmt.Sprintf("%.1f", seconds))
		}
		starts = append(starts, cells)
	}
	return table(out, starts...)
}

func (r *report) writeProviders(out io.Writer) error {
	if len(r.Providers) == 0 {
		return nil
	}
	rows := [][]string{{"providers", "all polled after s", "process", "RSS MiB", "% of a core"}}
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
	return table(out, []string{"quiet providers", "", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "events"},
		append([]string{fmt.Sprint(f.Quiet), "alone"}, quantiles(f.Alone)...),
		append([]string{fmt.Sprint(f.Quiet), fmt.Sprintf("beside one with %.0f events/s", f.Hot)}, quantiles(f.Beside)...))
}

func (r *report) writeStored(out io.Writer) error {
	if len(r.Stored) == 0 {
		return nil
	}
	rows := [][]string{{"bytes of a notification", "in RAW", "in NORMALIZED"}}
	for _, row := range r.Stored {
		rows = append(rows, []string{fmt.Sprint(row.Notification), fmt.Sprintf("%.0f", row.Raw), fmt.Sprintf("%.0f", row.Normalized)})
	}
	return table(out, rows...)
}
