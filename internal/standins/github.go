package standins

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// githubLimits are the headers that say how much may still be asked, and the check of who asks.
func githubAllowed(w http.ResponseWriter, r *http.Request, token string, limit int) bool {
	w.Header().Set("X-RateLimit-Limit", strconv.Itoa(limit))
	w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(limit-1))
	w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10))
	if r.Header.Get("Authorization") != "Bearer "+token {
		answer(w, http.StatusUnauthorized, M{"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest",
			"status": "401"})
		return false
	}
	if version := r.Header.Get("X-GitHub-Api-Version"); version != "" && version != "2022-11-28" {
		answer(w, http.StatusBadRequest, M{"message": "Unsupported API version"})
		return false
	}
	return true
}

// githubAudit is the audit log of an organization.
//
// https://docs.github.com/enterprise-cloud@latest/rest/orgs/orgs#get-the-audit-log-for-an-organization
func githubAudit() *Service {
	store := &Store{Most: 5, Step: time.Millisecond, Make: func(e Entry) (string, any) {
		id := fmt.Sprintf("%022d_-A", e.N)
		at := e.At.UnixMilli()
		switch e.N % 4 {
		case 0: // a Git event has no created_at
			return id, M{"@timestamp": at, "_document_id": id, "action": "git.clone", "actor": "octo-bot[bot]", "org": "my-organization",
				"repo": "my-organization/hello-world", "repository_public": false, "transport_protocol_name": "ssh"}
		case 1:
			return id, M{"@timestamp": at, "_document_id": id, "action": "team.add_member", "actor": "octocat", "created_at": at,
				"org": "my-organization", "team": "my-organization/größe", "user": "monalisa"}
		case 2: // done by nobody who is still known
			return id, M{"@timestamp": at, "_document_id": id, "action": "repo.create", "actor": nil, "created_at": at,
				"org":  "my-organization",
				"repo": "my-organization/oatmeal", "visibility": "private"}
		default:
			return id, M{"@timestamp": at, "_document_id": id, "action": "billing.change_email", "actor": "octocat", "created_at": at,
				"org": "my-organization"}
		}
	}}
	return &Service{
		Name: "github-audit", Host: "https://api.github.com", Secrets: map[string]string{"github.token": "ghp_test"}, Late: 5 * time.Minute,
		Ascending: true, Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/orgs/my-organization/audit-log" {
				answer(w, http.StatusNotFound, M{"message": "Not Found"})
				return
			}
			if !githubAllowed(w, r, "ghp_test", 1750) {
				return
			}
			query := r.URL.Query()
			size, ok := number(query, "per_page", 30, 1, 100)
			since, err := time.Parse("2006-01-02T15:04:05Z", strings.TrimPrefix(query.Get("phrase"), "created:>="))
			wrong := known(query, "phrase", "include", "after", "before", "order", "per_page")
			if wrong != "" || !ok || query.Get("phrase") != "" && err != nil {
				answer(w, http.StatusUnprocessableEntity, M{"message": "Validation Failed " + wrong})
				return
			}
			all := store.newest()
			if query.Get("order") == "asc" {
				all = store.shown()
			}
			all = keep(all, func(e Entry) bool {
				return within(e.At, since, time.Time{}) && (query.Get("include") == "all" || e.N%4 != 0)
			})
			start := 0
			for i, e := range all {
				if e.ID == query.Get("after") {
					start = i + 1
				}
			}
			page, more := cut(all, start, min(size, store.Most))
			if more {
				first, next := self(r, with(query, "after", "")), self(r, with(query, "after", page[len(page)-1].ID))
				w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next", <%s>; rel="first"`, next, first))
			}
			answer(w, http.StatusOK, bodies(page))
		}),
	}
}

// githubEvents is what happened in repositories: newest first, at most 300, and nothing where the ETag is that of before.
//
// https://docs.github.com/rest/activity/events#list-repository-events
func githubEvents() *Service {
	const most = 300
	store := &Store{Most: 4, Step: time.Second, Parts: []string{"octocat/hello-world", "octocat/spoon-knife"},
		Make: func(e Entry) (string, any) {
			id := strconv.Itoa(22249084900 + e.N)
			body := M{
				"id": id, "type": pick(e.N/2, "PushEvent", "WatchEvent", "IssuesEvent"), "public": true,
				"created_at": e.At.Format(time.RFC3339),
				"actor": M{"id": 583231, "login": "octocat", "display_login": "octocat", "gravatar_id": "",
					"url": "https://api.github.com/users/octocat"},
				"repo": M{"id": 1300192, "name": e.Part, "url": "https://api.github.com/repos/" + e.Part},
				"payload": pick(e.N/2, M{"push_id": 10115855396, "ref": "refs/heads/master",
					"head": "7a8f3ac80e2ad2f6842cb86f576d4bfe2c03e300"},
					M{"action": "started"}, M{"action": "opened", "issue": M{"number": e.N, "title": "naïve \"quotes\" 🐙"}}),
			}
			if e.N%3 == 0 { // events in an organization's repository have it
				body["org"] = M{"id": 9919, "login": "github"}
			}
			return id, body
		}}
	return &Service{
		Name: "github-events", Host: "https://api.github.com", Secrets: map[string]string{"github.token": "ghp_test"},
		Late:  10 * time.Minute,
		Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !githubAllowed(w, r, "ghp_test", 5000) {
				return
			}
			repo := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/repos/"), "/events")
			query := r.URL.Query()
			size, ok := number(query, "per_page", 30, 1, 100)
			number, fine := number(query, "page", 1, 1, 1000)
			if wrong := known(query, "per_page", "page"); wrong != "" || !ok || !fine {
				answer(w, http.StatusUnprocessableEntity, M{"message": "Validation Failed " + wrong})
				return
			}
			all := keep(store.newest(), func(e Entry) bool { return e.Part == repo })
			if len(all) == 0 {
				answer(w, http.StatusNotFound, M{"message": "Not Found"})
				return
			}
			size = min(size, store.Most)
			page, more := cut(all[:min(len(all), most)], (number-1)*size, size)
			if more {
				w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, self(r, with(query, "page", strconv.Itoa(number+1)))))
			}
			sum := fnv.New64a()
			for _, e := range page {
				_, _ = fmt.Fprintln(sum, e.ID)
			}
			etag := fmt.Sprintf(`W/"%x"`, sum.Sum64())
			w.Header().Set("ETag", etag)
			w.Header().Set("X-Poll-Interval", "60")
			if r.Header.Get("If-None-Match") == etag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			answer(w, http.StatusOK, bodies(page))
		}),
	}
}
