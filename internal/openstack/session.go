package openstack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	gopherstack "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"stackstream/event"
)

// maxMargin is how long before its end a token is replaced at the latest; a token of a short life is replaced when a
// quarter of it is left.
const maxMargin = 2 * time.Minute

// maxKeystone bounds the answers of Keystone: a catalogue of a thousand endpoints is far smaller.
const maxKeystone = 8 << 20

// Session keeps a Keystone token good. It is safe for concurrent use; at most one request for a token is under way.
type Session struct {
	auth      Auth
	client    *http.Client
	userAgent string
	service   string // that is looked up in catalogues

	turn chan struct{} // holds the right to read and write what follows
	tok  *Token
}

// Token is what Keystone gave us.
type Token struct {
	// ID goes into X-Auth-Token.
	ID string
	// Roles are the names of the roles it has in its project.
	Roles    []string
	services []string              // that the catalogue has, by type
	catalog  []tokens.CatalogEntry // of the one that is looked up: a whole one may have a hundred endpoints
	renewAt  time.Time             // zero: not before it is refused
}

// Location says which of a catalogue's endpoints is meant. An empty Region takes any; an empty Interface is public.
type Location struct {
	Service   string
	Region    string
	Interface string
}

// NewSession keeps tokens for auth, which must be valid.
func NewSession(auth Auth, client *http.Client, userAgent string) *Session {
	limited := *client
	limited.Transport = limitBodies{next: client.Transport, max: maxKeystone}
	s := &Session{auth: auth, client: &limited, userAgent: userAgent, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s
}

// Finds has the tokens know where a service is, and returns the session. It must be called before they are asked for.
func (s *Session) Finds(service string) *Session {
	s.service = service
	return s
}

// Token returns a token that is good for a while yet, asking Keystone for a new one where there is none.
func (s *Session) Token(ctx context.Context) (*Token, error) {
	return s.token(ctx, func(t *Token) bool {
		return t.renewAt.IsZero() || time.Now().Before(t.renewAt)
	})
}

// Renew returns another token than refused, which a service did not accept: the one that somebody else has renewed
// already, or a new one.
func (s *Session) Renew(ctx context.Context, refused *Token) (*Token, error) {
	return s.token(ctx, func(t *Token) bool { return t.ID != refused.ID })
}

func (s *Session) token(ctx context.Context, good func(*Token) bool) (*Token, error) {
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.tok != nil && good(s.tok) {
		return s.tok, nil
	}
	t, err := s.authenticate(ctx)
	if err != nil {
		return nil, err
	}
	s.tok = t
	return t, nil
}

// authenticate asks Keystone for a token. The errors name the setting and never hold what Keystone was sent.
func (s *Session) authenticate(ctx context.Context) (*Token, error) {
	const op = "authenticate with Keystone"
	opts, secret, err := s.auth.options()
	if err != nil {
		return nil, err
	}
	provider, err := gopherstack.NewClient(s.auth.URL)
	if err != nil {
		return nil, invalid(op, errors.New("auth.url is not a URL"))
	}
	provider.HTTPClient = *s.client
	provider.UserAgent.Prepend(s.userAgent)
	identity, err := gopherstack.NewIdentityV3(provider, gophercloud.EndpointOpts{})
	if err != nil {
		return nil, invalid(op, errors.New("auth.url is not a URL"))
	}
	asked := time.Now()
	result := tokens.Create(ctx, identity, &opts)
	if result.Err != nil {
		return nil, s.refusal(ctx, op, result.Err, secret)
	}
	var body struct {
		IssuedAt  time.Time             `json:"issued_at"`
		ExpiresAt time.Time             `json:"expires_at"`
		Catalog   []tokens.CatalogEntry `json:"catalog"`
		Roles     []tokens.Role         `json:"roles"`
	}
	id, err := result.ExtractTokenID()
	if err == nil {
		err = result.ExtractInto(&body)
	}
	if err != nil || id == "" {
		return nil, invalid(op, fmt.Errorf("%s answered without a token: is auth.url the address of Keystone?", s.auth.URL))
	}
	t := &Token{ID: id}
	for _, entry := range body.Catalog {
		if s.service != "" {
			t.services = append(t.services, entry.Type)
		}
		if s.service == entry.Type {
			t.catalog = append(t.catalog, entry)
		}
	}
	for _, r := range body.Roles {
		t.Roles = append(t.Roles, r.Name)
	}
	// The length of its life is taken from Keystone's two times and counted on our clock: the two may differ.
	if life := body.ExpiresAt.Sub(body.IssuedAt); life > 0 && !body.IssuedAt.IsZero() {
		t.renewAt = asked.Add(life - min(maxMargin, life/4))
	}
	return t, nil
}

// refusal makes an error of what gophercloud returns, whose own text repeats bodies and addresses.
func (s *Session) refusal(ctx context.Context, op string, err error, secret string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var answer gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &answer) {
		var syntax *json.SyntaxError
		var transport *url.Error
		if errors.As(err, &syntax) || errors.Is(err, io.EOF) && !errors.As(err, &transport) {
			return invalid(op, fmt.Errorf("%s does not answer in JSON: is auth.url the address of Keystone?", s.auth.URL))
		}
		return TransportError(op, err)
	}
	body := answer.Body
	if secret != "" {
		body = bytes.ReplaceAll(body, []byte(secret), []byte("redacted")) // first, for Fault may cut it in two
	}
	text := Fault(answer.Actual, body)
	if secret != "" {
		text = strings.ReplaceAll(text, secret, "redacted")
	}
	said := fmt.Errorf("%s answered %d: %s", s.auth.URL, answer.Actual, text)
	switch status := answer.Actual; {
	case status == http.StatusUnauthorized && s.auth.ApplicationCredential.set():
		return invalid(op, fmt.Errorf("%w (see auth.application_credential)", said))
	case status == http.StatusUnauthorized:
		return invalid(op, fmt.Errorf("%w (see user, domain, password and project below auth)", said))
	case status == http.StatusNotFound:
		return invalid(op, fmt.Errorf("%w (is auth.url the address of Keystone, version 3?)", said))
	case status == http.StatusTooManyRequests || status >= http.StatusInternalServerError:
		return &Refused{Op: op, Status: status, RetryAfter: answer.ResponseHeader.Get("Retry-After"), Err: said}
	default:
		return invalid(op, fmt.Errorf("%w (see auth)", said))
	}
}

// Endpoint finds a service in the token's catalogue, the one that the session finds. The error has the kind event.Invalid and says
// what there is.
func (t *Token) Endpoint(at Location) (string, error) {
	if at.Interface == "" {
		at.Interface = string(gophercloud.AvailabilityPublic)
	}
	var regions, interfaces []string
	known := false
	for _, entry := range t.catalog {
		if entry.Type != at.Service {
			continue
		}
		known = true
		for _, e := range entry.Endpoints {
			if at.Region != "" && e.Region != at.Region && e.RegionID != at.Region {
				regions = append(regions, e.Region)
				continue
			}
			if e.Interface != at.Interface {
				interfaces = append(interfaces, e.Interface)
				continue
			}
			return gophercloud.NormalizeURL(e.URL), nil
		}
	}
	op := "find the " + at.Service + " service"
	switch {
	case len(t.services) == 0:
		return "", invalid(op, errors.New("the token has no catalogue: it is for no project (see auth.project), or set endpoint"))
	case !known:
		return "", invalid(op, fmt.Errorf("the catalogue has no service of the type %q, only %s (set endpoint where it is not registered)",
			at.Service, list(t.services)))
	case len(interfaces) > 0:
		return "", invalid(op, fmt.Errorf("it has no %s interface, only %s (see interface)", at.Interface, list(interfaces)))
	case len(regions) > 0:
		return "", invalid(op, fmt.Errorf("it is not in the region %q, only in %s (see region)", at.Region, list(regions)))
	default:
		return "", invalid(op, errors.New("it has no endpoint in the catalogue (set endpoint)"))
	}
}

// list writes names sorted and once each.
func list(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// Refused is a request that a service can't serve now. Its kind is event.Unavailable.
type Refused struct {
	Op     string
	Status int
	// RetryAfter is the value of the header of that name.
	RetryAfter string
	Err        error
}

func (e *Refused) Error() string { return e.Op + ": " + e.Err.Error() }

// Unwrap gives the kind and the cause.
func (e *Refused) Unwrap() []error { return []error{event.Unavailable, e.Err} }

// limitBodies cuts answers that are longer than max; what is cut is not JSON any more.
type limitBodies struct {
	next http.RoundTripper
	max  int64
}

func (l limitBodies) RoundTrip(req *http.Request) (*http.Response, error) {
	next := l.next
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, l.max), resp.Body}
	return resp, nil
}
