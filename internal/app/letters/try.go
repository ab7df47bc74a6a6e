package letters

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"stackstream/event"
	"stackstream/normalizer"
)

// Trial is what the converters in this process make of letters.
type Trial struct {
	Converted int
	// Refused are the letters that would be dead again, by why, the most frequent first.
	Refused []Refusal
	// Lost are those whose body is gone.
	Lost int
}

// Refusal is why letters would be dead again.
type Refusal struct {
	Reason event.Reason `json:"reason"`
	// Detail is the first line of the error of the first one, First its number.
	Detail  string    `json:"detail"`
	First   event.Seq `json:"first"`
	Letters int       `json:"letters"`
}

// maxRefusals bounds how many kinds of refusals are kept: details may have in them what differs from letter to letter.
const maxRefusals = 1000

// Try has letters converted in this process. Nothing is written.
func (p *Provider) Try(
	ctx context.Context, places []Place, converters map[string]normalizer.Converter, told func(dealt int),
) (Trial, error) {
	var trial Trial
	refused := map[Refusal]*Refusal{}
	dealt := 0
	err := p.Whole(ctx, places, func(chunk []Whole) error {
		for i := range chunk {
			l := &chunk[i]
			if l.Lost != nil {
				trial.Lost++
				continue
			}
			raw := event.StoredRaw{
				Raw: l.Again(false, "", "", l.Body), Provider: p.Name, Source: event.SourceRedrive,
				Seq: 1, Sequence: 1, StoredAt: l.StoredAt,
			}
			o := normalizer.Convert(converters, raw, l.Body)
			if o.Dead == nil {
				trial.Converted++
				continue
			}
			first, _, _ := strings.Cut(o.Dead.Detail, "\n")
			key := Refusal{Reason: o.Dead.Reason, Detail: first}
			if refused[key] == nil && len(refused) >= maxRefusals {
				key.Detail = "and others"
			}
			if refused[key] == nil {
				refused[key] = &Refusal{Reason: key.Reason, Detail: key.Detail, First: l.Number}
			}
			refused[key].Letters++
		}
		dealt += len(chunk)
		told(dealt)
		return nil
	})
	for _, r := range refused {
		trial.Refused = append(trial.Refused, *r)
	}
	slices.SortFunc(trial.Refused, func(a, b Refusal) int { return cmp.Or(b.Letters-a.Letters, cmp.Compare(a.First, b.First)) })
	return trial, err
}
