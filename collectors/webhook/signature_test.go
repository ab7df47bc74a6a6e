package webhook

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/event"
)

// Signatures that the documentation of their senders has as examples.
func TestPublishedSignatures(t *testing.T) {
	for name, test := range map[string]struct {
		scheme, secret, body string
		headers              map[string]string
		now                  int64
	}{
		"github": {"github", "It's a Secret to Everybody", "Hello, World!", map[string]string{
			"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
		}, 0},
		"slack": {
			"slack", "8f742231b10e8888abcd99yyyzzz85a5",
			"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&" +
				"user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2F" +
				"commands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
			map[string]string{
				"X-Slack-Signature":         "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
				"X-Slack-Request-Timestamp": "1531420618",
			}, 1531420618,
		},
		"standard-webhooks": {
			"standard-webhooks", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", `{"test": 2432232314}`, map[string]string{
				"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
				"webhook-signature": "v1,xxx v2,abc v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
			}, 1614265330,
		},
	} {
		v, err := newVerifier(HMAC{Scheme: test.scheme, Secret: event.Secret(test.secret)})
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		for name, value := range test.headers {
			h.Set(name, value)
		}
		if _, refused := v.check(h, []byte(test.body), time.Unix(test.now+60, 0)); refused != nil {
			t.Errorf("%s: %v", name, refused)
		}
		if _, refused := v.check(h, []byte(test.body+" "), time.Unix(test.now, 0)); refused == nil || refused.reason != reasonForged {
			t.Errorf("%s: another body is taken: %v", name, refused)
		}
		if test.now == 0 {
			continue
		}
		for _, off := range []int64{-301, 301} {
			if _, refused := v.check(h, []byte(test.body), time.Unix(test.now+off, 0)); refused == nil || refused.reason != reasonOld {
				t.Errorf("%s: %d s away from its time it is taken: %v", name, off, refused)
			}
		}
	}
}

// stripe signs as that sender does: time and signatures in one header.
func stripe(secret string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.%s", at.Unix(), body)
	return fmt.Sprintf("t=%d,v0=00,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}

func TestForgedAndReplayed(t *testing.T) {
	r := newRig(t, formatCeilometer, func(c *Config) {
		c.Auth.HMAC = &HMAC{Scheme: "stripe", SecretFile: write(t, "new secret\nold secret\n")}
	})
	body := ceilometerBody("a")
	good := stripe("old secret", time.Now(), body)
	for name, header := range map[string]string{
		"none": "", "another secret": stripe("secret", time.Now(), body), "another body": stripe("old secret", time.Now(), []byte("x")),
		"no time": good[strings.Index(good, ",")+1:], "two times": "t=1," + good, "another time": "t=1" + good[strings.Index(good, ","):],
		"cut off": good[:len(good)-2], "many": strings.Repeat("v1=00,", 1000) + good, "no hex": "t=1,v1=zz",
	} {
		if got := r.post(t, body, "Stripe-Signature", header); got.status != 401 || got.Field != "Stripe-Signature" {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := r.post(t, body, "Stripe-Signature", stripe("new secret", time.Now().Add(-time.Hour), body)); got.status != 401 {
		t.Errorf("an old one: %v", got)
	}
	if n := r.reasons(reasonForged); n != 9 || r.reasons(reasonOld) != 1 {
		t.Errorf("%d are counted as forged, %d as old", n, r.reasons(reasonOld))
	}
	if got := r.post(t, body, "Stripe-Signature", good); got.status != 200 || got.N != 1 {
		t.Fatalf("a good one: %v", got)
	}
	refused := len(r.refused)
	if got := r.post(t, body, "Stripe-Signature", good); got.status != 200 || got.N != 1 || r.repeated() != 1 || len(r.refused) != refused {
		t.Errorf("again: %v, and %d are counted", got, r.repeated())
	}
	if got := r.log.IDs(cloud); len(got) != 1 {
		t.Errorf("stored is %v", got)
	}
}

// What was signed and could not be stored may be posted again as it is.
func TestSignedAgainAfterARefusal(t *testing.T) {
	r := newRig(t, formatCeilometer, func(c *Config) { c.Auth.HMAC = &HMAC{Scheme: "stripe", Secret: "s"} })
	body := ceilometerBody("a")
	header := stripe("s", time.Now(), body)
	r.stop()
	if got := r.post(t, body, "Stripe-Signature", header); got.status != 503 || got.header.Get("Retry-After") != "1" {
		t.Fatalf("while nothing is at work: %v", got)
	}
	r.start(t)
	if got := r.post(t, body, "Stripe-Signature", header); got.status != 200 {
		t.Errorf("again: %v", got)
	}
}

func TestCustomSignature(t *testing.T) {
	key := []byte{0, 1, 2, 255}
	v, err := newVerifier(HMAC{
		Scheme: "custom", Secret: event.Secret(hex.EncodeToString(key)), SecretEncoding: "hex", Header: "X-Sum", Encoding: "base64",
		Signs: "<{body}>",
	})
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("<b>"))
	h := http.Header{"X-Sum": {base64.StdEncoding.EncodeToString(mac.Sum(nil))}}
	if _, refused := v.check(h, []byte("b"), time.Now()); refused != nil {
		t.Error(refused)
	}
}

// What comes again while the first is on its way is answered as that is: with success where it is stored, and else so that it is
// posted once more.
func TestSignedAgainOnTheWay(t *testing.T) {
	cfg := config(formatCeilometer, nil)
	h := &handler{front: newFront(cfg, options(nil))}
	for _, test := range []struct {
		name         string
		ends, stored bool
		want         outcome
		reason       string
		after        time.Duration
	}{
		{"stored", true, true, outcome{events: 2, again: true}, "", time.Second},
		{"not known", true, false, outcome{}, reasonUnsettled, time.Second},
		{"late", false, false, outcome{}, reasonLate, cfg.Limits.AnswerTime},
	} {
		synctest.Test(t, func(t *testing.T) {
			k, began := newTaken(time.Minute), time.Now()
			entry, _ := k.begin(signed{}, began)
			if test.ends {
				time.AfterFunc(test.after, func() { k.end(entry, 2, test.stored) })
			}
			before, _ := k.begin(signed{}, time.Now())
			done, refused := h.again(before)
			reason := ""
			if refused != nil {
				reason = refused.reason
			}
			if took := time.Since(began); done != test.want || reason != test.reason || took != test.after {
				t.Errorf("%s: %+v, %v, after %s", test.name, done, refused, took)
			}
		})
	}
}

// What was undone is taken when it comes again, with the same signature.
func TestSignedAgainWhereUndone(t *testing.T) {
	r := newRig(t, formatCeilometer, func(c *Config) { c.Auth.HMAC = &HMAC{Scheme: "stripe", Secret: "s"} })
	end := r.stall(t)
	body := ceilometerBody("a", "b")
	header := stripe("s", time.Now(), body)
	end(false)
	for i, want := range []int{503, 200, 200} {
		for !r.front.works() {
			<-time.After(time.Millisecond)
		}
		if got := r.post(t, body, "Stripe-Signature", header); got.status != want || want == 200 && got.N != 2 {
			t.Errorf("time %d it is answered with %v, want %d", i, got, want)
		}
	}
	if n := len(r.log.IDs(cloud)); n != 2 || r.reasons(reasonUnsettled) != 1 || r.repeated() != 1 {
		t.Errorf("%d events are stored, %d not settled, %d repeated", n, r.reasons(reasonUnsettled), r.repeated())
	}
}

// What is posted again to another replica, or to this one after a restart, is known by the ids of its events.
func TestSignedAgainAfterARestart(t *testing.T) {
	change := func(c *Config) { c.Auth.HMAC = &HMAC{Scheme: "stripe", Secret: "s"} }
	first, then := newRig(t, formatCeilometer, change), newRig(t, formatCeilometer, change)
	body := ceilometerBody("a")
	header := stripe("s", time.Now(), body)
	post := func(to *rig) {
		if got := to.post(t, body, "Stripe-Signature", header); got.status != 200 || got.N != 1 {
			t.Errorf("it is answered with %v", got)
		}
	}
	post(first)
	first.stop()
	then.stop()
	then.log = first.log
	then.start(t)
	post(then)
	post(then)
	if n := len(first.log.IDs(cloud)); n != 1 {
		t.Errorf("it is stored %d times", n)
	}
	if then.repeated() != 1 {
		t.Errorf("%d are known by the signature", then.repeated())
	}
}

// What is remembered of signatures is bounded in time and in number, and what came to nothing is taken again.
func TestTaken(t *testing.T) {
	k := newTaken(time.Minute)
	name := func(n int) (s signed) { binary.BigEndian.PutUint32(s[:], uint32(n)); return s }
	now := time.Unix(0, 0)
	entry, first := k.begin(name(1), now)
	if !first {
		t.Error("the first time it is none")
	}
	if again, first := k.begin(name(1), now); first || again != entry {
		t.Error("while it is on its way it is taken again")
	}
	k.end(entry, 0, false)
	if entry, first = k.begin(name(1), now); !first {
		t.Error("what came to nothing is not taken again")
	}
	k.end(entry, 7, true)
	if again, first := k.begin(name(1), now.Add(time.Minute)); first || !again.stored || again.events != 7 {
		t.Errorf("what is stored is taken again: %+v", again)
	}
	now = now.Add(2 * time.Minute)
	if k.begin(name(2), now); len(k.known) != 1 || len(k.order) != 1 {
		t.Errorf("%d are remembered, in a row of %d", len(k.known), len(k.order))
	}
	k.most = 10
	for n := range 40 {
		entry, _ := k.begin(name(3+n), now)
		k.end(entry, 1, n%3 > 0)
	}
	if n := len(k.order); n > k.most || len(k.known) > n {
		t.Errorf("%d are remembered, in a row of %d", len(k.known), n)
	}
	none := newTaken(0)
	for range 2 {
		if _, first := none.begin(name(1), now); !first || len(none.known) > 0 {
			t.Error("what has no time is remembered")
		}
	}
}

// Whoever knows the secret gets through, and nobody else, whatever the headers are.
func FuzzSignature(f *testing.F) {
	f.Add("t=1,v1=00", "1", "", []byte("body"))
	f.Add("v1,AAAA v1,=", "1", "id", []byte(""))
	f.Add("sha256=", "", "", []byte("{}"))
	f.Add("00;;AAAA", "-1", "a.b", []byte("\xff"))
	secrets := map[string]string{
		"standard-webhooks": "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret that nobody guesses")),
	}
	configs := []HMAC{
		{Scheme: "github"}, {Scheme: "slack"}, {Scheme: "stripe"}, {Scheme: "standard-webhooks"},
		{Scheme: "custom", Algorithm: "sha1", Header: "X-Sum", Separator: ";", Encoding: "base64", Signs: "{body}"},
		{
			Scheme: "custom", Algorithm: "sha512", Header: "X-Sum", Prefix: "s=", Signs: "{id}/{timestamp}/{body}/{id}", IDHeader: "X-Id",
			TimestampHeader: "X-At", TimestampPrefix: "at ",
		},
	}
	var all []*verifier
	for _, cfg := range configs {
		cfg.Secret = event.Secret(cmp.Or(secrets[cfg.Scheme], "a secret that nobody guesses"))
		v, err := newVerifier(cfg)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, v)
	}
	f.Fuzz(func(t *testing.T, signature, at, id string, body []byte) {
		for _, v := range all {
			h := http.Header{}
			h.Set(v.cfg.IDHeader, id)
			h.Set(v.cfg.TimestampHeader, at)
			h.Set(v.cfg.Header, signature)
			if _, refused := v.check(h, body, time.Now()); refused == nil {
				t.Fatalf("%s takes %q", v.cfg.Scheme, signature)
			}
			honest := v.headers(id, time.Now(), body)
			if _, refused := v.check(honest, body, time.Now()); refused != nil {
				t.Fatalf("%s refuses what is signed: %v", v.cfg.Scheme, refused)
			}
			if _, refused := v.check(honest, append(body, 0), time.Now()); refused == nil {
				t.Fatalf("%s takes another body", v.cfg.Scheme)
			}
		}
	})
}

// headers are those of who knows the secret.
func (v *verifier) headers(id string, at time.Time, body []byte) http.Header {
	h, stamp := http.Header{}, strconv.FormatInt(at.Unix(), 10)
	h.Set(v.cfg.IDHeader, id)
	sum := v.sign(v.keys[0], map[string]string{"id": id, "timestamp": stamp}, body)
	signature := hex.EncodeToString(sum)
	if v.cfg.Encoding == "base64" {
		signature = base64.StdEncoding.EncodeToString(sum)
	}
	h.Set(v.cfg.TimestampHeader, v.cfg.TimestampPrefix+stamp)
	signature = v.cfg.Prefix + signature
	if v.cfg.TimestampHeader == v.cfg.Header {
		signature = v.cfg.TimestampPrefix + stamp + v.cfg.Separator + signature
	}
	h.Set(v.cfg.Header, signature)
	return h
}
