package event

import (
	"fmt"
	"strings"
)

// BackfillSource is the source through which a backfill's events come into RAW. The name of a job is what a source's name
// may be, less what all of them begin with.
func BackfillSource(job string) (Source, error) {
	err := checkToken(job)
	if most := maxToken - len(jobBackfill); err == nil && len(job) > most {
		err = fmt.Errorf("is longer than %d characters", most)
	}
	if err != nil {
		return "", &Error{Kind: Invalid, Err: fmt.Errorf("job name %q: %w", job, err)}
	}
	return Source(jobBackfill + job), nil
}

// Backfill is the job whose events come through the source, "" if it is not that of a backfill.
func (s Source) Backfill() string {
	job, ok := strings.CutPrefix(string(s), jobBackfill)
	if !ok {
		return ""
	}
	return job
}
