package standins

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// jiraChangelog are issues with what was changed in them: each has a list of changes, newest first, and each change a list of fields.
// Issues are searched by when they were changed last, in whole minutes; nextPageToken is not there on the last page.
//
// https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search/#api-rest-api-3-search-jql-get
func jiraChangelog() *Service {
	const layout = "2006-01-02T15:04:05.000-0700"
	const issues = 4
	store := &Store{Most: 2, Step: time.Millisecond, Make: func(e Entry) (string, any) {
		id := strconv.Itoa(10_000 + e.N)
		item := M{"field": "status", "fieldtype": "jira", "fieldId": "status", "from": "3", "fromString": "In Progress", "to": "10001",
			"toString": "Done"}
		items := []M{item}
		if e.N%3 == 1 {
			items = append(items, M{"field": "summary", "fieldtype": "jira", "fieldId": "summary", "from": nil, "fromString": "alt",
				"to": nil, "toString": "neu – \"größer\""})
		}
		body := M{"id": id, "created": e.At.Format(layout), "items": items,
			"author": M{"accountId": "5b10a2844c20165700ede21g", "displayName": "Mia Krystof", "emailAddress": "mia@example.com",
				"active": true}}
		if e.N%4 == 2 { // done by the system
			delete(body, "author")
		}
		return id, body
	}}
	search := regexp.MustCompile(`^updated >= "(\d{4}/\d{2}/\d{2} \d{2}:\d{2})" ORDER BY updated ASC$`)
	return &Service{
		Name: "jira-changelog", Host: "https://my-organization.atlassian.net", Secrets: map[string]string{"jira.token": "ATATT3test"},
		Late: 2 * time.Minute, Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			user, token, _ := r.BasicAuth()
			switch {
			case user != "stackstream@example.org" || token != "ATATT3test":
				answer(w, http.StatusUnauthorized, M{"errorMessages": []string{"Client must be authenticated to access this resource."},
					"errors": M{}})
				return
			case r.URL.Path != "/rest/api/3/search/jql":
				answer(w, http.StatusNotFound, M{"errorMessages": []string{"Not found"}, "errors": M{}})
				return
			}
			size, ok := number(query, "maxResults", 50, 1, 5000)
			found := search.FindStringSubmatch(query.Get("jql"))
			wrong := known(query, "jql", "nextPageToken", "maxResults", "fields", "expand", "properties")
			if wrong != "" || !ok || found == nil || query.Get("expand") != "changelog" {
				answer(w, http.StatusBadRequest, M{"errorMessages": []string{"Error in the JQL Query " + wrong}, "errors": M{}})
				return
			}
			since, _ := time.Parse("2006/01/02 15:04", found[1])
			type issue struct {
				number  int
				updated time.Time
				changes []Entry
			}
			var all []issue
			for n := range issues {
				i := issue{number: n + 1, changes: keep(store.newest(), func(e Entry) bool { return e.N%issues == n })}
				if len(i.changes) > 0 && !i.changes[0].At.Before(since) {
					i.updated = i.changes[0].At
					all = append(all, i)
				}
			}
			slices.SortFunc(all, func(a, b issue) int { return a.updated.Compare(b.updated) })
			// The token says behind which issue the next page begins; one that was changed meanwhile is found again behind it.
			if token := query.Get("nextPageToken"); token != "" {
				behind, err := strconv.ParseInt(token, 10, 64)
				if err != nil {
					answer(w, http.StatusBadRequest, M{"errorMessages": []string{"nextPageToken"}, "errors": M{}})
					return
				}
				all = slices.DeleteFunc(all, func(i issue) bool { return i.updated.UnixMilli() <= behind })
			}
			list := []any{}
			body := M{"isLast": true}
			for _, i := range all {
				if len(list) == min(size, store.Most) {
					body["isLast"] = false
					break
				}
				key := fmt.Sprintf("ED-%d", i.number)
				list = append(list, M{"id": strconv.Itoa(10_000 + i.number), "key": key,
					"self":      "https://my-organization.atlassian.net/rest/api/3/issue/" + key,
					"fields":    M{"updated": i.updated.Format(layout)},
					"changelog": M{"startAt": 0, "maxResults": len(i.changes), "total": len(i.changes), "histories": bodies(i.changes)}})
				body["nextPageToken"] = strconv.FormatInt(i.updated.UnixMilli(), 10)
			}
			if body["isLast"] == true {
				delete(body, "nextPageToken")
			}
			body["issues"] = list
			answer(w, http.StatusOK, body)
		}),
	}
}
