package standin

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
)

//go:embed recorded/panko-wallaby.json
var recording []byte

// Exchange is one request to the real Panko and its answer; recorded/README.md says which.
type Exchange struct {
	Name    string `json:"name"`
	Request struct {
		Method string            `json:"method"`
		Path   string            `json:"path"`
		Query  string            `json:"query"`
		Header map[string]string `json:"headers"`
	} `json:"request"`
	Response struct {
		Status int               `json:"status"`
		Header map[string]string `json:"headers"`
		Body   string            `json:"body"`
	} `json:"response"`
}

// Recorded returns the recording of the real Panko.
func Recorded() []Exchange {
	var out []Exchange
	if err := json.Unmarshal(recording, &out); err != nil {
		panic(fmt.Sprintf("the embedded recording: %v", err))
	}
	return out
}

// RecordedEvents returns the events in the recording, in Panko's order.
func RecordedEvents() []Event {
	var out []Event
	for _, x := range Recorded() {
		isJSON := x.Response.Header["Content-Type"] == "application/json"
		if x.Request.Path != "/v2/events" || x.Response.Status != 200 || !isJSON {
			continue
		}
		var list []json.RawMessage
		if err := json.Unmarshal([]byte(x.Response.Body), &list); err != nil {
			panic(fmt.Sprintf("the embedded recording, %s: %v", x.Name, err))
		}
		for _, body := range list {
			e, err := ParseEvent(body)
			if err != nil {
				panic(fmt.Sprintf("the embedded recording, %s: %v", x.Name, err))
			}
			out = append(out, e)
		}
	}
	slices.SortFunc(out, compareEvents)
	return slices.CompactFunc(out, func(a, b Event) bool { return a.ID == b.ID })
}
