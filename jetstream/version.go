package jetstream

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MinVersion is the oldest nats-server that is accepted: the first with both atomic batches as they are used here and
// the reset of a consumer.
const MinVersion = "2.14.0"

// checkVersion refuses a server older than MinVersion. A pre-release counts as the version it leads to: 2.14.0-RC.1
// has what 2.14.0 has. An error has the kind event.Invalid.
func checkVersion(server, version string) error {
	const op = "check the NATS server"
	have, ok := parseVersion(version)
	if !ok {
		return invalid(op, fmt.Errorf("server %q says it is version %q: at least %s is needed", server, version, MinVersion))
	}
	want, _ := parseVersion(MinVersion)
	for i := range want {
		if have[i] != want[i] {
			if have[i] > want[i] {
				return nil
			}
			return invalid(op, fmt.Errorf("server %q is nats-server %s: at least %s is needed", server, version, MinVersion))
		}
	}
	return nil
}

// parseVersion reads major, minor and patch of "2.15.0", "v2.15.0-beta.1" or "2.14.0+build".
func parseVersion(version string) (parts [3]int, ok bool) {
	core := strings.TrimPrefix(version, "v")
	if at := strings.IndexAny(core, "-+"); at >= 0 {
		core = core[:at]
	}
	fields := strings.Split(core, ".")
	if len(fields) != len(parts) {
		return parts, false
	}
	for i, field := range fields {
		n, err := strconv.ParseUint(field, 10, 16)
		if err != nil {
			return parts, false
		}
		parts[i] = int(n)
	}
	return parts, true
}

// atLeast tells whether a version is not older than another.
func atLeast(version, want string) bool {
	have, ok := parseVersion(version)
	least, known := parseVersion(want)
	return ok && known && slices.Compare(have[:], least[:]) >= 0
}
