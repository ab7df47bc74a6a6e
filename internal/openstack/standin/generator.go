package standin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"time"
)

// Generate makes an event that was generated at the given time: a recorded one, with fresh ids and with its times moved
// along. The ids of users and projects stay, so that the cloud looks like one. It is not put anywhere.
func (s *Service) Generate(at time.Time) Event {
	s.mu.Lock()
	s.made++
	n := s.made
	s.mu.Unlock()
	return freshen(s.templates[n%len(s.templates)], at.UTC().Truncate(time.Microsecond), s.opts.Seed, uint64(n))
}

// Run puts Options.Burst events and then Options.Rate a second, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	now := time.Now()
	for i := range s.opts.Burst {
		s.Put(s.Generate(now.Add(-time.Minute * time.Duration(s.opts.Burst-i) / time.Duration(s.opts.Burst))))
	}
	if s.opts.Rate <= 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(max(time.Duration(float64(time.Second)/s.opts.Rate), time.Microsecond))
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case now = <-tick.C:
			e := s.Generate(now)
			if s.opts.LateOneIn > 0 && i%s.opts.LateOneIn == 0 {
				e.Visible = now.Add(time.Duration(s.roll() * float64(s.opts.Lateness)))
			}
			s.Put(e)
		case <-ctx.Done():
			return nil
		}
	}
}

var (
	uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32}\b`)
	times = regexp.MustCompile(`20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{6})?`)
)

// owned matches the ids of the users and projects in the recording, and Keystone's own.
var owned = regexp.MustCompile(`^(a9edfdf69dca4c44beb659c347b2ab45|f6bd35c95aab46788630b27d457c1386|` +
	`64f69c76cd1f438c81fdba939f97612b|450ebac2cc33470fb42fad8eb112b8a9|61f763676caa4a26aca5525ee3a7f134)$`)

// freshen makes the nth event of a seed. The same id becomes the same new id all over the event.
func freshen(t Event, at time.Time, seed, n uint64) Event {
	body := uuids.ReplaceAllFunc(t.Body, func(old []byte) []byte {
		if owned.Match(old) {
			return old
		}
		var salt [16]byte
		binary.BigEndian.PutUint64(salt[:8], seed)
		binary.BigEndian.PutUint64(salt[8:], n)
		sum := sha256.Sum256(append(salt[:], old...))
		plain := hex.EncodeToString(sum[:16])
		if bytes.IndexByte(old, '-') < 0 {
			return []byte(plain)
		}
		return fmt.Appendf(nil, "%s-%s-4%s-a%s-%s", plain[:8], plain[8:12], plain[13:16], plain[17:20], plain[20:])
	})
	moved := at.Sub(t.Generated)
	body = times.ReplaceAllFunc(body, func(old []byte) []byte {
		layout := "2006-01-02" + string(old[10]) + "15:04:05"
		when, err := time.Parse(layout, string(old))
		if err != nil {
			return old
		}
		if len(old) > len(layout) {
			layout += ".000000"
		}
		return []byte(when.Add(moved).Format(layout))
	})
	e, err := ParseEvent(body)
	if err != nil {
		panic(fmt.Sprintf("an event made of recorded event %s: %v", t.ID, err))
	}
	return e
}
