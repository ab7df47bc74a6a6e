package event

import (
	"fmt"
	"strings"
)

// Provider names a cloud whose events are collected. It is one subject token: [a-z0-9_-]{1,63}.
type Provider string

// Source names one collector position of a provider: the kind of the source ("panko"), or the kind and a shard
// ("amqp-nova"). It is one subject token: [a-z0-9_-]{1,63}.
type Source string

// Kind returns the kind of the source: the name up to the first dash.
func (s Source) Kind() string {
	kind, _, _ := strings.Cut(string(s), "-")
	return kind
}

// Job tells whether what comes through the source was asked for by an operator: a job that ends, and no event service.
func (s Source) Job() bool { return s == SourceRedrive || strings.HasPrefix(string(s), jobBackfill) }

// jobBackfill is what the sources of backfills begin with.
const jobBackfill = "backfill-"

// Of tells whether the source is of a kind: the one of its name, or a shard of it.
func (s Source) Of(kind string) bool { return s.Kind() == kind }

// maxToken is the length a name may have; it keeps subjects and consumer names well under the server's limits.
const maxToken = 63

// ParseProvider checks that s may name a provider.
func ParseProvider(s string) (Provider, error) {
	if err := checkToken(s); err != nil {
		return "", fmt.Errorf("provider name %q: %w", s, err)
	}
	return Provider(s), nil
}

// ParseSource checks that s may name a source.
func ParseSource(s string) (Source, error) {
	if err := checkToken(s); err != nil {
		return "", fmt.Errorf("source name %q: %w", s, err)
	}
	return Source(s), nil
}

func checkToken(s string) error {
	if s == "" {
		return fmt.Errorf("is empty")
	}
	if len(s) > maxToken {
		return fmt.Errorf("is longer than %d characters", maxToken)
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '-' {
			return fmt.Errorf("has %q; only a-z, 0-9, _ and - are allowed", r)
		}
	}
	return nil
}

// ID is the identity an event has at its source. Together with the provider it names the event: no two events of a
// provider share one, whichever of the provider's sources they came through.
type ID string

// Seq is a contiguous number that stackstream gives to events, from 1: in RAW per provider and source, in NORMALIZED
// per provider over events and dead letters together. 0 means none.
type Seq uint64

// StreamSeq is a sequence number of a JetStream stream. 0 means none.
type StreamSeq uint64
