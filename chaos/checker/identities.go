package checker

import (
	"bytes"
	"encoding/hex"
	"hash/maphash"
)

// identities numbers the identities of all providers from 0, and keeps each in few bytes: a UUID takes 19. It is a hash
// table of numbers, with the keys beside it.
type identities struct {
	seed  maphash.Seed
	slots []slot
	refs  chunked[uint64] // where the key of a number is
	keys  [][]byte        // blocks of keys, each key behind its length
}

type slot struct {
	hash   uint32
	number uint32 // plus one; 0 is an empty slot
}

const keyBlock = 1 << 20

// The forms in which a key has the id.
const (
	formText = iota
	formHex  // an even number of digits, in lower case
	formUUID // in lower case
)

func newIdentities() identities {
	return identities{seed: maphash.MakeSeed(), slots: make([]slot, 1<<10)}
}

// number finds an identity, and takes one that is new.
func (t *identities) number(provider uint16, id string) (n uint32, isNew bool) {
	var buf [64]byte
	key := appendKey(buf[:0], provider, id)
	hash := uint32(maphash.Bytes(t.seed, key) >> 32)
	i := hash & t.mask()
	for ; t.slots[i].number != 0; i = (i + 1) & t.mask() {
		if s := t.slots[i]; s.hash == hash && bytes.Equal(t.key(s.number-1), key) {
			return s.number - 1, false
		}
	}
	n = uint32(t.refs.n)
	t.refs.add(t.keep(key))
	t.slots[i] = slot{hash, n + 1}
	if t.refs.n > len(t.slots)/4*3 {
		t.grow()
	}
	return n, true
}

func (t *identities) mask() uint32 { return uint32(len(t.slots) - 1) }

func (t *identities) grow() {
	old := t.slots
	t.slots = make([]slot, 2*len(old))
	for _, s := range old {
		if s.number == 0 {
			continue
		}
		i := s.hash & t.mask()
		for t.slots[i].number != 0 {
			i = (i + 1) & t.mask()
		}
		t.slots[i] = s
	}
}

// keep stores a key, of less than 64 KiB, and returns where.
func (t *identities) keep(key []byte) uint64 {
	last := len(t.keys) - 1
	if last < 0 || len(t.keys[last])+2+len(key) > keyBlock {
		t.keys = append(t.keys, make([]byte, 0, keyBlock))
		last++
	}
	ref := uint64(last)*keyBlock + uint64(len(t.keys[last]))
	t.keys[last] = append(t.keys[last], byte(len(key)>>8), byte(len(key)))
	t.keys[last] = append(t.keys[last], key...)
	return ref
}

func (t *identities) key(n uint32) []byte {
	ref := *t.refs.at(int(n))
	at := t.keys[ref/keyBlock][ref%keyBlock:]
	return at[2 : 2+int(at[0])<<8+int(at[1])]
}

// text is the id of a number.
func (t *identities) text(n uint32) string {
	key := t.key(n)
	id := key[3:]
	switch key[2] {
	case formHex:
		return hex.EncodeToString(id)
	case formUUID:
		s := hex.EncodeToString(id)
		return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
	}
	return string(id)
}

// appendKey writes the provider, the form, and the id in that form.
func appendKey(key []byte, provider uint16, id string) []byte {
	key = append(key, byte(provider>>8), byte(provider), formText)
	digits, form := id, byte(formHex)
	var plain [32]byte
	if len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-' {
		at := append(plain[:0], id[:8]...)
		at = append(append(append(append(at, id[9:13]...), id[14:18]...), id[19:23]...), id[24:]...)
		digits, form = string(at), formUUID
	}
	if len(digits)%2 != 0 || !isLowerHex(digits) {
		return append(key, id...)
	}
	key[2] = form
	for i := 0; i < len(digits); i += 2 {
		key = append(key, digit(digits[i])<<4|digit(digits[i+1]))
	}
	return key
}

func isLowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func digit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c - 'a' + 10
}
