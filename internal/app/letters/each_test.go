package letters

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"stackstream/event"
)

// breaking are streams that break off in the middle, and have copied letters meanwhile.
type breaking struct {
	*world
	left int // letters until they do
}

func (b *breaking) Each(ctx context.Context, p event.Provider, yield func(event.Letter) error) error {
	b.copied = rapid.IntRange(b.copied, len(b.letters)).Draw(b.t, "copied")
	return b.world.Each(ctx, p, func(l event.Letter) error {
		if b.left--; b.left < 0 {
			b.left = rapid.IntRange(0, 2*len(b.letters)).Draw(b.t, "left")
			return &event.Error{Kind: event.Unavailable, Op: "read"}
		}
		return yield(l)
	})
}

// Whatever breaks while letters are read, each comes once.
func TestEachOnceWhateverBreaks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, calm: true}
		var all []string
		for i := range rapid.IntRange(0, 10).Draw(t, "letters") {
			number := event.Seq(i%4 + 1) // of streams that were made anew
			w.letters = append(w.letters, event.Letter{Number: number, Made: event.RawPlace{Sequence: event.StreamSeq(i + 1)}})
			all = append(all, fmt.Sprint(i+1))
		}
		limit := rapid.IntRange(0, 10).Draw(t, "limit")
		if limit > 0 {
			all = all[:min(limit, len(all))]
		}
		p := &Provider{Name: cloud, Streams: &breaking{world: w}, Again: func(context.Context, error) error { return nil }}
		if err := p.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []string
		err := p.Each(t.Context(), &Filter{Limit: uint64(limit)}, func(l *event.Letter, _ string) error {
			got = append(got, fmt.Sprint(l.Made.Sequence))
			return nil
		})
		if err != nil || !slices.Equal(got, all) {
			t.Errorf("got %v, %v, want %v", got, err, all)
		}
	})
}
