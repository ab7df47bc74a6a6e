package cli

import (
	"bufio"
	"errors"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// mapped is a part of the program as it lies in memory.
type mapped struct{ from, to uintptr }

// dropProgram lets go of the pages of the program itself, code and constants. Those that are needed again come back by themselves, from
// the same file: most are not, for they were needed to begin. Nothing is dropped that was changed since it was read.
func dropProgram() error {
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer smaps.Close()
	here, _, _, _ := runtime.Caller(0)
	parts, err := unchanged(smaps, here)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if _, _, no := syscall.Syscall(syscall.SYS_MADVISE, part.from, part.to-part.from, syscall.MADV_DONTNEED); no != 0 {
			err = errors.Join(err, no)
		}
	}
	return err
}

// unchanged finds the parts of the file that here belongs to which nobody may write to, and of which no page differs from the file,
// neither in memory (Anonymous) nor swapped out (Swap).
func unchanged(smaps io.Reader, here uintptr) ([]mapped, error) {
	type part struct {
		mapped
		file string // device and inode
		kept int    // 2 if it is as it is in the file, in memory and in swap
	}
	var parts []part
	program := ""
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		from, to, isRange := strings.Cut(fields[0], "-")
		switch {
		case isRange && len(fields) >= 5:
			p := part{file: fields[3] + " " + fields[4]}
			for _, bound := range []struct {
				text string
				to   *uintptr
			}{{from, &p.from}, {to, &p.to}} {
				n, err := strconv.ParseUint(bound.text, 16, 64)
				if err != nil {
					return nil, err
				}
				*bound.to = uintptr(n)
			}
			if p.from <= here && here < p.to {
				program = p.file
			}
			if strings.Contains(fields[1], "w") {
				p.file = ""
			}
			parts = append(parts, p)
		case (fields[0] == "Anonymous:" || fields[0] == "Swap:") && fields[1] == "0" && len(parts) > 0:
			parts[len(parts)-1].kept++
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	var out []mapped
	for _, p := range parts {
		if program != "" && p.file == program && p.kept == 2 {
			out = append(out, p.mapped)
		}
	}
	return out, nil
}
