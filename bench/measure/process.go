package measure

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Usage is what a process has used since it began.
type Usage struct {
	CPU  time.Duration // of all its threads, in user and system mode
	RSS  int64         // bytes
	Peak int64         // the most that RSS was, since the beginning or the last ForgetPeak
}

// tick is the unit in which Linux tells processor time, on every architecture that Go runs on.
const tick = time.Second / 100

// Of reads the usage of a process.
func Of(pid int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, err
	}
	u := Usage{}
	if u.CPU, err = parseStat(stat); err != nil {
		return Usage{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, err
	}
	if u.RSS, err = parseStatus(status, "VmRSS:"); err == nil {
		u.Peak, err = parseStatus(status, "VmHWM:")
	}
	if err != nil {
		return Usage{}, fmt.Errorf("/proc/%d/status: %w", pid, err)
	}
	return u, nil
}

// ForgetPeak has the peak of a process begin anew with what it has now.
func ForgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// parseStat finds utime and stime. The name of the program comes before them, in parentheses, and may have anything in it.
func parseStat(stat []byte) (time.Duration, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("has %d fields behind the name", len(fields))
	}
	var used time.Duration
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, err
		}
		used += time.Duration(n) * tick
	}
	return used, nil
}

// parseStatus finds a size, which is told in KiB.
func parseStatus(status []byte, name string) (int64, error) {
	for line := range bytes.Lines(status) {
		if rest, is := bytes.CutPrefix(line, []byte(name)); is {
			kib, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte(" kB"))), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("there is no %s", name)
}
