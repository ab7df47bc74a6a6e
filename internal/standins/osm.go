package standins

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// osmChangesets are the changesets of OpenStreetMap, as XML: those that were opened at or after a time, oldest first if one asks for
// it, at most 100 of them. There is no other way to the next ones than to ask from the last one's time on.
//
// https://wiki.openstreetmap.org/wiki/API_v0.6#Query:_GET_/api/0.6/changesets
func osmChangesets() *Service {
	type tag struct {
		Key   string `xml:"k,attr"`
		Value string `xml:"v,attr"`
	}
	type changeset struct {
		ID       int    `xml:"id,attr"`
		Created  string `xml:"created_at,attr"`
		Open     bool   `xml:"open,attr"`
		Comments int    `xml:"comments_count,attr"`
		Changes  int    `xml:"changes_count,attr"`
		User     string `xml:"user,attr,omitempty"` // not there where the account is gone
		UID      int    `xml:"uid,attr,omitempty"`
		Tags     []tag  `xml:"tag"`
	}
	store := &Store{Most: 100, Step: time.Second, Make: func(e Entry) (string, any) {
		c := changeset{ID: 148_000_000 + e.N, Created: e.At.Format("2006-01-02T15:04:05Z"), Open: true, User: "Ølund & Søn", UID: 12345}
		switch e.N % 3 {
		case 1:
			c.Tags = []tag{{"created_by", "JOSM/1.5"}, {"comment", "Straße <b>verlängert</b>"}}
		case 2:
			c.Tags, c.User, c.UID = []tag{{"created_by", "iD 2.30"}}, "", 0
		}
		return strconv.Itoa(c.ID), c
	}}
	return &Service{
		Name: "osm-changesets", Host: "https://api.openstreetmap.org", Late: 30 * time.Second, Ascending: true, Store: store,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			if r.URL.Path != "/api/0.6/changesets" {
				http.NotFound(w, r)
				return
			}
			limit, ok := number(query, "limit", 100, 1, 100)
			from, okFrom := moment(query, "from", time.RFC3339)
			to, okTo := moment(query, "to", time.RFC3339)
			wrong := known(query, "limit", "from", "to", "order", "open", "closed", "user", "display_name", "bbox", "time", "changesets")
			if wrong != "" || !ok || !okFrom || !okTo || query.Has("to") && !query.Has("from") {
				w.Header().Set("Content-Type", "text/plain")
				w.Header().Set("Error", "Bad changeset "+wrong)
				w.WriteHeader(http.StatusBadRequest)
				_, _ = fmt.Fprintln(w, "Bad changeset "+wrong)
				return
			}
			all := store.newest()
			if query.Get("order") == "oldest" {
				all = store.shown()
			}
			page, _ := cut(keep(all, func(e Entry) bool { return within(e.At, from, to) }), 0, min(limit, store.Most))
			w.Header().Set("Content-Type", "application/xml; charset=utf-8")
			_, _ = fmt.Fprint(w, xml.Header,
				`<osm version="0.6" generator="OpenStreetMap server" copyright="OpenStreetMap and contributors">`)
			for _, e := range page {
				_ = xml.NewEncoder(w).EncodeElement(e.Body, xml.StartElement{Name: xml.Name{Local: "changeset"}})
			}
			_, _ = fmt.Fprint(w, "</osm>")
		}),
	}
}
