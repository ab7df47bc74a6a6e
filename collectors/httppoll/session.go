package httppoll

import (
	"net/http"
	"time"

	"stackstream/event"
	"stackstream/internal/openstack"
)

// Session logs in by a request of its own, and sends with every further one what the service handed out.
type Session struct {
	URL    string `yaml:"url"`
	Method string `yaml:"method"` // POST if empty
	// Headers, and one of Body, JSON and Form, are texts that may have {{user}} and {{password}}. Members of JSON and fields of Form
	// are written as those want it; in a Body json(password) does that.
	Headers map[string]string `yaml:"headers"`
	Body    string            `yaml:"body"`
	JSON    map[string]string `yaml:"json"`
	Form    map[string]string `yaml:"form"`
	// Basic sends user and password by RFC 7617 as well.
	Basic        bool         `yaml:"basic"`
	User         string       `yaml:"user"`
	Password     event.Secret `yaml:"password"`
	PasswordFile string       `yaml:"password_file"`
	// Token is an expression for what proves who we are, of body and headers; Cookie takes it from the cookie of that name.
	Token  string `yaml:"token"`
	Cookie string `yaml:"cookie"`
	// ExpiresIn is an expression for the seconds that it is good for, Lifetime a fixed time. Without either, and where the answer
	// does not say, it is good until it is refused.
	ExpiresIn string        `yaml:"expires_in"`
	Lifetime  time.Duration `yaml:"lifetime"`
	Send      SessionSend   `yaml:"send"`
}

// SessionSend says where in a request the token goes: in a header, behind a Prefix, in the query, or in a cookie.
type SessionSend struct {
	In     string `yaml:"in"`
	Name   string `yaml:"name"`
	Prefix string `yaml:"prefix"`
}

// where is Send with what it is where nothing is said: a cookie goes back as it came.
func (s Session) where() SessionSend {
	to := s.Send
	if to.In == "" && s.Cookie != "" {
		to.In = "cookie"
	}
	if to.In == "" {
		to.In = "header"
	}
	if to.Name == "" && to.In == "cookie" {
		to.Name = s.Cookie
	}
	return to
}

func (s Session) method() string {
	if s.Method == "" {
		return http.MethodPost
	}
	return s.Method
}

func (s Session) validate(ps *problems) {
	const at = "auth.session"
	if msg := openstack.CheckURL(s.URL); msg != "" {
		ps.add(at+".url", "%s", msg)
	}
	ps.oneOf(at+".method", s.method(), http.MethodPost, http.MethodGet, http.MethodPut)
	if s.User != "" || s.Password != "" || s.PasswordFile != "" || s.Basic {
		ps.secret(at, "password", string(s.Password), s.PasswordFile)
	}
	if s.Basic && s.User == "" {
		ps.add(at+".user", "is missing: basic sends it")
	}
	set := 0
	for _, is := range []bool{s.Body != "", len(s.JSON) > 0, len(s.Form) > 0} {
		if is {
			set++
		}
	}
	if set > 1 {
		ps.add(at+".body", "of body, json and form one can be set")
	}
	if set > 0 && s.method() == http.MethodGet {
		ps.add(at+".method", "is GET, which has no body")
	}
	switch {
	case s.Token == "" && s.Cookie == "":
		ps.add(at+".token", "is missing: an expression for what the login hands out, like body.token (or set cookie)")
	case s.Token != "" && s.Cookie != "":
		ps.add(at+".cookie", "can't be set together with token")
	}
	if s.Lifetime < 0 {
		ps.add(at+".lifetime", "must not be negative")
	}
	if s.Lifetime > 0 && s.ExpiresIn != "" {
		ps.add(at+".lifetime", "can't be set together with expires_in")
	}
	to := s.where()
	ps.oneOf(at+".send.in", to.In, "header", "query", "cookie")
	if to.Name == "" {
		ps.add(at+".send.name", "is missing: the name of the header, parameter or cookie that takes the token")
	}
}
