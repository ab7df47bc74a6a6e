package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
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
	if got := r.post(t, body, "Stripe-Signature", good); got.status != http.StatusConflict || r.reasons(reasonReplayed) != 1 {
		t.Errorf("again: %v", got)
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

// What is remembered of signatures is bounded in time, and what is on its way is neither taken twice nor lost.
func TestTaken(t *testing.T) {
	k := &taken{keep: time.Minute, known: map[[sha256.Size]byte]*takenAt{}}
	name := func(n byte) [sha256.Size]byte { return [sha256.Size]byte{n} }
	now := time.Unix(0, 0)
	status := func(n byte) int {
		if refused := k.begin(name(n), now); refused != nil {
			return refused.status
		}
		return 0
	}
	if got := status(1); got != 0 {
		t.Errorf("the first time: %d", got)
	}
	if got := status(1); got != http.StatusServiceUnavailable {
		t.Errorf("while it is on its way: %d", got)
	}
	k.end(name(1), false)
	if got := status(1); got != 0 {
		t.Errorf("after it came to nothing: %d", got)
	}
	k.end(name(1), true)
	if got := status(1); got != http.StatusConflict {
		t.Errorf("after it was taken: %d", got)
	}
	now = now.Add(2 * time.Minute)
	if status(2); len(k.known) != 1 || len(k.order) != 1 {
		t.Errorf("%d are remembered, in a row of %d", len(k.known), len(k.order))
	}
}

// Nobody gets through without the secret, whatever the headers are.
func FuzzSignature(f *testing.F) {
	f.Add("t=1,v1=00", "1", []byte("body"))
	f.Add("v1,AAAA v1,=", "id", []byte(""))
	f.Add("sha256=", "", []byte("{}"))
	var all []*verifier
	for _, scheme := range []string{"github", "slack", "stripe"} {
		v, err := newVerifier(HMAC{Scheme: scheme, Secret: "a secret that nobody guesses"})
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, v)
	}
	f.Fuzz(func(t *testing.T, signature, at string, body []byte) {
		for _, v := range all {
			h := http.Header{}
			h.Set(v.cfg.TimestampHeader, at)
			h.Set(v.cfg.Header, signature)
			if _, refused := v.check(h, body, time.Now()); refused == nil {
				t.Fatalf("%s takes %q", v.cfg.Scheme, signature)
			}
		}
	})
}
