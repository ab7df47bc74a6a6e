package standins

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// zabbix are the events of a monitoring server, by JSON-RPC: every answer is 200, also one that says what is wrong. A login hands out
// a session that ends when it was not used for long. Numbers are texts.
//
// https://www.zabbix.com/documentation/current/en/manual/api/reference/event/get,
// https://www.zabbix.com/documentation/current/en/manual/api/reference/user/login
func zabbix() *Service {
	const idle, life = 15 * time.Minute, 4 * time.Minute
	store := &Store{Most: 4, Step: time.Second, Make: func(e Entry) (string, any) {
		id := strconv.Itoa(9_690 + e.N)
		body := M{
			"eventid": id, "source": "0", "object": "0", "objectid": "13926", "clock": strconv.FormatInt(e.At.Unix(), 10),
			"ns":    strconv.Itoa(e.N * 7919),
			"value": "1", "acknowledged": "0", "name": "MySQL is down on {HOST.NAME} – »db«", "severity": pick(e.N, "5", "2"),
			"r_eventid":  "0",
			"suppressed": "0", "opdata": "", "hosts": []M{{"hostid": "10084", "host": "db-1", "name": "Datenbank"}},
		}
		if e.N%3 == 0 { // a recovery
			body["value"], body["severity"], body["name"] = "0", "0", ""
		}
		if e.N%5 == 4 { // of an object that was deleted
			body["hosts"] = []M{}
		}
		return id, body
	}}
	var mu sync.Mutex
	type session struct{ began, used time.Time }
	sessions := map[string]session{}
	return &Service{
		Name: "zabbix", Host: "https://zabbix.example.org", Secrets: map[string]string{"zabbix.password": "zäbb\"ix"},
		Late:      5 * time.Second,
		Ascending: true, Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var call struct {
				Version string         `json:"jsonrpc"`
				Method  string         `json:"method"`
				Params  map[string]any `json:"params"`
				ID      any            `json:"id"`
			}
			failed := func(code int, message, data string) {
				answer(w, http.StatusOK, M{"jsonrpc": "2.0", "error": M{"code": code, "message": message, "data": data}, "id": call.ID})
			}
			if r.URL.Path != "/api_jsonrpc.php" || r.Method != http.MethodPost {
				http.NotFound(w, r)
				return
			}
			if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
				w.WriteHeader(http.StatusPreconditionFailed)
				return
			}
			if err := json.NewDecoder(r.Body).Decode(&call); err != nil || call.Version != "2.0" {
				failed(-32700, "Parse error", "Invalid JSON. An error occurred on the server while parsing the JSON text.")
				return
			}
			mu.Lock()
			defer mu.Unlock()
			now := time.Now()
			if call.Method == "user.login" {
				known := call.Params["username"] == "stackstream" && call.Params["password"] == "zäbb\"ix"
				if !known || r.Header.Get("Authorization") != "" {
					failed(-32500, "Application error.", "Incorrect user name or password or account is temporarily blocked.")
					return
				}
				token := fmt.Sprintf("0424bd59b807674191e7d7757207%04d", len(sessions))
				sessions[token] = session{now, now}
				answer(w, http.StatusOK, M{"jsonrpc": "2.0", "result": token, "id": call.ID})
				return
			}
			token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			known, ok := sessions[token]
			if !ok || now.Sub(known.used) > idle || now.Sub(known.began) > life {
				failed(-32602, "Invalid params.", "Session terminated, re-login, please.")
				return
			}
			sessions[token] = session{known.began, now}
			from, _ := call.Params["eventid_from"].(string)
			n, err := strconv.Atoi(from)
			limit, _ := call.Params["limit"].(float64)
			for name := range call.Params {
				if names := "eventid_from limit output selectHosts sortfield sortorder source object"; !strings.Contains(names, name) {
					failed(-32602, "Invalid params.", `Invalid parameter "/": unexpected parameter "`+name+`".`)
					return
				}
			}
			sorted := fmt.Sprint(call.Params["sortfield"]) == "[eventid]" && call.Params["sortorder"] == "ASC"
			if call.Method != "event.get" || err != nil || !sorted {
				failed(-32602, "Invalid params.", "Incorrect method or parameters.")
				return
			}
			all := keep(store.Entries(), func(e Entry) bool { return !e.Shown.After(now) && 9_690+e.N >= n })
			sort.Slice(all, func(i, j int) bool { return all[i].N < all[j].N })
			page, _ := cut(all, 0, min(int(limit), store.Most))
			answer(w, http.StatusOK, M{"jsonrpc": "2.0", "result": bodies(page), "id": call.ID})
		}),
	}
}
