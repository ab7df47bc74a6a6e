package setting

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var day = regexp.MustCompile(`^(\d+)d`)

// ParseDuration reads a duration with units, time.ParseDuration's and also whole days at the front: "7d", "1d12h".
// 0 needs no unit. Nothing negative.
func ParseDuration(text string) (time.Duration, error) {
	wrong := fmt.Errorf("wants a duration such as 30s, 1h30m or 7d, not %q", text)
	var days time.Duration
	rest := text
	if m := day.FindStringSubmatch(text); m != nil {
		n, err := strconv.ParseInt(m[1], 10, 32)
		if err != nil || n > 36500 {
			return 0, wrong
		}
		days = time.Duration(n) * 24 * time.Hour
		if rest = text[len(m[0]):]; rest == "" {
			return days, nil
		}
	}
	v, err := time.ParseDuration(rest)
	if err != nil || strings.HasPrefix(rest, "-") || days+v < days {
		return 0, wrong
	}
	return days + v, nil
}

var size = regexp.MustCompile(`^(\d+)\s*([A-Za-z]*)$`)

//nolint:gochecknoglobals // a table that nobody changes
var units = map[string]int64{
	"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
}

// ParseSize reads a number of bytes with its unit: B, kB, MB, GB, TB by the thousand, KiB, MiB, GiB, TiB by 1024. 0
// needs no unit.
func ParseSize(text string) (int64, error) {
	wrong := fmt.Errorf("wants a size such as 512KiB, 8MiB or 10GiB, not %q", text)
	m := size.FindStringSubmatch(text)
	if m == nil {
		return 0, wrong
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	unit, known := units[strings.ToUpper(m[2])]
	if err != nil || (!known && (m[2] != "" || n != 0)) {
		return 0, wrong
	}
	if known && n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%s is more than can be counted", text)
	}
	return n * unit, nil
}

// FormatDuration writes what ParseDuration reads, in the units that people use: 7d, 1h30m, 30s.
func FormatDuration(v time.Duration) string {
	if days := v / (24 * time.Hour); v%(24*time.Hour) == 0 && days > 0 {
		return fmt.Sprintf("%dd", days)
	}
	text := v.String()
	for _, rest := range []string{"m0s", "h0m"} { // 5m0s is 5m, 2h0m is 2h
		if short, ok := strings.CutSuffix(text, rest[1:]); ok && strings.HasSuffix(text, rest) {
			text = short
		}
	}
	return text
}

// FormatSize writes what ParseSize reads, in the largest unit that it is a whole number of.
func FormatSize(v int64) string {
	if v == 0 {
		return "0"
	}
	unit := "B"
	for _, larger := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if v%1024 != 0 {
			break
		}
		v, unit = v/1024, larger
	}
	return fmt.Sprintf("%d%s", v, unit)
}

// What durations and sizes look like, for those who look at a file without us, as JavaScript and Go both read it.
const (
	DurationPattern = `^([0-9]+d|([0-9]+d)?\+?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+))$`
	SizePattern     = `^([0-9]+\s*([kKmMgGtT][iI]?)?[bB]|0+\s*)$`
)
