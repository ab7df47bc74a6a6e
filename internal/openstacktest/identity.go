package openstacktest

import (
	"context"
	"fmt"
	"net/http"

	"stackstream/event"
)

// identity has a domain, project, user, group and role come into being, have to do with one another, change and go.
func (c *client) identity(ctx context.Context, name string) error {
	s := c.script(ctx)
	domain := s.createIdentity("domain", object{"name": "d-" + name})
	project := s.createIdentity("project", object{"name": "p-" + name, "domain_id": "default", "description": "žluťoučký"})
	user := s.createIdentity("user", object{"name": "u-" + name, "domain_id": "default", "password": "secret"})
	group := s.createIdentity("group", object{"name": "g-" + name, "domain_id": "default"})
	role := s.createIdentity("role", object{"name": "r-" + name})
	if s.err != nil {
		return s.err
	}
	s.changeIdentity("project", project, object{"description": "changed"}, s.event("identity.project.updated", target("project", project)))
	s.changeIdentity("user", user, object{"email": "u@example.org"}, s.event("identity.user.updated", target("user", user)))

	membership := s.keystone("/groups/" + group + "/users/" + user)
	s.do("add to the group", http.MethodPut, membership, nil, s.event("identity.group.updated", target("group", group)))
	grant := s.keystone("/projects/" + project + "/users/" + user + "/roles/" + role)
	assigned := []event.Target{target("role", role), target("user", user), target("project", project)}
	s.do("grant the role", http.MethodPut, grant, nil, s.event("identity.role_assignment.created", assigned...))
	s.logIn(login{user: "u-" + name, password: "secret", project: "p-" + name})
	s.failToLogIn("u-"+name, user)
	s.do("revoke the role", http.MethodDelete, grant, nil, s.event("identity.role_assignment.deleted", assigned...))
	s.do("remove from the group", http.MethodDelete, membership, nil, s.event("identity.group.updated", target("group", group)))

	s.deleteIdentity("group", group)
	s.deleteIdentity("role", role)
	// Keystone forgets who it was when it tells that a user is deleted.
	s.do("delete user", http.MethodDelete, s.keystone("/users/"+user), nil,
		Event{Type: "identity.user.deleted", Targets: []event.Target{target("user", user)}})
	s.deleteIdentity("project", project)
	// A domain is a project, too, as soon as it changes.
	asProject := target("project", domain)
	s.changeIdentity("domain", domain, object{"enabled": false},
		s.event("identity.project.updated", asProject), s.event("identity.domain.updated", target("domain", domain)))
	s.do("delete domain", http.MethodDelete, s.keystone("/domains/"+domain), nil,
		s.event("identity.project.deleted", asProject), s.event("identity.domain.deleted", target("domain", domain)))
	return s.err
}

func (c *client) keystone(path string) string { return c.cloud.url(Keystone) + "/v3" + path }

func (s *script) createIdentity(kind string, fields object) string {
	return s.create(kind, s.keystone("/"+kind+"s"), fields, func(id string) []Event {
		return []Event{s.event("identity."+kind+".created", target(kind, id))}
	})
}

func (s *script) changeIdentity(kind, id string, fields object, follows ...Event) {
	s.do("change "+kind, http.MethodPatch, s.keystone("/"+kind+"s/"+id), object{kind: fields}, follows...)
}

func (s *script) deleteIdentity(kind, id string) {
	s.do("delete "+kind, http.MethodDelete, s.keystone("/"+kind+"s/"+id), nil, s.event("identity."+kind+".deleted", target(kind, id)))
}

func (s *script) logIn(who login) {
	if s.err == nil {
		_, s.err = s.cloud.tellLogIn(s.ctx, s.ledger, who)
	}
}

// failToLogIn tries a wrong password, which keystone tells, too.
func (s *script) failToLogIn(user, id string) {
	if s.err != nil {
		return
	}
	o := s.ledger.begin("fail to log in")
	_, err := s.cloud.logIn(s.ctx, nil, login{user: user, password: "wrong", project: "admin"})
	if !isStatus(err, http.StatusUnauthorized) {
		s.err = fmt.Errorf("log in with a wrong password: %w", err)
		return
	}
	o.done(authenticated(id))
}

// tellLogIn is logIn as an operation: keystone tells it.
func (c *Cloud) tellLogIn(ctx context.Context, ledger *Ledger, who login) (*client, error) {
	o := ledger.begin("log in")
	in, err := c.logIn(ctx, ledger, who)
	if err != nil {
		return nil, fmt.Errorf("log in as %s: %w", who.user, err)
	}
	o.done(in.answered([]Event{authenticated(in.userID)})...)
	return in, nil
}

// authenticated is what keystone tells of a login, whatever its outcome. It does not name the project.
func authenticated(user string) Event {
	return Event{Type: "identity.authenticate", Targets: []event.Target{target("user", user)}, User: user}
}
