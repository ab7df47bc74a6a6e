package webhook

import (
	"time"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/mapping"
	"stackstream/internal/records"
)

// Config is the configuration of the source.
type Config struct {
	// Listen is the address to listen on, host:port.
	Listen string `yaml:"listen"`
	// ListenPublic allows an address that others than this machine reach.
	ListenPublic bool `yaml:"listen_public"`
	// Path is where events are posted to. A GET there tells a load balancer whether this process takes events.
	Path string `yaml:"path"`
	// Format is what is posted: ceilometer is what the http publisher of Ceilometer's agent posts; cloudevents is version 1.0
	// of that (https://cloudevents.io), binary, structured or batched; json is any JSON, which records and event describe.
	Format string `yaml:"format" words:"ceilometer,cloudevents,json"`
	// Replicas is how many processes take events at once, behind a load balancer. It is the same in the configuration of all.
	Replicas int `yaml:"replicas"`
	// Window is how long an event is known again by its id, by whichever replica: what comes again within it is answered as stored
	// and not stored again. An id takes about 100 bytes of memory meanwhile, which limits.remembered bounds.
	Window time.Duration `yaml:"window"`
	// Refuse is what a sender sees of what can't be taken now, and could be later: the answer 503 or 429 with Retry-After, or that the
	// connection breaks, for senders that take any answer for a final one, and try again only where there was none.
	Refuse string `yaml:"refuse" words:"answer,disconnect"`

	TLS    TLS    `yaml:"tls"`
	Auth   Auth   `yaml:"auth"`
	Limits Limits `yaml:"limits"`

	Records Records `yaml:"records"`
	// Event says how a record of format: json becomes an event: an expression for each part, of rec, the record. A mapping that was
	// wrong can be mended and what was collected be normalized again: all but id is read when it is normalized.
	Event      mapping.Config          `yaml:"event"`
	EventTypes collectors.FilterConfig `yaml:"event_types"`
}

// TLS says how to speak TLS.
type TLS struct {
	// CertFile is a file with our certificate, and those that lead from it to one that senders trust, with KeyFile. Without it HTTP is
	// spoken.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the file with the key of CertFile.
	KeyFile string `yaml:"key_file"`
	// ClientCAFile is a file with the certificates that a sender's own must lead to; then a sender must have one.
	ClientCAFile string `yaml:"client_ca_file"`
	// ClientNames are the names of senders: one of them must be the common name or a DNS name of the sender's certificate. Empty: any.
	ClientNames []string `yaml:"client_names"`
	// MinVersion is the lowest version that is spoken.
	MinVersion string `yaml:"min_version" words:"1.2,1.3"`
}

// Auth says how a sender shows who it is. Where several are set all of them have to be right. A file with a secret may have several
// lines, each with one: any of them is right, so that it can be changed without a break.
type Auth struct {
	Bearer *Bearer `yaml:"bearer"`
	Basic  *Basic  `yaml:"basic"`
	HMAC   *HMAC   `yaml:"hmac"`
	// Anonymous allows senders that show nothing at all: on other machines, or behind something on this one that passes on what was
	// posted to another name.
	Anonymous bool `yaml:"anonymous"`
}

// Bearer is a token in a header.
type Bearer struct {
	// Token is the token; better in TokenFile.
	Token event.Secret `yaml:"token"`
	// TokenFile is a file with the token.
	TokenFile string `yaml:"token_file"`
	// Header is the name of the header. Without it, it is Authorization, where the word Bearer stands before the token.
	Header string `yaml:"header"`
}

// Basic is a user and a password (RFC 7617).
type Basic struct {
	// User is who the sender is.
	User string `yaml:"user"`
	// Password of User; better in PasswordFile.
	Password event.Secret `yaml:"password"`
	// PasswordFile is a file with the password of User.
	PasswordFile string `yaml:"password_file"`
}

// HMAC is a signature over what is posted, with a secret that both sides know. It covers no headers but those of the time and the id:
// CloudEvents in binary mode, and a charset other than UTF-8 unless all of the body is ASCII, are refused with it.
type HMAC struct {
	// Scheme is one that is used by many: its settings need not be set. custom: all of them are set below.
	Scheme string `yaml:"scheme" words:"custom,github,slack,stripe,standard-webhooks"`
	// Secret is the secret; better in SecretFile.
	Secret event.Secret `yaml:"secret"`
	// SecretFile is a file with the secret.
	SecretFile string `yaml:"secret_file"`
	// SecretPrefix is what stands before the secret and is no part of the key, and SecretEncoding how the rest is written.
	SecretPrefix string `yaml:"secret_prefix"`
	// SecretEncoding is how the key is written in the secret: as it is, or encoded.
	SecretEncoding string `yaml:"secret_encoding" words:",text,hex,base64"`
	// Algorithm is the hash.
	Algorithm string `yaml:"algorithm" words:",sha1,sha256,sha512"`
	// Header is the name of the header with the signature.
	Header string `yaml:"header"`
	// Separator is what stands between several signatures in the header; without it there is one.
	Separator string `yaml:"separator"`
	// Prefix is what stands before a signature.
	Prefix string `yaml:"prefix"`
	// Encoding is how a signature is written.
	Encoding string `yaml:"encoding" words:",hex,base64"`
	// Signs is what is signed: {body}, {timestamp} and {id} stand for those, all else for itself.
	Signs string `yaml:"signs"`
	// TimestampHeader is the name of the header with the time at which it was signed, in seconds since 1970.
	TimestampHeader string `yaml:"timestamp_header"`
	// TimestampPrefix is what stands before the time, where it is one of the parts of that header.
	TimestampPrefix string `yaml:"timestamp_prefix"`
	// IDHeader is the name of the header with the id of what is posted.
	IDHeader string `yaml:"id_header"`
	// Tolerance is how far the time may be from our clock. window has to be at least twice as long: what is posted again meanwhile is
	// known then, also by other replicas and after a restart.
	Tolerance time.Duration `yaml:"tolerance"`
}

// Limits protect this process, and those who send from others who do.
type Limits struct {
	// Body is the most that one request may have, also unpacked.
	Body int64 `yaml:"body,size"`
	// Events is the most events that one request may have.
	Events int `yaml:"events"`
	// Rate is how many requests are taken in a second, of those whose sender is known; more are answered with 429. 0: as many as come.
	Rate int `yaml:"rate"`
	// Concurrent is how many requests are read at once. Where more come the one that has been read for the longest has to go.
	Concurrent int `yaml:"concurrent"`
	// Connections is how many connections there may be. Where more come, one goes that has brought nothing yet, or else one that is idle.
	Connections int `yaml:"connections"`
	// Pending is how many requests may wait to be stored, and PendingBytes how many bytes of them, those that are being read included.
	Pending int `yaml:"pending"`
	// PendingBytes is the most memory that requests may take.
	PendingBytes int64 `yaml:"pending_bytes,size"`
	// Remembered is how many events may be known again by their ids, those of all replicas together: window times what comes in a
	// second. Each takes about 100 bytes in each replica. More are answered with 503 until the window has let go of some.
	Remembered int `yaml:"remembered"`
	// HeaderTime is how long a sender may take for TLS and the header of a request.
	HeaderTime time.Duration `yaml:"header_time"`
	// ReadTime is how long a sender may take for the whole of a request.
	ReadTime time.Duration `yaml:"read_time"`
	// IdleTime is how long a connection may be idle.
	IdleTime time.Duration `yaml:"idle_time"`
	// AnswerTime is how long a request may wait to be stored until it is answered that this is not known. It should be below the time
	// that senders wait for.
	AnswerTime time.Duration `yaml:"answer_time"`
}

// Records says where in what is posted the records are, for format: json.
type Records struct {
	// Path is where the list is, like data.events; empty: all of it.
	Path string `yaml:"path"`
	// Shape is what is there: a list, an object whose values are the records, or one record; auto: a list or one.
	Shape records.Shape `yaml:"shape" words:"auto,list,values,one"`
	// Key is the name under which each record of shape: values gets the name that it has in the object.
	Key string `yaml:"key"`
	// OnMissing is what it means that nothing is there: an error, or that there are no records.
	OnMissing string `yaml:"on_missing" words:"error,empty"`
	// Expand is where in a record a list is whose elements are the events. Several paths lead into lists of lists, one after the
	// other.
	Expand []string `yaml:"expand"`
	// Parent is the name under which each of them gets the rest of its record: rec.batch.id, of two levels rec.batch.batch.id.
	Parent string `yaml:"parent"`
	// Filter is an expression: only records for which it is true are events.
	Filter string `yaml:"filter"`
}

// The formats.
const (
	formatCeilometer  = "ceilometer"
	formatCloudEvents = "cloudevents"
	formatJSON        = "json"
)

const refuseDisconnect = "disconnect"

// shapeAuto is a list of records, or one.
const shapeAuto records.Shape = "auto"

// Maps tells whether Event makes events of what is posted.
func (c Config) Maps() bool { return c.Format == formatJSON }

// Default has the settings used where the configuration names none.
func Default() Config {
	return Config{
		Listen: "127.0.0.1:8322", Path: "/events", Replicas: 1, Window: time.Hour, Refuse: "answer",
		TLS:     TLS{MinVersion: "1.2"},
		Records: Records{Shape: shapeAuto, OnMissing: "error"},
		Limits: Limits{
			Body: 8 << 20, Events: 10_000, Concurrent: 256, Connections: 1024, Pending: 10_000, PendingBytes: 64 << 20,
			Remembered: 20_000_000,
			HeaderTime: 5 * time.Second, ReadTime: 10 * time.Second, IdleTime: 2 * time.Minute, AnswerTime: 10 * time.Second,
		},
	}
}
