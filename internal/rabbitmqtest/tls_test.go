package rabbitmqtest_test

import (
	"errors"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"stackstream/internal/rabbitmqtest"
)

func TestTLS(t *testing.T) {
	ca := rabbitmqtest.NewCA(t)
	b := rabbitmqtest.Start(t, rabbitmqtest.TLS(ca))
	b.UserNamed(t, "collector", "/", ".*", ".*", ".*")
	user, password := b.User(t, "/", "", "", "")
	dial := func(cfg amqp.Config) error {
		c, err := amqp.DialConfig(b.TLSURL("/"), cfg)
		if err != nil {
			return err
		}
		return c.Close()
	}
	external := []amqp.Authentication{&amqp.ExternalAuth{}}
	known := ca.Config(ca.Issue(t, "collector"))
	if err := dial(amqp.Config{TLSClientConfig: known, SASL: external}); err != nil {
		t.Errorf("EXTERNAL with a certificate: %v", err)
	}
	plain := []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}}
	if err := dial(amqp.Config{TLSClientConfig: known, SASL: plain}); err != nil {
		t.Errorf("PLAIN with a certificate: %v", err)
	}
	if err := dial(amqp.Config{TLSClientConfig: ca.Config(ca.Issue(t, "nobody")), SASL: external}); !errors.Is(err, amqp.ErrCredentials) {
		t.Errorf("EXTERNAL as an unknown user: %v", err)
	}
	if err := dial(amqp.Config{TLSClientConfig: ca.Config(nil), SASL: plain}); err == nil {
		t.Error("a client without a certificate gets in")
	}
	other := rabbitmqtest.NewCA(t)
	if err := dial(amqp.Config{TLSClientConfig: ca.Config(other.Issue(t, "collector")), SASL: external}); err == nil {
		t.Error("a client with another authority's certificate gets in")
	}
	if err := dial(amqp.Config{TLSClientConfig: other.Config(ca.Issue(t, "collector")), SASL: external}); err == nil {
		t.Error("a client takes a broker with another authority's certificate")
	}
}
