package standins

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// kubernetes are the events of a cluster: all that there are, by namespace and name, in pieces behind a token that is good for some
// minutes. What an event says changes when the same happens again: its resourceVersion tells.
//
// https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/,
// https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
func kubernetes() *Service {
	store := &Store{Most: 5, Step: time.Microsecond, Make: func(e Entry) (string, any) {
		version := strconv.Itoa(10_245 + e.N)
		meta := M{
			"name": fmt.Sprintf("web-%d.%x", e.N%5, e.N*7919), "namespace": pick(e.N, "default", "kube-system"), "uid": uuid(e.N),
			"resourceVersion": version, "creationTimestamp": e.At.Truncate(time.Second).Format(time.RFC3339),
		}
		body := M{
			"metadata": meta, "reason": pick(e.N, "Scheduled", "Pulled", "BackOff"), "type": pick(e.N, "Normal", "Normal", "Warning"),
			"note":                "Successfully assigned default/web to node-1",
			"regarding":           M{"kind": "Pod", "namespace": "default", "name": "web", "uid": "f9b7a8e2-64f1-4d4c-9a43-0d9d3b6b8a01"},
			"reportingController": "default-scheduler", "reportingInstance": "scheduler-0",
			"eventTime": e.At.Format("2006-01-02T15:04:05.000000Z"),
		}
		switch e.N % 3 {
		case 1: // written by the older interface
			body["eventTime"], body["reportingController"], body["reportingInstance"] = nil, "", ""
			body["deprecatedCount"], body["deprecatedSource"] = 3, M{"component": "kubelet", "host": "node-1"}
			body["deprecatedFirstTimestamp"] = e.At.Add(-time.Minute).Format(time.RFC3339)
			body["deprecatedLastTimestamp"] = e.At.Format(time.RFC3339)
		case 2:
			body["note"] = "Back-off restarting failed container \"web\" – 5 × in 1m"
			body["series"] = M{"count": 5, "lastObservedTime": e.At.Format("2006-01-02T15:04:05.000000Z")}
			delete(body["regarding"].(M), "uid")
		}
		return uuid(e.N) + "/" + version, body
	}}
	status := func(w http.ResponseWriter, code int, reason, text string) {
		answer(w, code, M{"kind": "Status", "apiVersion": "v1", "metadata": M{}, "status": "Failure", "message": text, "reason": reason,
			"code": code})
	}
	return &Service{
		Name: "kubernetes", Host: "https://kubernetes.default.svc", Secrets: map[string]string{"token": "eyJhbGciOi.test"}, Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			switch {
			case r.URL.Path != "/apis/events.k8s.io/v1/events":
				status(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource")
				return
			case r.Header.Get("Authorization") != "Bearer eyJhbGciOi.test":
				status(w, http.StatusUnauthorized, "Unauthorized", "Unauthorized")
				return
			}
			size, ok := number(query, "limit", 1<<30, 1, 1<<30)
			if wrong := known(query, "limit", "continue", "fieldSelector", "labelSelector", "resourceVersion"); wrong != "" || !ok {
				status(w, http.StatusBadRequest, "BadRequest", wrong)
				return
			}
			// A list is of one moment: what comes after it is not on its later pages.
			list, start := len(store.Entries()), 0
			if token := query.Get("continue"); token != "" {
				text, err := base64.RawURLEncoding.DecodeString(token)
				var made int64
				if _, scan := fmt.Sscanf(string(text), "%d %d %d", &list, &start, &made); err != nil || scan != nil {
					status(w, http.StatusBadRequest, "BadRequest", "continue key is not valid")
					return
				}
				if time.Now().Unix()-made > 5*60 {
					status(w, http.StatusGone, "Expired", "The provided continue parameter is too old to display a consistent list result.")
					return
				}
			}
			all := store.Entries()[:list]
			slices.SortStableFunc(all, func(a, b Entry) int {
				x, y := a.Body.(M)["metadata"].(M), b.Body.(M)["metadata"].(M)
				return cmp.Or(cmp.Compare(x["namespace"].(string), y["namespace"].(string)), cmp.Compare(x["name"].(string),
					y["name"].(string)))
			})
			page, more := cut(all, start, min(size, store.Most))
			meta := M{"resourceVersion": strconv.Itoa(10_245 + list)}
			if more {
				meta["continue"] = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d %d", list, start+len(page),
					time.Now().Unix()))
				meta["remainingItemCount"] = len(all) - start - len(page)
			}
			answer(w, http.StatusOK, M{"kind": "EventList", "apiVersion": "events.k8s.io/v1", "metadata": meta, "items": bodies(page)})
		}),
	}
}
