package author

import (
	"reflect"
	"strings"

	"stackstream/event"
	"stackstream/internal/cassette"
	"stackstream/internal/openstack"
)

// secret is a setting that is one: in the configuration or in a file.
type secret struct{ value, file reflect.Value }

// secrets finds the settings of the type event.Secret, each with the one that names its file.
func secrets(v reflect.Value) []secret {
	var found []secret
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			found = secrets(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			switch {
			case !field.IsExported():
			case field.Type == reflect.TypeFor[event.Secret]():
				found = append(found, secret{v.Field(i), v.FieldByName(field.Name + "File")})
			default:
				found = append(found, secrets(v.Field(i))...)
			}
		}
	}
	return found
}

// redactor knows every secret of the configuration as it is now.
func (s *Subject) redactor() (*cassette.Redactor, error) {
	c := s.Config
	plain := []string{}
	for name := range c.Request.Headers {
		if !soundsSecret(name) {
			plain = append(plain, name)
		}
	}
	for _, send := range []struct{ in, name string }{
		{c.Cursor.Send.In, c.Cursor.Send.Name}, {c.Cursor.Send.In, c.Cursor.Send.Until}, {c.Pagination.Send.In, c.Pagination.Send.Name},
	} {
		if send.in == "header" && send.name != "" {
			plain = append(plain, send.name)
		}
	}
	r, err := cassette.NewRedactor(plain...)
	if err != nil {
		return nil, err
	}
	if key := c.Auth.APIKey; key != nil {
		r.Prefix(key.Prefix)
		if key.Also != nil {
			r.Prefix(key.Also.Prefix)
		}
	}
	if session := c.Auth.Session; session != nil {
		r.Prefix(session.Send.Prefix)
	}
	for _, name := range s.proofParameters() {
		r.Param(name)
	}
	return r, s.learn(r)
}

// proofParameters are the names of parameters of a query that prove who we are.
func (s *Subject) proofParameters() []string {
	var names []string
	if key := s.Config.Auth.APIKey; key != nil && key.In == "query" {
		names = append(names, key.Name)
	}
	if key := s.Config.Auth.APIKey; key != nil && key.Also != nil && key.Also.In == "query" {
		names = append(names, key.Also.Name)
	}
	if session := s.Config.Auth.Session; session != nil && session.Send.In == "query" {
		names = append(names, session.Send.Name)
	}
	return names
}

// learn tells a redactor the secrets as they are now: their files may have changed.
func (s *Subject) learn(r *cassette.Redactor) error {
	for _, found := range secrets(reflect.ValueOf(&s.Config)) {
		file := ""
		if found.file.IsValid() {
			file = found.file.String()
		}
		text, err := event.Secret(found.value.String()).OrFile("a secret", file)
		if err != nil {
			return err
		}
		r.Learn(text)
	}
	request := s.Config.Request.Body
	for _, values := range s.Config.Request.Query {
		request += "\n" + strings.Join(values, "\n")
	}
	for _, value := range s.Config.Request.Headers {
		request += "\n" + value
	}
	for _, value := range s.FromEnv {
		// What came from the environment into a request may be a secret; the address is none.
		if value != "" && strings.Contains(request, value) && !strings.Contains(s.Config.Request.URL, value) {
			r.Learn(value)
		}
	}
	return nil
}

// soundsSecret tells whether a header of this name may have something secret.
func soundsSecret(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"token", "secret", "key", "auth", "password", "session", "cookie", "signature", "credential"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// offline takes out of a configuration what is not there where a conversation is only played back: secrets, certificates, a
// proxy.
func (s *Subject) offline() {
	for _, found := range secrets(reflect.ValueOf(&s.Config)) {
		isFile := found.file.IsValid() && found.file.String() != ""
		if isFile {
			found.file.SetString("")
		}
		if isFile || found.value.String() != "" {
			found.value.SetString(cassette.Placeholder)
		}
	}
	s.Config.Request.HTTP.TLS, s.Config.Request.HTTP.Proxy = openstack.TLS{}, ""
}
