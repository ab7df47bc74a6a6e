package standins

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"time"
)

// slackAudit are the audit logs of an Enterprise organization: newest first, behind a cursor that is empty in the end; oldest and
// latest are inclusive, in whole seconds.
//
// https://docs.slack.dev/reference/audit-logs-api/methods-actions-reference
func slackAudit() *Service {
	store := &Store{Most: 4, Step: time.Second, Make: func(e Entry) (string, any) {
		user := M{"type": "user", "user": M{"id": "W123AB456", "name": "Charlie Parker", "email": "bird@slack.com", "team": "T1234"}}
		body := M{
			"id": uuid(e.N), "date_create": e.At.Unix(), "action": "user_login", "actor": user, "entity": user,
			"context": M{"session_id": 847288190092, "location": M{"type": "enterprise", "id": "E1701NCCA", "name": "Birdland",
				"domain": "birdland"},
				"ua": "Mozilla/5.0", "ip_address": "1.23.45.678"},
		}
		switch e.N % 3 {
		case 1:
			body["action"] = "public_channel_created"
			body["entity"] = M{"type": "channel", "channel": M{"id": "C12345", "name": "général", "privacy": "public",
				"is_shared": false, "is_org_shared": false}}
		case 2: // done by an app, with details
			body["action"], body["details"] = "role_change_to_admin", M{"is_internal_integration": true, "reason": nil}
			body["entity"] = M{"type": "enterprise", "enterprise": M{"id": "E1701NCCA", "name": "Birdland", "domain": "birdland"}}
			delete(body["context"].(M), "session_id")
		}
		return uuid(e.N), body
	}}
	return &Service{
		Name: "slack-audit", Host: "https://api.slack.com", Secrets: map[string]string{"slack.token": "xoxp-test"},
		Late: 2 * time.Minute, Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			switch {
			case r.Header.Get("Authorization") != "Bearer xoxp-test":
				answer(w, http.StatusUnauthorized, M{"ok": false, "error": "invalid_authentication"})
				return
			case r.URL.Path != "/audit/v1/logs":
				answer(w, http.StatusNotFound, M{"ok": false, "error": "not_found"})
				return
			}
			limit, ok := number(query, "limit", 9999, 1, 9999)
			oldest, okOldest := seconds(query, "oldest")
			latest, okLatest := seconds(query, "latest")
			wrong := known(query, "limit", "oldest", "latest", "cursor", "action", "actor", "entity")
			if wrong != "" || !ok || !okOldest || !okLatest {
				answer(w, http.StatusBadRequest, M{"ok": false, "error": "invalid_arguments", "detail": wrong})
				return
			}
			start := 0
			if cursor := query.Get("cursor"); cursor != "" {
				text, wrong := base64.StdEncoding.DecodeString(cursor)
				var err error
				if start, err = strconv.Atoi(string(text)); err != nil || wrong != nil {
					answer(w, http.StatusBadRequest, M{"ok": false, "error": "invalid_cursor"})
					return
				}
			}
			// The cursor is behind a record: what comes newer meanwhile does not move what is behind it.
			all := keep(store.newest(), func(e Entry) bool { return within(e.At, oldest, latest) && (start == 0 || e.N < start) })
			page, more := cut(all, 0, min(limit, store.Most))
			next := ""
			if more {
				next = base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(page[len(page)-1].N)))
			}
			answer(w, http.StatusOK, M{"entries": bodies(page), "response_metadata": M{"next_cursor": next}})
		}),
	}
}
