package event

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// Identity is an ID in constant space: ids are chosen by others and may be of any length. Two ids that share the first 128 bits
// of their SHA-256 are not expected to exist.
type Identity [16]byte

// Identity of the id, in the form that RAW has.
func (id ID) Identity() Identity {
	sum := sha256.Sum256([]byte(BoundID(id)))
	return Identity(sum[:16])
}

// Shared stands beside the cursors of a provider whose sources share their events: what is handed to one of them may be handed to
// another as well. Every batch of such a source replaces it, and is refused where another source has replaced it meanwhile: so
// none stores an event that it can't know to be stored already.
type Shared struct {
	// Blocks are the last batches, the oldest first, the last of them the one that wrote this.
	Blocks []SharedBlock `json:"blocks,omitempty"`
}

// SharedBlock is one batch.
type SharedBlock struct {
	// Batch is the ID of the Batch.
	Batch string `json:"batch"`
	// At is when the last of its events was received.
	At time.Time `json:"at,omitzero"`
	// Events are the identities of its events.
	Events Identities `json:"events"`
}

// A Shared record goes back as far as one of these says: enough for what some sources store between two batches of one. Who is
// further behind reads RAW.
const (
	sharedEvents  = 512
	sharedBatches = 64
)

// With returns the record behind another batch.
func (s Shared) With(b SharedBlock) Shared {
	first, n := len(s.Blocks), len(b.Events)
	for first > 0 && n < sharedEvents && len(s.Blocks)-first < sharedBatches {
		first--
		n += len(s.Blocks[first].Events)
	}
	return Shared{Blocks: append(append([]SharedBlock(nil), s.Blocks[first:]...), b)}
}

// Since returns the batches behind one of them, nil if the record does not go back that far.
func (s Shared) Since(batch string) []SharedBlock {
	for i := len(s.Blocks) - 1; i >= 0; i-- {
		if s.Blocks[i].Batch == batch {
			return s.Blocks[i+1:]
		}
	}
	return nil
}

// Batch is the ID of the batch that wrote the record, "" if there is none.
func (s Shared) Batch() string {
	if len(s.Blocks) == 0 {
		return ""
	}
	return s.Blocks[len(s.Blocks)-1].Batch
}

// Identities are written as one text.
type Identities []Identity

// MarshalText writes what UnmarshalText reads.
func (ids Identities) MarshalText() ([]byte, error) {
	all := make([]byte, 0, len(ids)*len(Identity{}))
	for _, id := range ids {
		all = append(all, id[:]...)
	}
	return base64.StdEncoding.AppendEncode(nil, all), nil
}

// UnmarshalText reads what MarshalText wrote.
func (ids *Identities) UnmarshalText(text []byte) error {
	all, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return err
	}
	const size = len(Identity{})
	if len(all)%size != 0 {
		return errors.New("identities are cut off")
	}
	*ids = make(Identities, len(all)/size)
	for i := range *ids {
		(*ids)[i] = Identity(all[i*size : (i+1)*size])
	}
	return nil
}

// OvertakenError is what a writer of a source that shares its events returns when other sources have stored some that it does not
// know of. The writer goes on: what of its events is not among those may be written again.
type OvertakenError struct {
	// Stored are the sequences of the first events, which were stored in batches of their own before.
	Stored []StreamSeq
	// After and UpTo: what other sources stored lies behind the one and up to the other.
	After, UpTo StreamSeq
	// Blocks are the batches that were stored there, nil where they have to be read from RAW.
	Blocks []SharedBlock
}

func (e *OvertakenError) Error() string {
	return fmt.Sprintf("other sources have stored events behind %d, up to %d", e.After, e.UpTo)
}
