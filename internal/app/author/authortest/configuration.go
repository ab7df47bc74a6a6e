package authortest

import (
	"fmt"
	"os"
	"path/filepath"
)

// Configuration writes one for the service at an address into a directory, with the files of its secrets, and returns where
// it is. Offline the files of the secrets need not be there.
func (s *Service) Configuration(dir, address string) (string, error) {
	for name, text := range map[string]string{"password": Password, "key": Key, "token": Token} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			return "", err
		}
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	auth := map[string]string{
		"none":   "{}",
		"bearer": "{bearer: {token_file: " + file("token") + "}}",
		"basic":  "{basic: {user: ann, password_file: " + file("password") + "}}",
		"header": "{api_key: {in: header, name: X-Key, prefix: 'key=', key_file: " + file("key") + "}}",
		"query":  "{api_key: {in: query, name: k, key_file: " + file("key") + "}}",
		"oauth2": "{oauth2: {token_url: " + address + "/token, client_id: stackstream, client_secret_file: " + file("password") + "}}",
		"session": "{session: {url: " + address + "/login, user: ann, password_file: " + file("password") +
			", json: {user: '{{user}}', pass: '{{password}}'}, token: body.session.sid, send: {name: X-Session, prefix: 'sid='}}}",
		"session-query": "{session: {url: " + address + "/login, user: ann, password_file: " + file("password") +
			", form: {user: '{{user}}', pass: '{{password}}'}, token: body.session.sid, send: {in: query, name: s}}}",
		"session-cookie": "{session: {url: " + address + "/login, user: ann, password_file: " + file("password") +
			", form: {user: '{{user}}', pass: '{{password}}'}, cookie: sid}}",
		"keystone": "{keystone: {url: " + address + "/v3, user: ann, domain: Default, password_file: " + file("password") +
			", project: p, project_domain: Default}}",
	}
	paging := map[string]string{
		"none":        "{}",
		"page":        "{type: page, send: {name: page}}",
		"offset":      "{type: offset, send: {name: token}}",
		"token":       "{type: token, send: {name: token}, from: body.?token}",
		"next_url":    "{type: next_url, from: body.?next}",
		"link_header": "{type: link_header}",
		"marker":      "{type: marker, send: {name: after}, from: last.id}",
	}
	order, until := "ascending", ""
	if s.Descending {
		order, until = "descending", ", until: time_to"
	}
	query, more := "", ""
	if s.Details {
		more += "      detail: {url: " + address + "/v1/detail, query: {id: '{{rec.id}}'}, as: more}\n"
	}
	if len(s.Regions) > 0 {
		query = ", region: '{{partition.region}}'"
		more += "      partitions: {request: {url: " + address + "/v1/regions}, path: regions, value: rec, as: region, concurrency: 2}\n"
	}
	text := fmt.Sprintf(`providers:
  my-service:
    http:
      schedule: {every: 20ms, jitter: 0s}
      request:
        url: %s/v1/events
        query: {limit: "%d"%s}
      auth: %s
      records: {path: events}
      cursor: {type: time, field: created, order: %s, overlap: 1m, send: {name: time_from%s}}
      pagination: %s
      event: {id: rec.id, type: rec.kind, context: {user_name: rec.by.user}, targets: {server: rec.server}}
%s`, address, s.Size, query, auth[s.Auth], order, until, paging[s.Paging], more)
	path := filepath.Join(dir, "my-service.yaml")
	return path, os.WriteFile(path, []byte(text), 0o600)
}
