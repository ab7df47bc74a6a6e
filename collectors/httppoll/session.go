package httppoll

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"stackstream/event"
	"stackstream/internal/expr"
	"stackstream/internal/openstack"
	"stackstream/internal/rawjson"
)

// Session logs in by a request of its own, and sends with every further one what the service handed out.
type Session struct {
	// URL is where to log in.
	URL string `yaml:"url"`
	// Method of the login, POST where nothing else is said.
	Method string `yaml:"method" words:",POST,GET,PUT"`
	// Headers has headers to send, which may have {{user}} and {{password}} in them.
	Headers map[string]string `yaml:"headers"`
	// Body is what is sent, a text that may have {{user}} and {{password}} in it; json(password) is the password as JSON wants it.
	Body string `yaml:"body"`
	// JSON has the members of an object to send in place of Body; they may have {{user}} and {{password}} in them.
	JSON map[string]string `yaml:"json"`
	// Form has the fields of a form to send in place of Body; they may have {{user}} and {{password}} in them.
	Form map[string]string `yaml:"form"`
	// Basic sends user and password by RFC 7617 as well.
	Basic bool `yaml:"basic"`
	// User is who we are.
	User string `yaml:"user"`
	// Password of User; better in PasswordFile.
	Password event.Secret `yaml:"password"`
	// PasswordFile is a file with the password of User.
	PasswordFile string `yaml:"password_file"`
	// Token is an expression for what proves who we are, of body and headers of the answer.
	Token string `yaml:"token"`
	// Cookie is the name of the cookie that does, in place of Token.
	Cookie string `yaml:"cookie"`
	// ExpiresIn is an expression for the seconds that it is good for. Without it and Lifetime, and where the answer does not say, it
	// is good until it is refused.
	ExpiresIn string `yaml:"expires_in"`
	// Lifetime is how long it is good, where that is always the same.
	Lifetime time.Duration `yaml:"lifetime"`
	Send     SessionSend   `yaml:"send"`
}

// SessionSend says where in a request the token goes: in a header, behind a Prefix, in the query, or in a cookie.
type SessionSend struct {
	// In says where it goes, into a header where nothing else is said.
	In string `yaml:"in" words:",header,query,cookie"`
	// Name of the header, the parameter or the cookie.
	Name string `yaml:"name"`
	// Prefix is what stands before it.
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
	if to.Name == "" {
		ps.add(at+".send.name", "is missing: the name of the header, parameter or cookie that takes the token")
	}
}

// sessionSigner logs in when it has to.
type sessionSigner struct {
	*ticket
	cfg       Session
	programs  sessionPrograms
	client    *http.Client
	userAgent string
}

func (s *sessionSigner) sign(ctx context.Context, req *http.Request) (string, error) {
	token, err := s.get(ctx)
	if err != nil {
		return "", err
	}
	switch to := s.cfg.where(); to.In {
	case "cookie":
		req.AddCookie(&http.Cookie{Name: to.Name, Value: to.Prefix + token})
	case "query":
		query := req.URL.Query()
		query.Set(to.Name, to.Prefix+token)
		req.URL.RawQuery = query.Encode()
	default:
		req.Header.Set(to.Name, to.Prefix+token)
	}
	return token, nil
}

const opSession = "log in at auth.session.url"

func wrongSession(format string, args ...any) error {
	return &event.Error{Kind: event.Invalid, Op: opSession, Err: fmt.Errorf(format, args...)}
}

func (s *sessionSigner) login(ctx context.Context) (token string, life time.Duration, err error) {
	req, err := s.request(ctx)
	if err != nil {
		return "", 0, err
	}
	client := *s.client
	if s.cfg.Cookie != "" {
		// A form for people sends on to their page; the cookie comes with that.
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	r, err := login(&client, req, opSession)
	if err != nil {
		return "", 0, err
	}
	if s.cfg.Cookie != "" && r.status < 400 {
		return s.cookie(r)
	}
	if r.status < 200 || r.status > 299 {
		return "", 0, refusedLogin(opSession, r, " (see auth.session)")
	}
	vars := expr.Vars{"headers": headersOf(r.header), "body": parsed(r.body)}
	if _, err := rawjson.Parse(r.body); err != nil {
		vars["body"] = strings.TrimSpace(string(r.body))
	}
	if token, err = textOf(s.programs.token, vars); err != nil {
		return "", 0, wrongSession("it answered %d, and auth.session.token %s", r.status, unsaid(err))
	}
	if token == "" {
		return "", 0, wrongSession("it answered %d without a token (see auth.session.token)", r.status)
	}
	life = s.cfg.Lifetime
	if s.programs.expiresIn != nil {
		text, err := textOf(s.programs.expiresIn, vars)
		if err != nil && !errors.Is(err, expr.ErrMissing) {
			return "", 0, wrongSession("auth.session.expires_in %s", unsaid(err))
		}
		life = seconds(text)
	}
	return token, life, nil
}

// cookie takes the token from a cookie.
func (s *sessionSigner) cookie(r *loginReply) (token string, life time.Duration, err error) {
	for _, c := range (&http.Response{Header: r.header}).Cookies() {
		if c.Name == s.cfg.Cookie && c.Value != "" && c.MaxAge >= 0 {
			token, life = c.Value, time.Duration(c.MaxAge)*time.Second
		}
	}
	if token == "" {
		return "", 0, wrongSession("it answered %d without the cookie %s (see auth.session)", r.status, s.cfg.Cookie)
	}
	if s.cfg.Lifetime > 0 {
		life = s.cfg.Lifetime
	}
	return token, life, nil
}

// request writes the login.
func (s *sessionSigner) request(ctx context.Context) (*http.Request, error) {
	password, err := s.cfg.Password.OrFile("auth.session.password_file", s.cfg.PasswordFile)
	if err != nil {
		return nil, err
	}
	vars := expr.Vars{"user": s.cfg.User, "password": password}
	req, err := s.programs.write(ctx, s.cfg.method(), s.cfg.URL, vars)
	if err != nil {
		return nil, wrongSession("its headers or body can't be written: an expression %s", unsaid(err))
	}
	if len(s.programs.fields) > 0 {
		body, kind, err := s.fields(vars)
		if err != nil {
			return nil, err
		}
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
		if req.Header.Get("Content-Type") == "" {
			req.Header.Set("Content-Type", kind)
		}
	}
	if s.cfg.Basic {
		req.SetBasicAuth(s.cfg.User, password)
	}
	setDefault(req.Header, "Accept", "application/json")
	setDefault(req.Header, "User-Agent", s.userAgent)
	return req, nil
}

// fields is the body of a login, of JSON or of form.
func (s *sessionSigner) fields(vars expr.Vars) (body, kind string, err error) {
	object, form := []byte{'{'}, url.Values{}
	for _, name := range slices.Sorted(maps.Keys(s.programs.fields)) {
		text, err := s.programs.fields[name].text(vars)
		if err != nil {
			return "", "", wrongSession("the field %s can't be written: an expression %s", name, unsaid(err))
		}
		form.Set(name, text)
		if len(object) > 1 {
			object = append(object, ',')
		}
		object = rawjson.AppendQuoted(append(rawjson.AppendQuoted(object, name), ':'), text)
	}
	if len(s.cfg.JSON) > 0 {
		return string(append(object, '}')), "application/json", nil
	}
	return form.Encode(), "application/x-www-form-urlencoded", nil
}

// textOf is the text of an expression.
func textOf(p *expr.Program, vars expr.Vars) (string, error) {
	val, err := p.Eval(vars)
	if err != nil {
		return "", err
	}
	return val.Text()
}

// unsaid is an error of an expression about what is secret: CEL's own may repeat it.
func unsaid(err error) string {
	if errors.Is(err, expr.ErrMissing) {
		return "asks for what is not there: " + err.Error()
	}
	return "can't be evaluated"
}

// headersOf are headers as expressions know them, by their names in small letters.
func headersOf(h http.Header) map[string]string {
	headers := map[string]string{}
	for name, values := range h {
		headers[strings.ToLower(name)] = strings.Join(values, ", ") // one header on several lines (RFC 9110, 5.3)
	}
	return headers
}

func setDefault(h http.Header, name, value string) {
	if h.Get(name) == "" {
		h.Set(name, value)
	}
}
