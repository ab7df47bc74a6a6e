package jetstream_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
)

// startServer runs a nats-server with the options that matter to the test.
func startServer(t *testing.T, change func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{
		ServerName: "test", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), DisableJetStreamBanner: true,
	}
	if change != nil {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server does not listen")
	}
	return s
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func wantConnected(t *testing.T, cfg jetstream.Config) *jetstream.Client {
	t.Helper()
	c, err := jetstream.Connect(testContext(t), cfg, zerolog.Nop(), jetstream.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(t.Context()) })
	if err := c.Healthy(); err != nil {
		t.Errorf("connected, and yet not healthy: %v", err)
	}
	if _, err := c.Conn().Request("$JS.API.INFO", nil, 10*time.Second); err != nil {
		t.Errorf("ask the server something: %v", err)
	}
	return c
}

// wantRefused expects jetstream.Connect to give up at once, with a text that has all of parts in it.
func wantRefused(t *testing.T, cfg jetstream.Config, parts ...string) {
	t.Helper()
	c, err := jetstream.Connect(testContext(t), cfg, zerolog.Nop(), jetstream.Hooks{})
	if err == nil {
		_ = c.Close(t.Context())
		t.Fatal("connected")
	}
	if event.KindOf(err) != event.Invalid {
		t.Errorf("%v: want the kind invalid", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %q, want %q in it", err, part)
		}
	}
}

func TestConnectWithPassword(t *testing.T) {
	s := startServer(t, func(o *server.Options) { o.Username, o.Password = "collector", "right" })
	cfg := jetstream.Config{URLs: []string{s.ClientURL()}, User: "collector", Password: "right"}
	wantConnected(t, cfg)

	cfg.Password, cfg.PasswordFile = "", writeFile(t, "right\n")
	wantConnected(t, cfg)

	cfg.PasswordFile = writeFile(t, "wrong\n")
	wantRefused(t, cfg, "connect to NATS", "Authorization Violation")
	cfg.PasswordFile = writeFile(t, " \n")
	wantRefused(t, cfg, "password_file", "is empty")
	cfg.PasswordFile = filepath.Join(t.TempDir(), "none")
	wantRefused(t, cfg, "password_file", "no such file")
	wantRefused(t, jetstream.Config{URLs: cfg.URLs}, "Authorization Violation")
}

func TestConnectWithTokenAndUrlList(t *testing.T) {
	s := startServer(t, func(o *server.Options) { o.Authorization = "right" })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close() // nobody is there now
	wantConnected(t, jetstream.Config{
		URLs: []string{"nats://" + closed.Addr().String(), s.ClientURL()}, TokenFile: writeFile(t, "right\n"),
	})
	wantRefused(t, jetstream.Config{URLs: []string{s.ClientURL()}, TokenFile: writeFile(t, "wrong\n")}, "Authorization Violation")
}

func TestConnectWithNKey(t *testing.T) {
	seedOf := func(pair nkeys.KeyPair, err error) (seed, public string) {
		if err != nil {
			t.Fatal(err)
		}
		raw, err := pair.Seed()
		if err != nil {
			t.Fatal(err)
		}
		if public, err = pair.PublicKey(); err != nil {
			t.Fatal(err)
		}
		return string(raw), public
	}
	seed, public := seedOf(nkeys.CreateUser())
	stranger, _ := seedOf(nkeys.CreateUser())
	account, _ := seedOf(nkeys.CreateAccount())
	s := startServer(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	cfg := jetstream.Config{URLs: []string{s.ClientURL()}, NKeyFile: writeFile(t, seed+"\n")}
	wantConnected(t, cfg)

	cfg.NKeyFile = writeFile(t, stranger)
	wantRefused(t, cfg, "Authorization Violation")
	cfg.NKeyFile = writeFile(t, account)
	wantRefused(t, cfg, "nkey_file", "is not the seed of a user")
	cfg.NKeyFile = writeFile(t, "nonsense")
	wantRefused(t, cfg, "nkey_file")
	plain := startServer(t, nil)
	wantRefused(t, jetstream.Config{URLs: []string{plain.ClientURL()}, NKeyFile: writeFile(t, seed)}, "nkeys not supported")
}

func TestConnectWithCredentials(t *testing.T) {
	operator, system, account, user := newKey(t, nkeys.CreateOperator), newKey(t, nkeys.CreateAccount),
		newKey(t, nkeys.CreateAccount), newKey(t, nkeys.CreateUser)
	operatorClaims := jwt.NewOperatorClaims(operator.public)
	accountClaims := jwt.NewAccountClaims(account.public)
	accountClaims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1}
	systemClaims := jwt.NewAccountClaims(system.public)
	accounts := &server.MemAccResolver{}
	for public, claims := range map[string]*jwt.AccountClaims{account.public: accountClaims, system.public: systemClaims} {
		text, err := claims.Encode(operator.pair)
		if err != nil {
			t.Fatal(err)
		}
		if err := accounts.Store(public, text); err != nil {
			t.Fatal(err)
		}
	}
	s := startServer(t, func(o *server.Options) {
		o.TrustedOperators = []*jwt.OperatorClaims{operatorClaims}
		o.AccountResolver = accounts
		o.SystemAccount = system.public
	})
	credentials := func(expires time.Time) string {
		claims := jwt.NewUserClaims(user.public)
		claims.Expires = expires.Unix()
		text, err := claims.Encode(account.pair)
		if err != nil {
			t.Fatal(err)
		}
		file, err := jwt.FormatUserConfig(text, user.seed)
		if err != nil {
			t.Fatal(err)
		}
		return writeFile(t, string(file))
	}
	cfg := jetstream.Config{URLs: []string{s.ClientURL()}, CredentialsFile: credentials(time.Now().Add(time.Hour))}
	wantConnected(t, cfg)
	cfg.CredentialsFile = credentials(time.Now().Add(-time.Hour))
	wantRefused(t, cfg, "connect to NATS")
	cfg.CredentialsFile = filepath.Join(t.TempDir(), "none")
	wantRefused(t, cfg, "credentials_file", "no such file")
}

type key struct {
	pair   nkeys.KeyPair
	public string
	seed   []byte
}

func newKey(t *testing.T, create func() (nkeys.KeyPair, error)) key {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return key{pair, public, seed}
}

func TestConnectWaitsForAServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().(*net.TCPAddr)
	_ = l.Close()

	ctx, cancel := context.WithCancelCause(testContext(t))
	cfg := jetstream.Config{URLs: []string{"nats://" + address.String()}}
	tried := make(chan struct{})
	log := zerolog.New(writerFunc(func([]byte) { close(tried) })) // it logs once, however often it tries
	failed := make(chan error, 1)
	go func() {
		_, err := jetstream.Connect(ctx, cfg, log, jetstream.Hooks{})
		failed <- err
	}()
	<-tried
	cancel(errors.New("enough"))
	if err := <-failed; event.KindOf(err) != event.Unavailable || !strings.Contains(err.Error(), "no servers available") {
		t.Errorf("without a server: %v, want the kind unavailable and the last error", err)
	}

	got := make(chan error, 1)
	tried = make(chan struct{})
	log = zerolog.New(writerFunc(func(line []byte) {
		if strings.Contains(string(line), "trying on") {
			close(tried)
		}
	}))
	go func() {
		c, err := jetstream.Connect(testContext(t), cfg, log, jetstream.Hooks{})
		if err == nil {
			err = c.Close(t.Context())
		}
		got <- err
	}()
	<-tried
	startServer(t, func(o *server.Options) { o.Port = address.Port })
	if err := <-got; err != nil {
		t.Errorf("with a server that came late: %v", err)
	}
}

type writerFunc func(line []byte)

func (f writerFunc) Write(line []byte) (int, error) {
	f(line)
	return len(line), nil
}

func TestConnectRefusesServersWithoutJetStream(t *testing.T) {
	off := startServer(t, func(o *server.Options) { o.JetStream = false })
	wantRefused(t, jetstream.Config{URLs: []string{off.ClientURL()}}, `JetStream is not enabled on server "test"`)
}
