package httppoll

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"stackstream/event"
)

// sendURL is where a token goes that is the whole address of what to ask for next, as the service handed it out.
const sendURL = "url"

// resumes tells whether the token of the cursor is an address.
func (c Cursor) resumes() bool { return c.Type == CursorToken && c.Send.In == sendURL }

func (c Config) validateResume(ps *problems) {
	leads := []string{PageNone, PageURL, PageLink}
	if c.Cursor.resumes() && !slices.Contains(leads, c.Pagination.Type) {
		ps.add("cursor.send.in", "is url, and pagination.type is %s: one of %s is meant", c.Pagination.Type, strings.Join(leads, ", "))
	}
}

// resume is the address with which a run goes on, "" where it begins, or where the pager leads to one.
func (w *walk) resume() (string, error) {
	if !w.cfg.Cursor.resumes() || w.token == "" {
		return "", nil
	}
	return w.onHost(w.token)
}

// configured is the address that is asked, as far as it is known: its host is.
func (c Config) configured() *url.URL {
	u, err := url.Parse(between.ReplaceAllString(c.Request.URL, "x"))
	if err != nil {
		return &url.URL{} // Validate has seen to it
	}
	return u
}

// onHost checks that an address is on the host that is configured: the cursor may come from other settings.
func (w *walk) onHost(address string) (string, error) {
	configured := w.cfg.configured()
	to, err := configured.Parse(address)
	if err != nil || !sameOrigin(configured, to) {
		return "", &event.Error{Kind: event.Invalid, Op: "go on from the cursor", Err: errors.New(
			"it has an address of another host than request.url, which is not asked: give the provider another name to begin anew")}
	}
	return to.String(), nil
}

// resolved is the address that an answer gives for what to ask next, in full. It must be on the host that answered.
func resolved(a *answer, address string) (string, error) {
	to, err := a.url.Parse(address)
	switch {
	case err != nil:
		return "", wrongPaging("cursor.token is no URL")
	case !sameOrigin(a.url, to):
		return "", wrongPaging("cursor.token leads to another host, %s, which is not asked", to.Host)
	}
	return to.String(), nil
}

// linksOf are the addresses in the headers named Link (RFC 8288) by their relation, in full.
func linksOf(h http.Header, from *url.URL) map[string]string {
	links := map[string]string{}
	for target, rels := range eachLink(h) {
		to, err := from.Parse(target)
		if err != nil {
			continue
		}
		for _, rel := range rels {
			if rel = strings.ToLower(rel); links[rel] == "" {
				links[rel] = to.String()
			}
		}
	}
	return links
}

// untilText tells whether a text of the request says until when is asked for.
func (c Config) untilText() bool {
	return slices.ContainsFunc(between.FindAllString(c.requestText(), -1), func(expression string) bool {
		return strings.Contains(expression, "until")
	})
}

// bounded tells whether the end of the range is asked for, too: then nothing is in it but what was shown.
func (c Config) bounded() bool { return c.Cursor.Send.Until != "" || c.untilText() }
