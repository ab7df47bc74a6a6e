package httppoll

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A service that wants two keys gets both, each where it wants it.
func TestASecondKey(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		cfg := configured("http://service", s)
		cfg.Auth.APIKey = &APIKey{In: "header", Name: "X-Api-Key", Key: "one", Also: &SecondKey{In: "query", Name: "app", Prefix: "k-", Key: "two"}}
		src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Api-Key") != "one" || r.URL.Query().Get("app") != "k-two" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			s.ServeHTTP(w, r)
		})), newSink(t)
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Error(err)
		}
	})
	cfg := configured("http://service", newService())
	cfg.Auth.APIKey = &APIKey{In: "header", Name: "X-Key", Key: "one", Also: &SecondKey{In: "header", Name: "x-key"}}
	found := fmt.Sprint(cfg.Validate())
	for _, want := range []string{"auth.api_key.also.key_file: is missing (or set key)", "auth.api_key.also.name: is that of the first key"} {
		if !strings.Contains(found, want) {
			t.Errorf("found %s, want %s", found, want)
		}
	}
}
