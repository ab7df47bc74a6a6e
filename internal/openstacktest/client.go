package openstacktest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// password is that of every user that exists from the beginning.
const password = "correct horse battery"

// login is what a user of the domain Default needs to work in a project of it.
type login struct{ user, password, project string }

// admin may do everything.
func admin() login { return login{user: "admin", password: password, project: "admin"} }

// client performs requests as one user in one project. It is for one goroutine.
type client struct {
	cloud  *Cloud
	ledger *Ledger
	token  string
	// userID and projectID are what the services know the caller by.
	userID, projectID string
	// requestID is what the service called the last request.
	requestID string
}

// requestLimit is how long one operation may take: as long as the broker may be away, because a service answers only when
// it has told what it did.
const requestLimit = 2 * time.Minute

// call performs one request and decodes the answer into out, unless that is nil. Any status of 400 or more is an error.
func (c *client) call(ctx context.Context, method, url string, body, out any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		content = nil
	}
	return c.send(ctx, method, url, "application/json", content, out)
}

func (c *client) send(ctx context.Context, method, url, contentType string, content []byte, out any) error {
	header, err := c.cloud.request(ctx, c.token, method, url, contentType, content, out)
	c.requestID = header.Get("X-Openstack-Request-Id")
	return err
}

// statusError is an answer of 400 or more.
type statusError struct {
	what   string
	status int
	body   string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: status %d: %.300s", e.what, e.status, e.body)
}

func (c *Cloud) request(
	ctx context.Context, token, method, url, contentType string, content []byte, out any,
) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	if len(content) > 0 {
		request.Header.Set("Content-Type", contentType)
	}
	request.Header.Set("Accept", "application/json")
	if token != "" {
		request.Header.Set("X-Auth-Token", token)
	}
	request.Header.Set("X-OpenStack-Nova-API-Version", "2.60")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", method, url, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return nil, &statusError{what: method + " " + url, status: response.StatusCode, body: string(answer)}
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			return nil, fmt.Errorf("%s %s: %w in %.300s", method, url, err, answer)
		}
	}
	return response.Header, nil
}

// object is a JSON object.
type object map[string]any

// logIn gets a token. What the client does is kept account of in the ledger, if it is not nil; that it logged in is not.
func (c *Cloud) logIn(ctx context.Context, ledger *Ledger, who login) (*client, error) {
	domain := object{"id": "default"}
	request := object{"auth": object{
		"identity": object{"methods": []string{"password"}, "password": object{
			"user": object{"name": who.user, "password": who.password, "domain": domain},
		}},
		"scope": object{"project": object{"name": who.project, "domain": domain}},
	}}
	content, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Token struct {
			User    struct{ ID string }
			Project struct{ ID string }
		}
	}
	header, err := c.request(ctx, "", http.MethodPost, c.url(Keystone)+"/v3/auth/tokens", "application/json", content, &answer)
	if err != nil {
		return nil, err
	}
	return &client{
		cloud: c, ledger: ledger, token: header.Get("X-Subject-Token"),
		userID: answer.Token.User.ID, projectID: answer.Token.Project.ID, requestID: header.Get("X-Openstack-Request-Id"),
	}, nil
}

// newKey is a key as keystone keeps them.
func newKey() string {
	var key [32]byte
	_, _ = rand.Read(key[:])
	return base64.URLEncoding.EncodeToString(key[:])
}

// fillCatalogue creates the services' users and says where they answer.
func (c *Cloud) fillCatalogue(ctx context.Context) error {
	admin, err := c.logIn(ctx, nil, admin())
	if err != nil {
		return err
	}
	keystone := c.url(Keystone) + "/v3"
	create := func(path, key string, fields object) (string, error) {
		var answer map[string]struct{ ID string }
		err := admin.call(ctx, http.MethodPost, keystone+path, object{key: fields}, &answer)
		return answer[key].ID, err
	}
	var roles struct{ Roles []struct{ ID string } }
	if err := admin.call(ctx, http.MethodGet, keystone+"/roles?name=admin", nil, &roles); err != nil {
		return err
	}
	project, err := create("/projects", "project", object{"name": "service", "domain_id": "default"})
	if err != nil {
		return err
	}
	for _, s := range c.services {
		if s.kind == "" {
			continue // keystone entered itself
		}
		user, err := create("/users", "user", object{"name": s.name, "password": password, "domain_id": "default"})
		if err != nil {
			return err
		}
		c.users = append(c.users, user)
		grant := fmt.Sprintf("%s/projects/%s/users/%s/roles/%s", keystone, project, user, roles.Roles[0].ID)
		if err := admin.call(ctx, http.MethodPut, grant, nil, nil); err != nil {
			return err
		}
		id, err := create("/services", "service", object{"name": s.name, "type": s.kind})
		if err != nil {
			return err
		}
		for _, who := range []string{"public", "internal", "admin"} {
			_, err := create("/endpoints", "endpoint", object{
				"interface": who, "region_id": "RegionOne", "service_id": id, "url": c.url(s.name) + s.path,
			})
			if err != nil {
				return err
			}
		}
	}
	c.project = project
	return nil
}

// isStatus tells whether the error is an answer with this status.
func isStatus(err error, status int) bool {
	var e *statusError
	return errors.As(err, &e) && e.status == status
}
