package standin

import (
	crand "crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"time"
)

// Account is a user with a password, one project, and perhaps an application credential.
type Account struct {
	User, UserID       string
	Domain, DomainID   string // of the user and of the project
	Password           string
	Project, ProjectID string
	Roles              []string
	// Credential is the application credential's id, CredentialName its name.
	Credential, CredentialName, CredentialSecret string
}

// Admin is the account of an administrator in the project that the recorded events belong to.
func Admin() Account {
	return Account{
		User: "admin", UserID: "f6bd35c95aab46788630b27d457c1386", Domain: "Default", DomainID: "default",
		Password: "stand-in password", Project: "admin", ProjectID: "a9edfdf69dca4c44beb659c347b2ab45",
		Roles: []string{"member", "reader", "admin"}, Credential: "6cb5fa6a13184e6fab65ba2108adf50c",
		CredentialName: "stackstream", CredentialSecret: "stand-in credential",
	}
}

func (a Account) admin() bool { return slices.Contains(a.Roles, "admin") }

type token struct {
	account Account
	expires time.Time
}

type domain struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

type user struct {
	ID       string  `json:"id"`
	Name     string  `json:"name"`
	Domain   *domain `json:"domain"`
	Password string  `json:"password"`
}

type authRequest struct {
	Auth struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password *struct {
				User user `json:"user"`
			} `json:"password"`
			Credential *struct {
				ID     string `json:"id"`
				Name   string `json:"name"`
				User   *user  `json:"user"`
				Secret string `json:"secret"`
			} `json:"application_credential"`
		} `json:"identity"`
		Scope *struct {
			Project *struct {
				ID     string  `json:"id"`
				Name   string  `json:"name"`
				Domain *domain `json:"domain"`
			} `json:"project"`
		} `json:"scope"`
	} `json:"auth"`
}

func (s *Service) serveKeystone(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/":
		writeJSON(w, http.StatusMultipleChoices, map[string]any{
			"versions": map[string]any{"values": []any{keystoneVersion(r)}},
		})
	case "/v3", "/v3/":
		writeJSON(w, http.StatusOK, map[string]any{"version": keystoneVersion(r)})
	case "/v3/auth/tokens":
		if r.Method != http.MethodPost {
			keystoneError(w, http.StatusMethodNotAllowed, "The method is not allowed for the requested URL.")
			return
		}
		s.issue(w, r)
	default:
		keystoneError(w, http.StatusNotFound, "The requested URL was not found on the server. If you entered the URL "+
			"manually please check your spelling and try again.")
	}
}

func base(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func keystoneVersion(r *http.Request) map[string]any {
	return map[string]any{
		"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
		"links": []any{map[string]any{"rel": "self", "href": base(r) + "/v3/"}},
		"media-types": []any{map[string]any{
			"base": "application/json", "type": "application/vnd.openstack.identity-v3+json",
		}},
	}
}

// issue answers POST /v3/auth/tokens.
func (s *Service) issue(w http.ResponseWriter, r *http.Request) {
	var req authRequest
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil || json.Unmarshal(body, &req) != nil || len(req.Auth.Identity.Methods) != 1 {
		keystoneError(w, http.StatusBadRequest, "Expecting to find auth in request body. The server could not comply "+
			"with the request since it is either malformed or otherwise incorrect. The client is assumed to be in error.")
		return
	}
	account, ok := s.prove(req)
	if !ok {
		keystoneError(w, http.StatusUnauthorized, "The request you have made requires authentication.")
		return
	}
	now := time.Now()
	id := crand.Text() + crand.Text()
	t := token{account: account, expires: now.Add(s.opts.TokenLife)}
	s.mu.Lock()
	for old, known := range s.tokens {
		if known.expires.Before(now) {
			delete(s.tokens, old)
		}
	}
	s.tokens[id] = t
	s.mu.Unlock()

	answer := map[string]any{
		"methods": req.Auth.Identity.Methods, "issued_at": keystoneTime(now), "expires_at": keystoneTime(t.expires),
		"user":      map[string]any{"id": account.UserID, "name": account.User, "domain": account.domain()},
		"audit_ids": []string{crand.Text()},
	}
	if req.Auth.Scope != nil || req.Auth.Identity.Credential != nil {
		roles := []any{}
		for _, name := range account.Roles {
			roles = append(roles, map[string]any{"id": name + "-role", "name": name})
		}
		answer["roles"] = roles
		answer["project"] = map[string]any{"id": account.ProjectID, "name": account.Project, "domain": account.domain()}
		answer["catalog"] = s.catalogue(base(r))
	}
	w.Header().Set("X-Subject-Token", id)
	w.Header().Set("Vary", "X-Auth-Token")
	writeJSON(w, http.StatusCreated, map[string]any{"token": answer})
}

func (a Account) domain() domain { return domain{ID: a.DomainID, Name: a.Domain} }

// prove finds the account that the request is good for.
func (s *Service) prove(req authRequest) (Account, bool) {
	id := req.Auth.Identity
	for _, a := range s.opts.Accounts {
		switch method := id.Methods[0]; {
		case method == "password" && id.Password != nil:
			u := id.Password.User
			if a.isUser(u) && u.Password == a.Password && a.inScope(req) {
				return a, true
			}
		case method == "application_credential" && id.Credential != nil:
			c := id.Credential
			named := c.Name != "" && c.Name == a.CredentialName && c.User != nil && a.isUser(*c.User)
			known := c.ID != "" && c.ID == a.Credential || named
			// Keystone refuses a credential that asks for a scope: it has its own.
			if known && c.Secret == a.CredentialSecret && req.Auth.Scope == nil {
				return a, true
			}
		}
	}
	return Account{}, false
}

func (a Account) isUser(u user) bool {
	if u.ID != "" {
		return u.ID == a.UserID
	}
	return u.Name == a.User && a.inDomain(u.Domain)
}

func (a Account) inDomain(d *domain) bool {
	return d != nil && (d.ID != "" && d.ID == a.DomainID || d.ID == "" && d.Name == a.Domain)
}

func (a Account) inScope(req authRequest) bool {
	if req.Auth.Scope == nil {
		return true
	}
	p := req.Auth.Scope.Project
	if p == nil {
		return false
	}
	return p.ID != "" && p.ID == a.ProjectID || p.ID == "" && p.Name == a.Project && a.inDomain(p.Domain)
}

func (s *Service) catalogue(base string) []any {
	entry := func(kind, name, url string) any {
		var endpoints []any
		for _, face := range []string{"public", "internal", "admin"} {
			endpoints = append(endpoints, map[string]any{
				"id": name + "-" + face, "interface": face, "region": s.opts.Region, "region_id": s.opts.Region, "url": url,
			})
		}
		return map[string]any{"id": name, "type": kind, "name": name, "endpoints": endpoints}
	}
	list := []any{entry("identity", "keystone", base+"/v3/")}
	switch {
	case s.opts.NoEventService:
	case s.opts.Ceilometer:
		list = append(list, entry("metering", "ceilometer", base))
	default:
		list = append(list, entry("event", "panko", base))
	}
	return list
}

// holder finds who a token was given to.
func (s *Service) holder(id string) (Account, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[id]
	return t.account, ok && time.Now().Before(t.expires)
}

// RevokeTokens makes all tokens given so far bad.
func (s *Service) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

func keystoneTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

func keystoneError(w http.ResponseWriter, code int, message string) {
	if code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Keystone uri="/v3"`)
	}
	writeJSON(w, code, map[string]any{"error": map[string]any{
		"code": code, "title": http.StatusText(code), "message": message,
	}})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // all that is written here is made of maps and texts
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body)
}
