package poison

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"stackstream/event"
)

// fate is what has to become of an event.
type fate byte

const (
	either     fate = iota // one or the other, nobody knows beforehand
	normalized             // a canonical event
	dead                   // a dead letter
)

// mutant is an event as a source hands it over.
type mutant struct {
	kind, format string
	compression  string // what its source says of the body
	body         []byte
	fate         fate

	id     event.ID
	hashed bool
}

// wanted is what has to come out of the pipeline for a mutant.
type wanted struct {
	sum  [sha256.Size]byte
	size int
	kind uint8
	fate fate
}

const (
	// window is within how many of the last events one may come again. It is less than what the pipeline promises to
	// remember, and what comes again from farther back is made another event by the mutator.
	window = 10_000
	// kept is of how many of the last events the bodies are kept, so that they can be handed over again.
	kept = 500
)

// mutator makes mutants, the same for the same seed, and keeps what has to become of them. An event that has the
// identity of one that came before is none: the first counts.
type mutator struct {
	random *rand.Rand
	bases  []base
	only   string // the format that the source gives everything
	made   int

	want   []wanted
	byID   map[[16]byte]int32 // place in want
	recent [kept]mutant
}

func newMutator(t testing.TB, seed uint64) *mutator {
	return &mutator{random: rand.New(rand.NewPCG(seed, 7)), bases: bases(t), byID: map[[16]byte]int32{}}
}

// next makes a mutant. There is no end to them.
func (m *mutator) next() mutant {
	for {
		way := m.random.IntN(len(ways))
		if rare := ways[way].oneIn; rare > 1 && m.random.IntN(rare) > 0 {
			continue
		}
		mu := ways[way].make(m)
		if mu.body == nil {
			mu.body = []byte{}
		}
		mu.kind = ways[way].name
		if m.only != "" && mu.format != m.only {
			mu.format, mu.fate = m.only, either
		}
		mu.id, mu.hashed = identify(mu.format, mu.compression, mu.body)
		key := keyOf(mu.id)
		if before, again := m.byID[key]; again {
			if len(m.want)-int(before) > window {
				continue
			}
		} else {
			m.byID[key] = int32(len(m.want))
			m.want = append(m.want, wanted{sum: sha256.Sum256(mu.body), size: len(mu.body), kind: uint8(way), fate: mu.fate})
		}
		m.recent[m.made%kept] = mu
		m.made++
		return mu
	}
}

func keyOf(id event.ID) [16]byte {
	sum := sha256.Sum256([]byte(id))
	return [16]byte(sum[:16])
}

// earlier is one of the last mutants, which there must be.
func (m *mutator) earlier() mutant { return m.recent[m.random.IntN(min(m.made, kept))] }

// fresh is a base with an identity of its own, if it has one at all.
func (m *mutator) fresh() mutant {
	b := m.bases[m.random.IntN(len(m.bases))]
	mu := mutant{format: b.format, body: []byte(b.body)}
	if b.id != "" {
		mu.body = []byte(strings.ReplaceAll(b.body, b.id, m.uuid()))
	}
	return mu
}

// recorded is fresh, and of a service that sends what the converter reads.
func (m *mutator) recorded() mutant {
	for {
		if mu := m.fresh(); mu.format == "oslo" && strings.Contains(string(mu.body), "event_type") {
			return mu
		}
	}
}

func (m *mutator) uuid() string {
	var b [16]byte
	for i := range b {
		b[i] = byte(m.random.Uint32())
	}
	x := hex.EncodeToString(b[:])
	return strings.Join([]string{x[:8], x[8:12], x[12:16], x[16:20], x[20:]}, "-")
}

// bytes are n random ones.
func (m *mutator) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.random.Uint32())
	}
	return b
}

func (m *mutator) pick(from ...string) string { return from[m.random.IntN(len(from))] }
