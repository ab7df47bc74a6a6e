package webhook

import (
	"fmt"
	"net"
	"net/textproto"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"stackstream/internal/records"
	"stackstream/internal/setting"
)

const (
	minBody      = 1 << 10
	maxBody      = 256 << 20
	maxWindow    = 7 * 24 * time.Hour
	maxReplicas  = 32
	maxTolerance = time.Hour
)

// Problem is a mistake in the configuration: Field is the path of the setting.
type Problem struct{ Field, Msg string }

func (p Problem) String() string { return p.Field + ": " + p.Msg }

type problems []Problem

func (ps *problems) add(field, format string, args ...any) {
	*ps = append(*ps, Problem{field, fmt.Sprintf(format, args...)})
}

// Validate returns every mistake that shows without reading a file or listening.
func (c Config) Validate() []Problem {
	var ps problems
	for _, p := range setting.Check(c) {
		ps.add(p.Field, "%s", p.Msg)
	}
	c.validateListen(&ps)
	if !strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path, "?# ") {
		ps.add("path", "%q is no path like /events", c.Path)
	}
	if c.Replicas < 1 || c.Replicas > maxReplicas {
		ps.add("replicas", "must be from 1 to %d", maxReplicas)
	}
	if c.Window < time.Minute || c.Window > maxWindow {
		ps.add("window", "must be from 1m to %s", setting.FormatDuration(maxWindow))
	}
	c.TLS.validate(&ps)
	c.Auth.validate(&ps)
	c.validateReplay(&ps)
	c.Limits.validate(&ps)
	c.validateRecords(&ps)
	c.EventTypes.Problems(func(field, message string) { ps.add("event_types."+field, "%s", message) })
	return ps
}

func (c Config) validateListen(ps *problems) {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		ps.add("listen", "%q is no address like 127.0.0.1:8322", c.Listen)
		return
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		ps.add("listen", "%q has no port number", c.Listen)
	}
	if isLoopback(host) {
		return
	}
	if !c.ListenPublic {
		ps.add("listen", "%q is not a loopback address: set listen_public if others are meant to reach it", c.Listen)
	}
	if c.nobodyKnown() && !c.Auth.Anonymous {
		ps.add("auth", "is missing: anybody who reaches %s could post events (set auth.anonymous if that is meant)", c.Listen)
	}
}

// validateReplay sees that a signature is never good for longer than what it signs is known. The process that took it may be gone, and
// others never heard of it: all they have are the ids of the events.
func (c Config) validateReplay(ps *problems) {
	if c.Auth.HMAC == nil {
		return
	}
	h := c.Auth.HMAC.complete()
	if good := h.goodFor(); h.Tolerance <= maxTolerance && c.Window < good {
		ps.add("window", "must be at least %s, twice auth.hmac.tolerance: a signature is good for so long, and other replicas, or this "+
			"one after a restart, know what is posted again by the ids of its events alone", setting.FormatDuration(good))
	}
}

// nobodyKnown tells whether a sender need not show who it is.
func (c Config) nobodyKnown() bool {
	return c.Auth.Bearer == nil && c.Auth.Basic == nil && c.Auth.HMAC == nil && c.TLS.ClientCAFile == ""
}

// forThisMachine tells whether senders are known by nothing but that they are on this machine.
func (c Config) forThisMachine() bool {
	host, _, err := net.SplitHostPort(c.Listen)
	return err == nil && isLoopback(host) && c.nobodyKnown() && !c.Auth.Anonymous
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func (t TLS) validate(ps *problems) {
	switch {
	case t.CertFile == "" && t.KeyFile != "":
		ps.add("tls.cert_file", "is missing: tls.key_file is set")
	case t.CertFile != "" && t.KeyFile == "":
		ps.add("tls.key_file", "is missing: tls.cert_file is set")
	case t.CertFile == "" && t.ClientCAFile != "":
		ps.add("tls.cert_file", "is missing: only who speaks TLS can ask for certificates")
	}
	if len(t.ClientNames) > 0 && t.ClientCAFile == "" {
		ps.add("tls.client_ca_file", "is missing: tls.client_names are names in certificates")
	}
}

func (a Auth) validate(ps *problems) {
	if b := a.Bearer; b != nil {
		ps.secret("auth.bearer", "token", string(b.Token), b.TokenFile)
		ps.header("auth.bearer.header", b.Header)
		if a.Basic != nil && b.Header == "" {
			ps.add("auth.bearer.header", "is missing: auth.basic takes the header Authorization")
		}
	}
	if b := a.Basic; b != nil {
		if b.User == "" || strings.Contains(b.User, ":") {
			ps.add("auth.basic.user", "must be a name without a colon")
		}
		ps.secret("auth.basic", "password", string(b.Password), b.PasswordFile)
	}
	if a.HMAC != nil {
		a.HMAC.validate(ps)
	}
}

func (h HMAC) validate(ps *problems) {
	const at = "auth.hmac."
	ps.secret("auth.hmac", "secret", string(h.Secret), h.SecretFile)
	h.conflicts(ps)
	h = h.complete()
	if h.Header == "" {
		ps.add(at+"header", "is missing: the name of the header with the signature (or name a scheme)")
	}
	for field, name := range map[string]string{"header": h.Header, "timestamp_header": h.TimestampHeader, "id_header": h.IDHeader} {
		ps.header(at+field, name)
	}
	if _, err := parseSigned(h.Signs); err != nil {
		ps.add(at+"signs", "%s", err)
	}
	if strings.Contains(h.Signs, "{timestamp}") != (h.TimestampHeader != "") {
		ps.add(at+"timestamp_header", "and {timestamp} in signs need each other: a time that is not signed says nothing")
	}
	if strings.Contains(h.Signs, "{id}") && h.IDHeader == "" {
		ps.add(at+"id_header", "is missing: signs has {id}")
	}
	if h.Tolerance < 0 || h.Tolerance > maxTolerance {
		ps.add(at+"tolerance", "must be from 0 to 1h")
	}
	if h.TimestampHeader != "" && h.Tolerance == 0 {
		ps.add(at+"tolerance", "is missing: how far the time may be from our clock")
	}
}

// conflicts adds a problem for each setting that the scheme decides.
func (h HMAC) conflicts(ps *problems) {
	scheme, known := schemeOf(h.Scheme)
	if !known {
		return
	}
	own, theirs := reflect.ValueOf(h), reflect.ValueOf(scheme)
	for i := range own.NumField() {
		name, _, _ := setting.Tag(own.Type().Field(i))
		if name != "tolerance" && !theirs.Field(i).IsZero() && !own.Field(i).IsZero() {
			ps.add("auth.hmac."+name, "is decided by scheme: %s (set scheme: custom to set all)", h.Scheme)
		}
	}
}

func (l Limits) validate(ps *problems) {
	if l.Body < minBody || l.Body > maxBody {
		ps.add("limits.body", "must be from %s to %s", setting.FormatSize(minBody), setting.FormatSize(maxBody))
	}
	if l.PendingBytes < 2*l.Body {
		ps.add("limits.pending_bytes", "must be at least twice limits.body, %s", setting.FormatSize(2*l.Body))
	}
	if l.Rate < 0 {
		ps.add("limits.rate", "must not be negative")
	}
	for _, n := range []struct {
		name  string
		value int
	}{
		{"events", l.Events}, {"concurrent", l.Concurrent}, {"connections", l.Connections}, {"pending", l.Pending},
		{"remembered", l.Remembered},
	} {
		if n.value < 1 {
			ps.add("limits."+n.name, "must be at least 1")
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"header_time", l.HeaderTime}, {"read_time", l.ReadTime}, {"idle_time", l.IdleTime}, {"answer_time", l.AnswerTime}} {
		if d.value < 100*time.Millisecond || d.value > time.Hour {
			ps.add("limits."+d.name, "must be from 100ms to 1h")
		}
	}
}

func (c Config) validateRecords(ps *problems) {
	if c.Format != formatJSON {
		if slices.Contains(setting.WordsOf[Config]("Format"), c.Format) {
			for _, s := range []struct {
				name string
				set  bool
			}{{"records", !reflect.DeepEqual(c.Records, Default().Records)}, {"event", !reflect.ValueOf(c.Event).IsZero()}} {
				if s.set {
					ps.add(s.name, "is for format: json")
				}
			}
		}
		return
	}
	ps.path("records.path", c.Records.Path)
	if c.Records.Key != "" && c.Records.Shape != records.Values {
		ps.add("records.key", "is for shape: values")
	}
	for i, path := range c.Records.Expand {
		field := fmt.Sprintf("records.expand[%d]", i)
		if ps.path(field, path); path == "" {
			ps.add(field, "is empty")
		}
	}
	if c.Records.Parent != "" && len(c.Records.Expand) == 0 {
		ps.add("records.parent", "is for records.expand")
	}
	_, found := newRecordsFormat(c, "")
	*ps = append(*ps, found...)
}

func (ps *problems) path(field, path string) {
	names := strings.Split(path, ".")
	if path != "" && (slices.Contains(names, "") || names[0] == "$" || strings.ContainsAny(path, "[]*")) {
		ps.add(field, "%q is no path of names with dots between them, like data.events", path)
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

func (ps *problems) header(field, name string) {
	if name != "" && (textproto.TrimString(name) != name || strings.ContainsAny(name, " :\r\n\t")) {
		ps.add(field, "%q is no name of a header", name)
	}
}

// Doubts are what is no mistake and may yet be one.
func (c Config) Doubts() []Problem {
	var ps problems
	host, _, err := net.SplitHostPort(c.Listen)
	public := err == nil && !isLoopback(host)
	if public && c.TLS.CertFile == "" && (c.Auth.Bearer != nil || c.Auth.Basic != nil) {
		ps.add("tls.cert_file", "is missing: tokens and passwords go over the network unless something in front of this process "+
			"speaks TLS")
	}
	if h := c.Auth.HMAC; h != nil && h.complete().TimestampHeader == "" {
		ps.add("auth.hmac.timestamp_header", "is missing: what was signed once can be posted again later; within the window it is "+
			"known by the ids of its events, behind it it is stored again")
	}
	if c.Auth.HMAC != nil && c.Format == formatCloudEvents {
		ps.add("auth.hmac", "covers the body and no header: CloudEvents in binary mode are refused, as anybody could change what their "+
			"headers say; have senders post application/cloudevents+json")
	}
	if all := float64(c.Limits.Rate) * c.Window.Seconds(); all > float64(c.Limits.Remembered) {
		ps.add("limits.remembered", "is fewer than limits.rate lets in within window, which is at least %.0f events: when as many as it "+
			"allows have come, 503 is the answer until the window lets go of some; each takes about 100 bytes", all)
	}
	if c.Format == formatJSON && c.Event.ID == "" {
		ps.add("event.id", "is missing: an event is known again by all of its bytes, so that two that are alike are one")
	}
	if need := 4*c.Limits.Body + eventCost*int64(c.Limits.Events); c.Limits.PendingBytes < need {
		ps.add("limits.pending_bytes", "is less than %s: what a request is taken apart into counts as well, so that one of "+
			"limits.body with limits.events events may never be taken", setting.FormatSize(need))
	}
	if c.Format == formatCeilometer && c.Refuse != refuseDisconnect {
		ps.add("refuse", "is answer: Ceilometer's agent loses what is answered with 503; with disconnect, and ack_on_event_error = False "+
			"in its configuration, it tries again")
	}
	return ps
}
