package openstack

import (
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"stackstream/event"
)

// Auth says who we are to Keystone: a user with a password and a project, or an application credential.
type Auth struct {
	// URL of Keystone, with or without /v3 at its end.
	URL string `yaml:"url"`

	// User is the name of the user, in Domain or DomainID.
	User string `yaml:"user"`
	// UserID says who the user is, in place of User and a domain.
	UserID string `yaml:"user_id"`
	// Domain is the name of the user's domain, often Default.
	Domain string `yaml:"domain"`
	// DomainID is the id of the user's domain, in place of Domain.
	DomainID string `yaml:"domain_id"`

	// Password of the user; better in PasswordFile.
	Password event.Secret `yaml:"password"`
	// PasswordFile is a file with the password of the user.
	PasswordFile string `yaml:"password_file"`

	// Project is the name of the project to work in. It is looked up in ProjectDomain or ProjectDomainID, else in the user's domain.
	Project string `yaml:"project"`
	// ProjectID is the id of the project to work in, in place of Project.
	ProjectID string `yaml:"project_id"`
	// ProjectDomain is the name of the project's domain.
	ProjectDomain string `yaml:"project_domain"`
	// ProjectDomainID is the id of the project's domain, in place of ProjectDomain.
	ProjectDomainID string `yaml:"project_domain_id"`

	// ApplicationCredential says who we are in place of a user, a password and a project.
	ApplicationCredential ApplicationCredential `yaml:"application_credential"`
}

// ApplicationCredential is known by its ID, or by its Name together with the user of Auth. It carries its project.
type ApplicationCredential struct {
	// ID of the credential, which is enough to find it.
	ID string `yaml:"id"`
	// Name of the credential, in place of ID; it is looked up with the user.
	Name string `yaml:"name"`
	// Secret of the credential; better in SecretFile.
	Secret event.Secret `yaml:"secret"`
	// SecretFile is a file with the secret of the credential.
	SecretFile string `yaml:"secret_file"`
}

func (a ApplicationCredential) set() bool { return a != ApplicationCredential{} }

// Validate returns every mistake that shows without reading a file or asking Keystone.
func (a Auth) Validate() []Problem {
	var found problems
	if a.URL == "" {
		found.add("url", "is missing: the address of Keystone, like https://host:5000/v3")
	} else if msg := CheckURL(a.URL); msg != "" {
		found.add("url", "%s", msg)
	} else if strings.HasSuffix(strings.TrimRight(a.URL, "/"), "/v2.0") {
		found.add("url", "is for Keystone version 2, which is not spoken: give it without /v2.0")
	}
	if a.ApplicationCredential.set() {
		a.validateCredential(&found)
	} else {
		a.validatePassword(&found)
	}
	found.exclusive("user", a.User, "user_id", a.UserID)
	found.exclusive("domain", a.Domain, "domain_id", a.DomainID)
	found.exclusive("project", a.Project, "project_id", a.ProjectID)
	found.exclusive("project_domain", a.ProjectDomain, "project_domain_id", a.ProjectDomainID)
	found.exclusive("password", string(a.Password), "password_file", a.PasswordFile)
	if a.UserID != "" && a.Domain+a.DomainID != "" && a.Project == "" {
		found.add("domain", "is not needed: user_id is unique in all domains")
	}
	return found
}

func (ps *problems) exclusive(field, value, other, otherValue string) {
	if value != "" && otherValue != "" {
		ps.add(other, "can't be set together with %s", field)
	}
}

func (a Auth) validateCredential(found *problems) {
	c := a.ApplicationCredential
	found.exclusive("application_credential.id", c.ID, "application_credential.name", c.Name)
	found.exclusive("application_credential.secret", string(c.Secret), "application_credential.secret_file", c.SecretFile)
	if c.ID == "" && c.Name == "" {
		found.add("application_credential.id", "is missing (or give the name, with the user it belongs to)")
	}
	if c.Secret == "" && c.SecretFile == "" {
		found.add("application_credential.secret_file", "is missing (or set secret)")
	}
	if a.Password != "" || a.PasswordFile != "" {
		found.add("password", "can't be set together with application_credential: one of them says who we are")
	}
	if a.Project+a.ProjectID+a.ProjectDomain+a.ProjectDomainID != "" {
		found.add("project", "can't be set together with application_credential, which carries its project")
	}
	switch {
	case c.Name == "" && a.User+a.UserID+a.Domain+a.DomainID != "":
		found.add("user", "can't be set together with application_credential.id, which is enough")
	case c.Name != "" && a.User+a.UserID == "":
		found.add("user", "is missing: an application credential's name is looked up with its user")
	case c.Name != "" && a.User != "" && a.Domain+a.DomainID == "":
		found.add("domain", "is missing: the domain of the user, often Default")
	}
}

func (a Auth) validatePassword(found *problems) {
	if a.User == "" && a.UserID == "" {
		found.add("user", "is missing (or set user_id or application_credential)")
	}
	if a.Password == "" && a.PasswordFile == "" {
		found.add("password_file", "is missing (or set password)")
	}
	if a.User != "" && a.Domain+a.DomainID == "" {
		found.add("domain", "is missing: the domain of the user, often Default")
	}
	switch {
	case a.Project == "" && a.ProjectID == "":
		found.add("project", "is missing (or set project_id): the event service answers for a project")
	case a.Project != "" && a.ProjectDomain+a.ProjectDomainID+a.Domain+a.DomainID == "":
		found.add("project_domain", "is missing: the domain of the project, often Default")
	case a.Project == "" && a.ProjectDomain+a.ProjectDomainID != "":
		found.add("project_domain", "is not needed: project_id is unique in all domains")
	}
}

// options reads the secret, anew each time so that its file may be replaced while the process runs, and puts everything into
// gophercloud's form. It also returns the secret, which must not be shown.
func (a Auth) options() (opts gophercloud.AuthOptions, secret string, err error) {
	c := a.ApplicationCredential
	if c.set() {
		secret, err = c.Secret.OrFile("auth.application_credential.secret_file", c.SecretFile)
		return gophercloud.AuthOptions{
			ApplicationCredentialID: c.ID, ApplicationCredentialName: c.Name, ApplicationCredentialSecret: secret,
			Username: a.User, UserID: a.UserID, DomainName: a.Domain, DomainID: a.DomainID,
		}, secret, err
	}
	secret, err = a.Password.OrFile("auth.password_file", a.PasswordFile)
	opts = gophercloud.AuthOptions{
		Username: a.User, UserID: a.UserID, Password: secret,
		Scope: &gophercloud.AuthScope{ProjectID: a.ProjectID, ProjectName: a.Project},
	}
	if a.UserID == "" {
		opts.DomainName, opts.DomainID = a.Domain, a.DomainID
	}
	if a.Project != "" {
		opts.Scope.DomainName, opts.Scope.DomainID = a.ProjectDomain, a.ProjectDomainID
		if a.ProjectDomain+a.ProjectDomainID == "" {
			opts.Scope.DomainName, opts.Scope.DomainID = a.Domain, a.DomainID
		}
	}
	return opts, secret, err
}
