package rules

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stackstream/internal/rawjson"
)

func TestRedact(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		count          int
	}{
		{"nothing to do", `{"a": [1.10, {"b": "c"}], "tokens": 3}`, `{"a": [1.10, {"b": "c"}], "tokens": 3}`, 0},
		{"any spelling", `{"X-Auth-Token":"a","auth_token":"b","adminPass":"c","_context_auth_token":"d","OS_PASSWORD":"e"}`,
			`{"X-Auth-Token":"***","auth_token":"***","adminPass":"***","_context_auth_token":"***","OS_PASSWORD":"***"}`, 5},
		{"what a user has put into an instance", `{"user_data":"x","injected_files":[["p","x"]]}`,
			`{"user_data":"***","injected_files":"***"}`, 2},
		{"of the services themselves", `{"provider_auth":"CHAP u p","psk":"x","agent_secret_token":"y","new_pass":"z","sys_pswd":"a"}`,
			`{"provider_auth":"***","psk":"***","agent_secret_token":"***","new_pass":"***","sys_pswd":"***"}`, 5},
		{"names that only look like it", `{"secret_uuid":"x","key_name":"k","public_key":"p","resource_type":"token"}`,
			`{"secret_uuid":"x","key_name":"k","public_key":"p","resource_type":"token"}`, 0},
		{"in lists and objects", `[{"a":{"password":1234}},{"b":[{"secret":["x",{"y":1}]}]}]`,
			`[{"a":{"password":"***"}},{"b":[{"secret":"***"}]}]`, 2},
		{"numbers beside it keep every digit", `{"n":123456789012345678901234567890.10,"password":"x","m":1e400}`,
			`{"n":123456789012345678901234567890.10,"password":"***","m":1e400}`, 1},
		{"an escaped name", `{"p\u0061ssword":"x"}`, `{"p\u0061ssword":"***"}`, 1},
		{"what is no secret", `{"password":null,"token":"","secret":{},"reset_password":true}`,
			`{"password":null,"token":"","secret":{},"reset_password":true}`, 0},
		{"a value that looks like a name", `{"a":"password","b":["password","token"]}`, `{"a":"password","b":["password","token"]}`, 0},
		{"of nova's objects", `{"_obj_user_data":"x","_obj_uuid":"u"}`, `{"_obj_user_data":"***","_obj_uuid":"u"}`, 1},
		{"a name of several kilobytes",
			`{"` + strings.Repeat("x", 5000) + `_password":"x"}`, `{"` + strings.Repeat("x", 5000) + `_password":"***"}`,
			1},
		{"space anywhere", "{ \"password\" :\n\"x\" , \"n\" : 1 }", "{ \"password\" :\n\"***\" , \"n\" : 1 }", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := NewRedactor(DefaultSecretKeys())
			if err != nil {
				t.Fatal(err)
			}
			in := parse(t, c.in)
			got, count := r.Redact(in)
			if string(got) != c.want || count != c.count {
				t.Errorf("got %s, %d", got, count)
			}
			if string(in) != c.in {
				t.Errorf("the argument was changed to %s", in)
			}
		})
	}
}

func TestRedactPairs(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		count          int
	}{
		{"name and value", `[{"name":"admin_pass","value":"x"},{"name":"n","value":"y"}]`,
			`[{"name":"admin_pass","value":"***"},{"name":"n","value":"y"}]`, 1},
		{"key and value, the other way round", `{"id":1,"value":7,"key":"password","n":2}`, `{"id":1,"value":"***","key":"password","n":2}`, 1},
		{"values twice", `{"value":"x","name":"psk","value":"y"}`, `{"value":"***","name":"psk","value":"***"}`, 2},
		{"a triple", `{"traits":[["auth_token",1,"x"],["host",1,"y"]]}`, `{"traits":[["auth_token",1,"***"],["host",1,"y"]]}`, 1},
		{"no value", `[{"name":"password","value":null},{"name":"password","value":""},{"name":"password"},["token",1]]`,
			`[{"name":"password","value":null},{"name":"password","value":""},{"name":"password"},["token",1]]`, 0},
		{"no triple", `[["password","token","x"],["password",1,"x",2],["password",[1],"x"]]`,
			`[["password","token","x"],["password",1,"x",2],["password",[1],"x"]]`, 0},
		{"not one object", `[{"name":"password"},{"value":"x"},{"name":"password","a":{"value":"x"}}]`,
			`[{"name":"password"},{"value":"x"},{"name":"password","a":{"value":"x"}}]`, 0},
		{"a value with names of its own", `{"name":"password","value":{"token":"x","a":1}}`, `{"name":"password","value":{"token":"***","a":1}}`, 1},
		{"in a secret", `{"password":{"name":"password","value":"x"},"n":1}`, `{"password":"***","n":1}`, 1},
		{"with secrets before and behind", `[{"value":"x","password":"y","name":"psk"},{"token":"z"}]`,
			`[{"value":"***","password":"***","name":"psk"},{"token":"***"}]`, 3},
		{"text for a value", `{"name":"url","value":"http://u:x@h/"}`, `{"name":"url","value":"http://u:***@h/"}`, 1},
	} {
		t.Run(c.name, func(t *testing.T) { redacts(t, c.in, c.want, c.count) })
	}
}

func TestRedactText(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		count          int
	}{
		{"JSON", `{"driver_volume_type":"iscsi","data":{"auth_username":"u","auth_password":"x","n":1.10,"e":"\u00e9"}}`,
			`{"driver_volume_type":"iscsi","data":{"auth_username":"u","auth_password":"***","n":1.10,"e":"\u00e9"}}`, 1},
		{"JSON in JSON, with space around it", ` {"a":"[{\"token\":[1],\"n\":2}]"}` + "\n", ` {"a":"[{\"token\":\"***\",\"n\":2}]"}` + "\n", 1},
		{"JSON without secrets", ` { "a" : "b:c" } `, ` { "a" : "b:c" } `, 0},
		{"almost JSON", `{"password": "x", "n": NaN}`, `{"password": "***", "n": NaN}`, 1},
		{"cut off", `{"password": "x`, `{"password": "***`, 1},
		{"Python", `{'auth_token': 'x', u'password': u"it's", 'n': 'y', 'secret': None, 'psk': 7}`,
			`{'auth_token': '***', u'password': u"***", 'n': 'y', 'secret': None, 'psk': ***}`, 3},
		{"quoted in quotes", `body: "{\"password\": \"x\", \"n\": \"y\"}"`, `body: "{\"password\": \"***\", \"n\": \"y\"}"`, 1},
		{"an escaped quote", `"password": "x\"y", "n": 1`, `"password": "***", "n": 1`, 1},
		{"a query", `GET /v1/?token=x&limit=2&temp_url_sig=y HTTP/1.1`, `GET /v1/?token=***&limit=2&temp_url_sig=*** HTTP/1.1`, 2},
		{"a command", `mount -o username=u,password=x //h/s`, `mount -o username=u,password=*** //h/s`, 1},
		{"headers", `-H "X-Auth-Token: x" -H 'Authorization: Bearer x y'`, `-H "X-Auth-Token: ***" -H 'Authorization: *** y'`, 2},
		{"a setting", "admin_pass = x\nn = y", "admin_pass = ***\nn = y", 1},
		{"Ruby and comparisons", `:password => "x", token == y`, `:password => "***", token == ***`, 2},
		{"what has names of its own", `{'secret': {'token': 'x', 'n': 1}, 'psk': ['y']}`, `{'secret': {'token': '***', 'n': 1}, 'psk': ['y']}`, 1},
		{"a name of several kilobytes", strings.Repeat("x", 5000) + `_password=x`, strings.Repeat("x", 5000) + `_password=***`, 1},
		{"an error", `Could not find token: x.`, `Could not find token: ***`, 1},
		{"URLs", `rabbit://u:x@h1:5672,u:y@h2/ and http://h:80/a@b and swift+https://u@h/ and ftp://:x@h`,
			`rabbit://u:***@h1:5672,u:***@h2/ and http://h:80/a@b and swift+https://u@h/ and ftp://:***@h`, 3},
		{"not in a URL", `u:x@h file:///u:x@h mailto:u@h`, `u:x@h file:///u:x@h mailto:u@h`, 0},
		{"no value", `password=&token: "" secret = none; password: false`, `password=&token: "" secret = none; password: false`, 0},
		{"names that only look like it", `passwords=x token_id: y 07:24:39 a:b secret_uuid='z' password policy: 8`,
			`passwords=x token_id: y 07:24:39 a:b secret_uuid='z' password policy: 8`, 0},
		{"a value is no name", `password:'token'=x`, `password:'***'=x`, 1},
		{"nothing behind", `password=`, `password=`, 0},
		{"nothing before", `=x :y "": z`, `=x :y "": z`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			redacts(t, string(rawjson.AppendQuoted(nil, c.in)), string(rawjson.AppendQuoted(nil, c.want)), c.count)
			redacts(t, `{"n":1.10,"a":[`+string(rawjson.AppendQuoted(nil, c.in))+`]}`,
				`{"n":1.10,"a":[`+string(rawjson.AppendQuoted(nil, c.want))+`]}`, c.count)
		})
	}
}

// redacts checks what is made of a value, and that nothing more is made of that.
func redacts(t *testing.T, in, want string, count int) {
	t.Helper()
	r := defaults(t)
	got, n := r.Redact(parse(t, in))
	if string(got) != want || n != count {
		t.Errorf("%s\ngot  %s, %d\nwant %s, %d", in, got, n, want, count)
	}
	if again, n := r.Redact(got); string(again) != want || n != count {
		t.Errorf("once more: %s, %d", again, n)
	}
}

func TestSecretKeysAreASetting(t *testing.T) {
	r, err := New(Config{SecretKeys: []string{"Pin-Code"}})
	if err != nil {
		t.Fatal(err)
	}
	if v, n := r.Redact(parse(t, `{"pin_code":1,"password":"x"}`)); n != 1 || string(v) != `{"pin_code":"***","password":"x"}` {
		t.Errorf("%d: %s", n, v)
	}
	none, err := New(Config{SecretKeys: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	if v, n := none.Redact(parse(t, `{"password":"x"}`)); n != 0 || string(v) != `{"password":"x"}` {
		t.Errorf("%d: %s", n, v)
	}
}

// A name that is not looked at closer is none.
func TestNamesThatAreLeftOut(t *testing.T) {
	name := rapid.StringMatching(`(_context_|_obj_)?[a-cA-C_-]{0,5}`)
	key := rapid.StringMatching(`\*?[a-cA-C_-]{0,2}[a-cA-C][a-cA-C_-]?`).Filter(func(key string) bool {
		_, err := NewRedactor([]string{key})
		return err == nil
	})
	rapid.Check(t, func(t *rapid.T) {
		r, err := NewRedactor(rapid.SliceOfN(key, 0, 3).Draw(t, "keys"))
		if err != nil {
			t.Fatal(err)
		}
		n := name.Draw(t, "name")
		plain := string(fold(nil, []byte(n)))
		want := r.keys[plain] || slices.ContainsFunc(r.suffixes, func(s string) bool { return strings.HasSuffix(plain, s) })
		if got := r.IsSecret(n); got != want {
			t.Fatalf("%q is secret: %v", n, got)
		}
	})
}
