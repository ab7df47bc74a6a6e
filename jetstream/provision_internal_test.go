package jetstream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAskRepeatsWhatNobodyAnswers(t *testing.T) {
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		lost   int   // how many requests get no answer
		answer error // of the next one
		want   error
		asked  int
	}{
		"an answer":             {0, nil, nil, 1},
		"two requests are lost": {2, nil, nil, 3},
		"an error is an answer": {0, refused, refused, 1},
		"nobody answers":        {1000, nil, context.DeadlineExceeded, 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 6*readTimeout)
				defer cancel()
				began, asked := time.Now(), 0
				got, err := ask(ctx, func(ctx context.Context) (int, error) {
					if asked++; asked <= c.lost {
						<-ctx.Done()
						return 0, ctx.Err()
					}
					return 7, c.answer
				})
				if !errors.Is(err, c.want) || err == nil && got != 7 {
					t.Errorf("got %d, %v, want %v", got, err, c.want)
				}
				if asked != c.asked {
					t.Errorf("asked %d times, want %d", asked, c.asked)
				}
				if took := time.Since(began); took > 6*readTimeout {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}
