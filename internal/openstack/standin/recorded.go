package standin

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed recorded/panko-wallaby.json
var recordedPanko []byte

//go:embed recorded/ceilometer-newton.json
var recordedCeilometer []byte

//go:embed recorded/ceilometer-newton-redirect.http
var recordedRedirect []byte

// Exchange is one request to the real service and its answer; recorded/README.md says which.
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
func Recorded() []Exchange { return exchanges(recordedPanko) }

// RecordedCeilometer returns the recording of the real Ceilometer.
func RecordedCeilometer() []Exchange { return exchanges(recordedCeilometer) }

// RecordedRedirect returns what the real Ceilometer answers where there is Panko too, as it came over the wire.
func RecordedRedirect() []byte { return recordedRedirect }

func exchanges(recording []byte) []Exchange {
	var out []Exchange
	if err := json.Unmarshal(recording, &out); err != nil {
		panic(fmt.Sprintf("the embedded recording: %v", err))
	}
	return out
}

// RecordedEvents returns the events in the recording of Panko, in its order.
func RecordedEvents() []Event { return events(Recorded()) }

// RecordedCeilometerEvents returns the events in the recording of Ceilometer.
func RecordedCeilometerEvents() []Event { return events(RecordedCeilometer()) }

func events(recording []Exchange) []Event {
	var out, single []Event
	for _, x := range recording {
		one := strings.HasPrefix(x.Request.Path, "/v2/events/")
		isJSON := x.Response.Header["Content-Type"] == "application/json"
		if x.Request.Path != "/v2/events" && !one || x.Response.Status != 200 || !isJSON {
			continue
		}
		body := x.Response.Body
		if one {
			body = "[" + body + "]"
		}
		var list []json.RawMessage
		if err := json.Unmarshal([]byte(body), &list); err != nil {
			panic(fmt.Sprintf("the embedded recording, %s: %v", x.Name, err))
		}
		for _, body := range list {
			e, err := ParseEvent(body)
			if err != nil {
				panic(fmt.Sprintf("the embedded recording, %s: %v", x.Name, err))
			}
			if one {
				single = append(single, e)
			} else {
				out = append(out, e)
			}
		}
	}
	out = append(out, single...) // as a list shows them, where one does
	slices.SortStableFunc(out, compareEvents)
	return slices.CompactFunc(out, func(a, b Event) bool { return a.ID == b.ID })
}
