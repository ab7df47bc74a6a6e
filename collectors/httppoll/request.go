package httppoll

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"stackstream/internal/expr"
)

// write writes a request of texts. An address that is given in place of the URL is asked as it is, without the query.
func (t texts) write(ctx context.Context, method, address string, vars expr.Vars) (*http.Request, error) {
	given := address != ""
	if !given {
		text, err := t.url.text(vars)
		if err != nil {
			return nil, badRequest(t.field+".url", err)
		}
		address = text
	}
	body, err := t.body.text(vars)
	if err != nil {
		return nil, badRequest(t.field+".body", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return nil, badRequest(t.field+".url", errors.New("is not a URL"))
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, text := range t.headers {
		v, err := text.text(vars)
		if err != nil {
			return nil, badRequest(t.field+".headers."+name, err)
		}
		req.Header.Set(name, v)
	}
	if given || len(t.query) == 0 {
		return req, nil
	}
	query := req.URL.Query()
	for name, texts := range t.query {
		query.Del(name)
		for _, text := range texts {
			v, err := text.text(vars)
			if err != nil {
				return nil, badRequest(t.field+".query."+name, err)
			}
			query.Add(name, v)
		}
	}
	req.URL.RawQuery = query.Encode()
	return req, nil
}
