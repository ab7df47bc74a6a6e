package standins

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// stripe are the events of an account: newest first, 30 days back, each page behind the last event of the one before it.
//
// https://docs.stripe.com/api/events/list, https://docs.stripe.com/api/pagination
func stripe() *Service {
	store := &Store{Most: 4, Step: time.Second, Make: func(e Entry) (string, any) {
		id := fmt.Sprintf("evt_1NG8Du2eZvKYlo2C%06d", e.N)
		kind := pick(e.N, "setup_intent.created", "customer.updated", "payout.paid")
		body := M{
			"id": id, "object": "event", "api_version": "2026-09-30.clover", "created": e.At.Unix(), "type": kind, "livemode": false,
			"pending_webhooks": e.N % 2, "request": M{"id": fmt.Sprintf("req_%d", e.N), "idempotency_key": nil},
			"data": M{"object": M{"id": "cus_NG8Du2eZv", "object": "customer", "name": "Søren", "balance": -1250}},
		}
		switch e.N % 3 {
		case 1:
			body["data"].(M)["previous_attributes"] = M{"name": nil}
		case 2: // nobody asked for it
			body["request"], body["account"] = M{"id": nil, "idempotency_key": nil}, "acct_1032D82eZvKYlo2C"
			body["data"] = M{"object": M{"id": "po_1Gl5fQ", "object": "payout", "amount": 1100}}
		}
		return id, body
	}}
	return &Service{
		Name: "stripe", Host: "https://api.stripe.com", Secrets: map[string]string{"stripe.key": "rk_test_51"}, Late: time.Minute,
		Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			failed := func(status int, text string) {
				answer(w, status, M{"error": M{"type": "invalid_request_error", "message": text}})
			}
			switch {
			case r.Header.Get("Authorization") != "Bearer rk_test_51":
				failed(http.StatusUnauthorized, "Invalid API Key provided: rk_****")
				return
			case r.URL.Path != "/v1/events":
				failed(http.StatusNotFound, "Unrecognized request URL")
				return
			}
			limit, ok := number(query, "limit", 10, 1, 100)
			from, okFrom := seconds(query, "created[gte]")
			wrong := known(query, "limit", "created[gt]", "created[gte]", "created[lt]", "created[lte]", "starting_after",
				"ending_before", "type",
				"types[]", "delivery_success")
			if wrong != "" || !ok || !okFrom {
				failed(http.StatusBadRequest, "Received unknown parameter: "+wrong)
				return
			}
			old := time.Now().Add(-30 * 24 * time.Hour)
			all, start := keep(store.newest(), func(e Entry) bool { return within(e.At, from, time.Time{}) && e.At.After(old) }), 0
			if after := query.Get("starting_after"); after != "" {
				start = -1
				for i, e := range all {
					if e.ID == after {
						start = i + 1
					}
				}
				if start < 0 {
					failed(http.StatusBadRequest, "No such event: '"+after+"'")
					return
				}
			}
			page, more := cut(all, start, min(limit, store.Most))
			w.Header().Set("Request-Id", "req_"+strconv.Itoa(len(all)))
			answer(w, http.StatusOK, M{"object": "list", "url": "/v1/events", "has_more": more, "data": bodies(page)})
		}),
	}
}
