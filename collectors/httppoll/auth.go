package httppoll

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"stackstream/event"
	"stackstream/internal/openstack"
)

// Auth says who we are. At most one of its parts may be set. Secrets are named by a file, which is read anew whenever it is
// needed, or come from the environment.
type Auth struct {
	Basic    *Basic          `yaml:"basic"`
	Bearer   *Bearer         `yaml:"bearer"`
	APIKey   *APIKey         `yaml:"api_key"`
	OAuth2   *OAuth2         `yaml:"oauth2"`
	Session  *Session        `yaml:"session"`
	Keystone *openstack.Auth `yaml:"keystone"`
}

// Basic is a user and a password (RFC 7617).
type Basic struct {
	// User is who we are.
	User string `yaml:"user"`
	// Password of User; better in PasswordFile.
	Password event.Secret `yaml:"password"`
	// PasswordFile is a file with the password of User.
	PasswordFile string `yaml:"password_file"`
}

// Bearer is a token that does not expire (RFC 6750).
type Bearer struct {
	// Token is the token; better in TokenFile.
	Token event.Secret `yaml:"token"`
	// TokenFile is a file with the token.
	TokenFile string `yaml:"token_file"`
	// Scheme is the word before it, Bearer where nothing else is said: some services want another one.
	Scheme string `yaml:"scheme"`
}

// APIKey is a key in a header or in the query.
type APIKey struct {
	// In says where the key goes.
	In string `yaml:"in" words:"header,query"`
	// Name of the header or of the parameter.
	Name string `yaml:"name"`
	// Prefix is what stands before the key, where the service wants something, like "Token token=".
	Prefix string `yaml:"prefix"`
	// Key is the key; better in KeyFile.
	Key event.Secret `yaml:"key"`
	// KeyFile is a file with the key.
	KeyFile string `yaml:"key_file"`
	// Also is a second key, for services that want one of the application and one of the user.
	Also *SecondKey `yaml:"also"`
}

// SecondKey goes along with an APIKey.
type SecondKey struct {
	// In says where the key goes.
	In string `yaml:"in" words:"header,query"`
	// Name of the header or of the parameter.
	Name string `yaml:"name"`
	// Prefix is what stands before the key, where the service wants something.
	Prefix string `yaml:"prefix"`
	// Key is the key; better in KeyFile.
	Key event.Secret `yaml:"key"`
	// KeyFile is a file with the key.
	KeyFile string `yaml:"key_file"`
}

// all are the key and the second one, each with the setting that has it.
func (k APIKey) all() map[string]SecondKey {
	keys := map[string]SecondKey{"auth.api_key": {k.In, k.Name, k.Prefix, k.Key, k.KeyFile}}
	if k.Also != nil {
		keys["auth.api_key.also"] = *k.Also
	}
	return keys
}

// OAuth2 gets tokens by client credentials (RFC 6749, 4.4).
type OAuth2 struct {
	// TokenURL is where tokens are handed out.
	TokenURL string `yaml:"token_url"`
	// ClientID is who we are.
	ClientID string `yaml:"client_id"`
	// ClientSecret is the secret of ClientID; better in ClientSecretFile.
	ClientSecret event.Secret `yaml:"client_secret"`
	// ClientSecretFile is a file with the secret of ClientID.
	ClientSecretFile string `yaml:"client_secret_file"`
	// Scopes are the rights to ask for.
	Scopes []string `yaml:"scopes"`
	// Audience is for whom the token is meant, where a service wants that said.
	Audience string `yaml:"audience"`
	// InBody sends id and secret in the body, for services that take them nowhere else.
	InBody bool `yaml:"in_body"`
}

// signer puts into a request who we are.
type signer interface {
	// sign adds what proves it to a request for a host that was configured, and returns it.
	sign(ctx context.Context, req *http.Request) (proof string, err error)
	// refused is called when the service did not take what sign returned; true if it is worth to sign anew.
	refused(ctx context.Context, proof string) (again bool, err error)
}

func (a Auth) signer(client *http.Client, userAgent string, session sessionPrograms, now func() time.Time) signer {
	switch {
	case a.Basic != nil:
		return basicSigner{cfg: *a.Basic}
	case a.Bearer != nil:
		return bearerSigner{cfg: *a.Bearer}
	case a.APIKey != nil:
		return keySigner{cfg: *a.APIKey}
	case a.OAuth2 != nil:
		s := &oauthSigner{cfg: *a.OAuth2, client: client, userAgent: userAgent}
		s.ticket = newTicket(s.login, now)
		return s
	case a.Session != nil:
		s := &sessionSigner{cfg: *a.Session, programs: session, client: client, userAgent: userAgent}
		s.ticket = newTicket(s.login, now)
		return s
	case a.Keystone != nil:
		return &keystoneSigner{session: openstack.NewSession(*a.Keystone, client, userAgent)}
	}
	return noSigner{}
}

// fixed is embedded by signers that have nothing to renew.
type fixed struct{}

func (fixed) refused(context.Context, string) (bool, error) { return false, nil }

type noSigner struct{ fixed }

func (noSigner) sign(context.Context, *http.Request) (string, error) { return "", nil }

type basicSigner struct {
	fixed
	cfg Basic
}

func (s basicSigner) sign(_ context.Context, req *http.Request) (string, error) {
	password, err := s.cfg.Password.OrFile("auth.basic.password_file", s.cfg.PasswordFile)
	if err != nil {
		return "", err
	}
	req.SetBasicAuth(s.cfg.User, password)
	return "", nil
}

type bearerSigner struct {
	fixed
	cfg Bearer
}

func (s bearerSigner) sign(_ context.Context, req *http.Request) (string, error) {
	token, err := s.cfg.Token.OrFile("auth.bearer.token_file", s.cfg.TokenFile)
	if err != nil {
		return "", err
	}
	scheme := s.cfg.Scheme
	if scheme == "" {
		scheme = "Bearer"
	}
	req.Header.Set("Authorization", scheme+" "+token)
	return "", nil
}

type keySigner struct {
	fixed
	cfg APIKey
}

func (s keySigner) sign(_ context.Context, req *http.Request) (string, error) {
	for setting, k := range s.cfg.all() {
		key, err := k.Key.OrFile(setting+".key_file", k.KeyFile)
		if err != nil {
			return "", err
		}
		if k.In != "query" {
			req.Header.Set(k.Name, k.Prefix+key)
			continue
		}
		query := req.URL.Query()
		query.Set(k.Name, k.Prefix+key)
		req.URL.RawQuery = query.Encode()
	}
	return "", nil
}

// keystoneSigner logs in to OpenStack's Keystone.
type keystoneSigner struct{ session *openstack.Session }

func (s *keystoneSigner) sign(ctx context.Context, req *http.Request) (string, error) {
	token, err := s.session.Token(ctx)
	if err != nil {
		return "", err
	}
	req.Header.Set("X-Auth-Token", token.ID)
	return token.ID, nil
}

func (s *keystoneSigner) refused(ctx context.Context, proof string) (bool, error) {
	token, err := s.session.Token(ctx)
	if err == nil && token.ID == proof {
		_, err = s.session.Renew(ctx, token)
	}
	return err == nil, err
}

// maxTokenAnswer bounds the answer that has a token.
const maxTokenAnswer = 1 << 20

// oauthSigner gets a token when it needs one.
type oauthSigner struct {
	*ticket
	cfg       OAuth2
	client    *http.Client
	userAgent string
}

func (s *oauthSigner) sign(ctx context.Context, req *http.Request) (string, error) {
	token, err := s.get(ctx)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return token, nil
}

// login asks for a token. Nothing of what the server says is shown: it may repeat the secret.
func (s *oauthSigner) login(ctx context.Context) (string, time.Duration, error) {
	const op = "get a token from auth.oauth2.token_url"
	clientSecret, err := s.cfg.ClientSecret.OrFile("auth.oauth2.client_secret_file", s.cfg.ClientSecretFile)
	if err != nil {
		return "", 0, err
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(s.cfg.Scopes) > 0 {
		form.Set("scope", strings.Join(s.cfg.Scopes, " "))
	}
	if s.cfg.Audience != "" {
		form.Set("audience", s.cfg.Audience)
	}
	if s.cfg.InBody {
		form.Set("client_id", s.cfg.ClientID)
		form.Set("client_secret", clientSecret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, &event.Error{Kind: event.Invalid, Op: op, Err: errors.New("it is not a URL")}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", s.userAgent)
	if !s.cfg.InBody {
		req.SetBasicAuth(url.QueryEscape(s.cfg.ClientID), url.QueryEscape(clientSecret)) // RFC 6749, 2.3.1
	}
	r, err := login(s.client, req, op)
	if err != nil {
		return "", 0, err
	}
	if r.status != http.StatusOK {
		return "", 0, refusedLogin(op, r, oauthError(r.body)+" (see auth.oauth2)")
	}
	var answer struct {
		Token   string      `json:"access_token"`
		Type    string      `json:"token_type"`
		Expires json.Number `json:"expires_in"`
	}
	if err := json.Unmarshal(r.body, &answer); err != nil || answer.Token == "" {
		err = errors.New("it answered 200 without an access_token (see auth.oauth2)")
		return "", 0, &event.Error{Kind: event.Invalid, Op: op, Err: err}
	}
	return answer.Token, seconds(string(answer.Expires)), nil
}

// oauthError is the word for what is wrong that RFC 6749, 5.2 has, "" for anything else.
func oauthError(body []byte) string {
	var answer struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	switch answer.Error {
	case "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope":
		return ": " + answer.Error
	}
	return ""
}

func (a Auth) validate(ps *problems) {
	var set []string
	if a.Basic != nil {
		set = append(set, "basic")
		ps.secret("auth.basic", "password", string(a.Basic.Password), a.Basic.PasswordFile)
		if a.Basic.User == "" {
			ps.add("auth.basic.user", "is missing")
		}
	}
	if a.Bearer != nil {
		set = append(set, "bearer")
		ps.secret("auth.bearer", "token", string(a.Bearer.Token), a.Bearer.TokenFile)
	}
	if a.APIKey != nil {
		set = append(set, "api_key")
		keys := a.APIKey.all()
		for _, at := range slices.Sorted(maps.Keys(keys)) {
			k := keys[at]
			ps.secret(at, "key", string(k.Key), k.KeyFile)
			if k.Name == "" {
				ps.add(at+".name", "is missing: the name of the header or parameter")
			}
		}
		if also := a.APIKey.Also; also != nil && also.In == a.APIKey.In && strings.EqualFold(also.Name, a.APIKey.Name) {
			ps.add("auth.api_key.also.name", "is that of the first key")
		}
	}
	if o := a.OAuth2; o != nil {
		set = append(set, "oauth2")
		ps.secret("auth.oauth2", "client_secret", string(o.ClientSecret), o.ClientSecretFile)
		if msg := openstack.CheckURL(o.TokenURL); msg != "" {
			ps.add("auth.oauth2.token_url", "%s", msg)
		}
		if o.ClientID == "" {
			ps.add("auth.oauth2.client_id", "is missing")
		}
	}
	if a.Session != nil {
		set = append(set, "session")
		a.Session.validate(ps)
	}
	if a.Keystone != nil {
		set = append(set, "keystone")
		for _, p := range a.Keystone.Validate() {
			ps.add("auth.keystone."+p.Field, "%s", p.Msg)
		}
	}
	if len(set) > 1 {
		ps.add("auth."+set[1], "can't be set together with %s: one of them says who we are", set[0])
	}
}

// secret checks that a secret is given in one way.
func (ps *problems) secret(below, name, value, file string) {
	switch {
	case value == "" && file == "":
		ps.add(below+"."+name+"_file", "is missing (or set %s)", name)
	case value != "" && file != "":
		ps.add(below+"."+name+"_file", "can't be set together with %s", name)
	}
}
