//go:build chaos

package chaos

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// Counters that are added up over all lives of all processes: what is left of a name and its result label.
var counted = map[string]string{
	"stackstream_batches_total": "result", "stackstream_cursor_rereads_total": "", "stackstream_fenced_total": "role",
	"stackstream_duplicate_events_total": "", "stackstream_sequence_gaps_total": "", "stackstream_nats_reconnects_total": "",
	"stackstream_lease_transitions_total": "role", "stackstream_skipped_events_total": "",
}

// scrape asks every program that runs for its metrics and looks at its memory.
func (x *watch) scrape(ctx context.Context) {
	for host, addr := range x.w.admin {
		pid := x.w.process[host].pid()
		if pid == 0 {
			continue
		}
		if kib := peakRSS(pid); kib > 0 {
			x.mu.Lock()
			x.rss[host] = max(x.rss[host], kib)
			x.mu.Unlock()
		}
		text, err := get(ctx, "http://"+addr+"/metrics")
		if err != nil {
			continue
		}
		now := map[string]float64{}
		lines := bufio.NewScanner(strings.NewReader(text))
		for lines.Scan() {
			name, rest, _ := strings.Cut(lines.Text(), "{")
			label, wanted := counted[name]
			fields := strings.Fields(rest)
			if !wanted || len(fields) == 0 {
				continue
			}
			if label != "" {
				_, value, _ := strings.Cut(rest, label+`="`)
				value, _, _ = strings.Cut(value, `"`)
				name += " " + value
			}
			value, _ := strconv.ParseFloat(fields[len(fields)-1], 64)
			now[name] += value
		}
		x.mu.Lock()
		life := fmt.Sprintf("%s %d", host, pid)
		for name, value := range now {
			x.counters[name] += value - x.last[life][name]
		}
		x.last[life] = now
		x.mu.Unlock()
	}
}

// totals are the counters so far.
func (x *watch) totals() map[string]float64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.counters)
}

// peakRSS is the largest resident set that a process had, in KiB; 0 if it is gone.
func peakRSS(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kib
		}
	}
	return 0
}

var asks = http.Client{Timeout: 5 * time.Second}

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := asks.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}
