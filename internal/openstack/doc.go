// Package openstack is what any client of an OpenStack cloud needs before it can ask its question: an HTTP client with
// time limits, a Keystone token that is still good, the address of a service from the catalogue, and the text out of
// the several shapes in which the services write errors.
//
// Credentials stay inside: they are in no error, no log line and no redirected request. Keystone is spoken in version
// 3 only.
package openstack

import (
	"fmt"
	"net/url"
)

// Problem is a mistake in a configuration. Field is the setting, as in the YAML file, with dots between levels.
type Problem struct{ Field, Msg string }

func (p Problem) String() string { return p.Field + ": " + p.Msg }

// problems collects what Validate finds.
type problems []Problem

func (ps *problems) add(field, format string, args ...any) {
	*ps = append(*ps, Problem{Field: field, Msg: fmt.Sprintf(format, args...)})
}

// CheckURL says what is wrong with the address of an HTTP service, "" if nothing is. It never repeats the address: that
// could have a password in it.
func CheckURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return "is missing: an address that begins with https:// or http://"
	case err != nil || u.Opaque != "":
		return "is not a URL like https://host:5000/v3"
	case u.Scheme != "http" && u.Scheme != "https":
		return "must begin with http:// or https://"
	case u.Hostname() == "":
		return "has no host"
	case u.User != nil:
		return "must not have a user or password in it"
	case u.RawQuery != "" || u.Fragment != "":
		return "must not have a query or a fragment"
	}
	return ""
}
