package httppoll

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"stackstream/event"
	"stackstream/internal/records"
)

// batches is a service whose records are lists with much around them.
type batches struct {
	n      int // batches
	around int // bytes of each beside its records
	items  int
}

func (b batches) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at, limit := 0, b.n
	_, _ = fmt.Sscan(r.URL.Query().Get("at"), &at)
	_, _ = fmt.Sscan(r.URL.Query().Get("limit"), &limit)
	page := []any{}
	for i := at; i < min(at+limit, b.n); i++ {
		var items []any
		for j := range b.items {
			items = append(items, map[string]any{"id": fmt.Sprint(i, "-", j), "at": "2026-01-02T03:04:05Z", "type": "x"})
		}
		page = append(page, map[string]any{"blob": strings.Repeat("a", b.around), "items": items})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"events": page})
}

func batched(t *testing.T, b batches, most int64) (*Source, *sink) {
	t.Helper()
	s := newService()
	s.paging = PageOffset
	cfg := configured("http://service", s)
	cfg.Records.Expand, cfg.Records.Parent = []string{"items"}, "of"
	cfg.Pagination.Size, cfg.Pagination.SendSize = 40, "limit"
	src := local(t, cfg, b)
	src.decoder.Bound.Bytes = most
	return src, newSink(t)
}

// A page that would become more than it may is asked for in smaller ones, and nothing of it is missing.
func TestPagesThatGrow(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		src, out := batched(t, batches{n: 40, around: 1000, items: 10}, 150<<10)
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil || len(out.ids) != 400 || out.repeats > 0 {
			t.Errorf("%d of 400 events came, and %d again (%v)", len(out.ids), out.repeats, err)
		}
	})
}

// Where that does not help it is an error that says what grows, and what to do: nothing is passed over.
func TestAnswersThatGrow(t *testing.T) {
	grows := batches{n: 1, around: 100_000, items: 500}
	bubble(t, "parent", func(t *testing.T) {
		src, out := batched(t, batches{n: 0}, 8<<20)
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		src.client.Transport = direct{grows}
		before, marks := string(out.from.Cursor), len(out.marks)
		err := src.fetch(t.Context(), out.from, out.emit)
		if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "records.expand and records.parent: each has the rest of its record") ||
			!strings.Contains(err.Error(), "request.max_body") {
			t.Errorf("the error is %v", err)
		}
		if len(out.ids) > 0 || string(out.from.Cursor) != before || len(out.marks) > marks {
			t.Errorf("%d events came, the cursor is %s", len(out.ids), out.from.Cursor)
		}
	})
	bubble(t, "many", func(t *testing.T) {
		src, out := batched(t, grows, 0)
		src.decoder.Parent, src.decoder.Bound = "", records.Bound{Records: 400}
		err := src.fetch(t.Context(), out.from, out.emit)
		if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "it has more than 400 records (with records.expand; ") || len(out.ids) > 0 {
			t.Errorf("the error is %v, and %d events came", err, len(out.ids))
		}
	})
}

// The bound is far above what answers of the length that is allowed become.
func TestBoundGoesWithMaxBody(t *testing.T) {
	for body, want := range map[int64]records.Bound{
		1 << 10: {Records: 1 << 20, Bytes: 256 << 20}, Default().Request.MaxBody: {Records: 1 << 20, Bytes: 256 << 20},
		1 << 30: {Records: 32 << 20, Bytes: 8 << 30},
	} {
		if got := (Request{MaxBody: body}).bound(); got.Records != want.Records || got.Bytes != want.Bytes {
			t.Errorf("with %d it is %+v, want %+v", body, got, want)
		}
	}
}
