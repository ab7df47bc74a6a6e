package standins

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// novaActions are what was done to the servers of an OpenStack cloud: servers are listed, each has a list of actions, newest first,
// and an action shows its steps when it is asked for alone. Keystone tells who one is.
//
// https://docs.openstack.org/api-ref/compute/#servers-actions-servers-os-instance-actions,
// https://docs.openstack.org/api-ref/identity/v3/#password-authentication-with-scoped-authorization
func novaActions() *Service {
	const layout, life = "2006-01-02T15:04:05.000000", 50 * time.Minute
	servers := []string{"b48316c5-71e8-45e4-9884-6c78055b9b13", "4a1ad3bb-0f8e-4b2f-9f0a-c0b6e1b4a6d2",
		"0c1b2a3f-95f5-4e5e-8c5e-2f6f5ab1f9e0"}
	requestID := func(e Entry) string { return fmt.Sprintf("req-%s", uuid(e.N)) }
	store := &Store{Most: 3, Step: time.Microsecond, Parts: servers, Make: func(e Entry) (string, any) {
		body := M{
			"action": pick(e.N/3, "create", "reboot", "stop"), "instance_uuid": e.Part, "request_id": requestID(e), "user_id": "fake",
			"message":    nil,
			"project_id": "6f70656e737461636b20342065766572", "start_time": e.At.Add(-3 * time.Second).Format(layout),
			"updated_at": e.At.Format(layout),
		}
		if e.N%5 == 0 {
			body["message"], body["user_id"] = "Error: größer als erlaubt", nil
		}
		return requestID(e) + "/" + e.At.Format(layout), body
	}}
	fault := func(w http.ResponseWriter, status int, name, text string) {
		answer(w, status, M{name: M{"code": status, "message": text}})
	}
	token := func(until time.Time) string { return "gAAAAA" + until.UTC().Format("20060102150405") }
	return &Service{
		Name: "nova-instance-actions", Host: "https://nova.example.org:8774", Secrets: map[string]string{"nova.password": "s3cr3t"},
		Late:  time.Minute,
		Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query, now := r.URL.Query(), time.Now()
			if r.URL.Path == "/v3/auth/tokens" && r.Method == http.MethodPost {
				var ask struct {
					Auth struct {
						Identity struct {
							Methods  []string
							Password struct {
								User struct{ Name, Password string }
							}
						}
					}
				}
				err := json.NewDecoder(r.Body).Decode(&ask)
				if user := ask.Auth.Identity.Password.User; err != nil || user.Name != "stackstream" || user.Password != "s3cr3t" {
					answer(w, http.StatusUnauthorized, M{"error": M{"code": 401, "title": "Unauthorized",
						"message": "The request you have made requires authentication."}})
					return
				}
				until := now.Add(life)
				w.Header().Set("X-Subject-Token", token(until))
				answer(w, http.StatusCreated, M{"token": M{"methods": []string{"password"}, "issued_at": now.UTC().Format(layout + "Z"),
					"expires_at": until.UTC().Format(layout + "Z"), "catalog": []any{},
					"user": M{"id": "423f19a4ac1e4f48bbb4180756e6eb6c", "name": "stackstream"}}})
				return
			}
			until, err := time.Parse("20060102150405", strings.TrimPrefix(r.Header.Get("X-Auth-Token"), "gAAAAA"))
			if err != nil || !now.Before(until) {
				w.Header().Set("WWW-Authenticate", `Keystone uri="https://keystone.example.org:5000"`)
				fault(w, http.StatusUnauthorized, "unauthorized", "Authentication required")
				return
			}
			w.Header().Set("OpenStack-API-Version", r.Header.Get("OpenStack-API-Version"))
			if r.Header.Get("OpenStack-API-Version") != "compute 2.66" { // from 2.58 on changes-since, from 2.66 on changes-before
				fault(w, http.StatusBadRequest, "badRequest", "changes-since")
				return
			}
			path := strings.Split(strings.TrimPrefix(r.URL.Path, "/v2.1/"), "/")
			limit, ok := number(query, "limit", 1000, 1, 1000)
			marker := query.Get("marker")
			switch {
			case !ok:
				fault(w, http.StatusBadRequest, "badRequest", "Invalid input for query parameters limit")
			case len(path) == 1 && path[0] == "servers":
				if wrong := known(query, "all_tenants", "limit", "marker", "changes-since", "deleted"); wrong != "" {
					fault(w, http.StatusBadRequest, "badRequest", wrong)
					return
				}
				start := 0
				for i, id := range servers {
					if id == marker {
						start = i + 1
					}
				}
				end := min(start+min(limit, 2), len(servers))
				list := []M{}
				for _, id := range servers[start:end] {
					list = append(list, M{"id": id, "name": "vm-" + id[:4], "links": []M{{"rel": "self", "href": self(r, nil) + id}}})
				}
				body := M{"servers": list}
				if end < len(servers) {
					body["servers_links"] = []M{{"rel": "next", "href": self(r, with(query, "marker", servers[end-1]))}}
				}
				answer(w, http.StatusOK, body)
			case len(path) >= 3 && path[0] == "servers" && path[2] == "os-instance-actions":
				all := keep(store.newest(), func(e Entry) bool { return e.Part == path[1] })
				if len(path) == 4 {
					for _, e := range all {
						if requestID(e) != path[3] {
							continue
						}
						detail := M{"events": []M{{"event": "compute__do_" + e.Body.(M)["action"].(string),
							"start_time":  e.At.Add(-2 * time.Second).Format(layout),
							"finish_time": e.At.Format(layout), "result": "Success", "traceback": nil,
							"hostId": "2091634baaccdc4c5a1d57069c833e402921df696b7f970791b12ec6"}}}
						for name, value := range e.Body.(M) {
							detail[name] = value
						}
						answer(w, http.StatusOK, M{"instanceAction": detail})
						return
					}
					fault(w, http.StatusNotFound, "itemNotFound", "Action "+path[3]+" not found")
					return
				}
				since, okSince := moment(query, "changes-since", time.RFC3339)
				before, okBefore := moment(query, "changes-before", time.RFC3339)
				if wrong := known(query, "limit", "marker", "changes-since", "changes-before"); wrong != "" || !okSince || !okBefore {
					fault(w, http.StatusBadRequest, "badRequest", wrong)
					return
				}
				all = keep(all, func(e Entry) bool { return within(e.At, since, before) })
				start := 0
				if marker != "" {
					start = -1
					for i, e := range all {
						if requestID(e) == marker {
							start = i + 1
						}
					}
				}
				if start < 0 {
					fault(w, http.StatusBadRequest, "badRequest", "marker ["+marker+"] not found")
					return
				}
				page, more := cut(all, start, min(limit, store.Most))
				body := M{"instanceActions": bodies(page)}
				if more {
					body["links"] = []M{{"rel": "next", "href": self(r, with(query, "marker", requestID(page[len(page)-1])))}}
				}
				answer(w, http.StatusOK, body)
			default:
				fault(w, http.StatusNotFound, "itemNotFound", "The resource could not be found.")
			}
		}),
	}
}
