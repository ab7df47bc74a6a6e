package event_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"stackstream/event"
)

func TestKinds(t *testing.T) {
	full := &event.Error{Kind: event.Full, Op: "append to EVENTS_RAW", Err: io.ErrShortWrite}
	tests := []struct {
		name string
		err  error
		want event.Kind
	}{
		{"none", nil, 0},
		{"another error", io.EOF, 0},
		{"a context's", context.Canceled, 0},
		{"the kind itself", event.Fenced, event.Fenced},
		{"an Error", full, event.Full},
		{"wrapped", fmt.Errorf("commit: %w", full), event.Full},
		{"joined", errors.Join(io.EOF, full), event.Full},
		{"without a cause", &event.Error{Kind: event.Expired, Op: "open"}, event.Expired},
		{"the outer of two", &event.Error{Kind: event.Invalid, Err: full}, event.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := event.KindOf(tt.err); got != tt.want {
				t.Errorf("kind %v, want %v", got, tt.want)
			}
			if tt.want != 0 && !errors.Is(tt.err, tt.want) {
				t.Errorf("errors.Is does not find %v", tt.want)
			}
			if errors.Is(tt.err, event.Regressed) {
				t.Error("errors.Is finds a kind that is not there")
			}
		})
	}
	wrapped := fmt.Errorf("commit: %w", full)
	var found *event.Error
	if !errors.Is(wrapped, io.ErrShortWrite) || !errors.As(wrapped, &found) || found != full {
		t.Errorf("the cause is not found in %v", wrapped)
	}
}

func TestErrorText(t *testing.T) {
	for want, err := range map[string]error{
		"append to X: full: EOF": &event.Error{Kind: event.Full, Op: "append to X", Err: io.EOF},
		"append to X: full":      &event.Error{Kind: event.Full, Op: "append to X"},
		"full: EOF":              &event.Error{Kind: event.Full, Err: io.EOF},
		"full":                   &event.Error{Kind: event.Full},
		"raw-regressed":          event.Regressed,
		"kind-99":                event.Kind(99),
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}

func TestKindNamesDiffer(t *testing.T) {
	seen := map[string]event.Kind{}
	for k := event.Fenced; k <= event.Expired; k++ {
		if other, ok := seen[k.String()]; ok || k.String() == fmt.Sprintf("kind-%d", k) {
			t.Errorf("kinds %d and %d are both %q", k, other, k)
		}
		seen[k.String()] = k
	}
}
