package standins

import (
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// awx is the activity stream of AWX: pages by number, with the path of the next one in the answer.
//
// https://docs.ansible.com/projects/awx/en/latest/rest_api/, and the API's own description at /api/v2/activity_stream/
func awx() *Service {
	store := &Store{Most: 5, Step: time.Microsecond, Make: func(e Entry) (string, any) {
		body := M{
			"id": e.N, "type": "activity_stream", "url": "/api/v2/activity_stream/" + strconv.Itoa(e.N) + "/",
			"related": M{"actor": "/api/v2/users/1/", "job_template": []string{"/api/v2/job_templates/7/"}},
			"summary_fields": M{"job_template": []M{{"id": 7, "name": "Demo Job Template"}}, "actor": M{"id": 1, "username": "admin",
				"first_name": "", "last_name": ""}},
			"timestamp": e.At.Format("2006-01-02T15:04:05.000000Z"), "operation": "update", "object1": "job_template", "object2": "",
			"changes": M{"name": []string{"Demo", "Demo – größer"}}, "object_association": "", "object_type": "", "action_node": "awx-1",
		}
		switch e.N % 3 {
		case 1:
			body["operation"], body["object1"], body["object2"], body["object_association"] = "associate", "user", "team", "member_role"
		case 2: // done by the system itself
			body["operation"], body["object1"], body["changes"] = "create", "job", M{"id": e.N}
			body["summary_fields"], body["related"] = M{"job": []M{}}, M{}
		}
		return strconv.Itoa(e.N), body
	}}
	return &Service{
		Name: "awx", Host: "https://awx.example.org", Secrets: map[string]string{"awx.token": "Hy0test"}, Late: 20 * time.Second,
		Ascending: true, Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			switch {
			case r.URL.Path != "/api/v2/activity_stream/":
				answer(w, http.StatusNotFound, M{"detail": "The requested resource could not be found."})
				return
			case r.Header.Get("Authorization") != "Bearer Hy0test":
				w.Header().Set("WWW-Authenticate", `Bearer realm=api authorization_url=/api/o/authorize/`)
				answer(w, http.StatusUnauthorized,
					M{"detail": "Authentication credentials were not provided. To establish a login session, visit /api/login/."})
				return
			}
			// More than MAX_PAGE_SIZE (200) is not refused, only not given.
			size, ok := number(query, "page_size", 25, 1, 1<<30)
			page, okPage := number(query, "page", 1, 1, 1<<30)
			from, okFrom := moment(query, "timestamp__gte", time.RFC3339)
			wrong := known(query, "page_size", "page", "order_by", "timestamp__gte")
			order := query.Get("order_by")
			if wrong != "" || !ok || !okPage || !okFrom || order != "" && order != "timestamp,id" {
				answer(w, http.StatusBadRequest, M{"detail": "Invalid lookup: " + wrong})
				return
			}
			all := store.newest()
			if order != "" {
				all = store.shown()
			}
			all = keep(all, func(e Entry) bool { return within(e.At, from, time.Time{}) })
			size = min(size, 200, store.Most)
			records, more := cut(all, (page-1)*size, size)
			if page > 1 && len(records) == 0 {
				answer(w, http.StatusNotFound, M{"detail": "Invalid page."})
				return
			}
			link := func(there bool, n int) any {
				if !there {
					return nil
				}
				next := url.URL{Path: r.URL.Path, RawQuery: with(query, "page", strconv.Itoa(n)).Encode()}
				return next.String()
			}
			answer(w, http.StatusOK, M{"count": len(all), "next": link(more, page+1), "previous": link(page > 1, page-1),
				"results": bodies(records)})
		}),
	}
}
