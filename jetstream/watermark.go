package jetstream

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"stackstream/event"
)

// Watermarks returns where every source of a provider stands, or of all providers if p is "", in order of provider and
// source. It reads the cursors and changes nothing; each pair of cursors is read one after the other, the normalizer's
// first, so that the lag is never shown too small.
func (c *Client) Watermarks(ctx context.Context, p event.Provider) ([]event.Watermark, error) {
	raw, normalized := c.Raw(), c.Normalized()
	filter := "events.cursor.raw.*.*"
	if p != "" {
		filter = event.RawCursorSubjects(p)
	}
	subjects, err := c.subjects(ctx, event.StreamRaw, filter)
	if err != nil {
		return nil, err
	}
	cursors := map[event.Provider]event.NormalizedCursor{}
	marks := make([]event.Watermark, 0, len(subjects))
	for _, subject := range subjects {
		provider, source, ok := event.SubjectProvider(subject)
		if !ok || source == "" {
			return nil, invalid("read watermarks", fmt.Errorf("%s is not the subject of a cursor", subject))
		}
		done, known := cursors[provider]
		if !known {
			if done, err = normalized.readNormalizedCursor(ctx, provider); err != nil {
				return nil, err
			}
			cursors[provider] = done
		}
		collected, err := raw.readRawCursor(ctx, provider, source)
		if err != nil {
			return nil, err
		}
		marks = append(marks, event.NewWatermark(provider, source, collected, done.Sources[source]))
	}
	slices.SortFunc(marks, func(a, b event.Watermark) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Source, b.Source))
	})
	return marks, nil
}

// NormalizedCursor returns the normalizer's cursor of a provider, the zero NormalizedCursor if it has none.
func (c *Client) NormalizedCursor(ctx context.Context, p event.Provider) (event.NormalizedCursor, error) {
	return c.Normalized().readNormalizedCursor(ctx, p)
}

// readNormalizedCursor returns the normalizer's cursor of a provider, the zero NormalizedCursor if it has none.
func (l *Log) readNormalizedCursor(ctx context.Context, p event.Provider) (event.NormalizedCursor, error) {
	var cursor event.NormalizedCursor
	m, ok, err := l.ReadCursor(ctx, event.NormalizedCursorSubject(p), 0)
	if err != nil || !ok {
		return cursor, err
	}
	if err := event.DecodeRecord(m, &cursor); err != nil {
		return cursor, err
	}
	cursor.Sequence = m.Sequence
	return cursor, nil
}
