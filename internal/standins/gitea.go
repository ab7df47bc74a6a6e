package standins

import (
	"net/http"
	"strconv"
	"time"
)

// gitea is what happened in a repository: newest first, in numbered pages, from no time on; a date shows one day.
//
// https://docs.gitea.com/api/ (repoListActivityFeeds)
func gitea() *Service {
	berlin := time.FixedZone("CET", 3600)
	store := &Store{Most: 4, Step: time.Second, Make: func(e Entry) (string, any) {
		body := M{
			"id": e.N, "user_id": 1, "op_type": pick(e.N, "commit_repo", "create_issue", "delete_branch"), "act_user_id": 2,
			"act_user": M{"id": 2, "login": "anna", "full_name": "Änna", "email": "anna@noreply.example.org"},
			"repo_id":  12, "repo": M{"id": 12, "name": "my-repository", "full_name": "my-organization/my-repository", "private": true},
			"comment_id": 0, "comment": nil, "ref_name": "refs/heads/main", "is_private": true,
			"created": e.At.In(berlin).Format(time.RFC3339),
			"content": pick(e.N, `{"Commits":[{"Sha1":"7a8f3ac","Message":"first line\n"}],"Len":1}`, "17|title with | in it", ""),
		}
		return strconv.Itoa(e.N), body
	}}
	return &Service{
		Name: "gitea", Host: "https://gitea.example.org", Secrets: map[string]string{"gitea.token": "9f3test"}, Late: 30 * time.Second,
		Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			switch {
			case r.Header.Get("Authorization") != "token 9f3test":
				answer(w, http.StatusUnauthorized, M{"message": "user should be logged in", "url": "/api/swagger"})
				return
			case r.URL.Path != "/api/v1/repos/my-organization/my-repository/activities/feeds":
				answer(w, http.StatusNotFound, M{"message": "The target couldn't be found.", "url": "/api/swagger", "errors": []any{}})
				return
			}
			page, ok := number(query, "page", 1, 1, 1<<30)
			size, okSize := number(query, "limit", 30, 1, 1<<30) // more than 50 are not refused, only not given
			day, okDay := moment(query, "date", time.DateOnly)
			if wrong := known(query, "page", "limit", "date"); wrong != "" || !ok || !okSize || !okDay {
				answer(w, http.StatusUnprocessableEntity, M{"message": wrong, "url": "/api/swagger"})
				return
			}
			all := keep(store.newest(),
				func(e Entry) bool { return day.IsZero() || e.At.Format(time.DateOnly) == day.Format(time.DateOnly) })
			size = min(size, 50, store.Most)
			records, _ := cut(all, (page-1)*size, size)
			w.Header().Set("X-Total-Count", strconv.Itoa(len(all)))
			answer(w, http.StatusOK, bodies(records))
		}),
	}
}
