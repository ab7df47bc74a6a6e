package rawjson_test

import (
	"testing"

	"pgregory.net/rapid"

	"stackstream/event"
	"stackstream/internal/rawjson"
	"stackstream/internal/rawjson/rawjsontest"
)

func TestExact(t *testing.T) {
	for in, want := range map[string]bool{
		`"a"`: true, `"é"`: true, "\"\uFFFD\"": true, `"\ufffd"`: true, `"\uFFFD\ud83d\ude00"`: true, `"\\ud800"`: true, `"\\\\ud800"`: true,
		"\"\xff\"": false, `"\ud800"`: false, `"\uDfFf"`: false, `"\ud83d\ud83d\ude00"`: false, `"\ud83dx"`: false, `"\\\ud800"`: false,
		`"\ud83d\n"`: false, `{"a":["\udc00"]}`: false, `{"a\ud800":1}`: false, `{"a":[NaN,1]}`: true, `"\`: true, `"\u12`: true, ``: true,
	} {
		if got := rawjson.Value(in).Exact(); got != want {
			t.Errorf("%s: %v", in, got)
		}
	}
}

// What is made of a text is the same in another value only if nothing of the text was mended.
func TestOtherwise(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":"\ud800"}`: `{"a":"\ufffc"}`, "\"\xff\xfe.\xff\"": "\"\uFFFC.\uFFFC\"", `"\ufffd\ud83d\ude00"`: `"\ufffd\ud83d\ude00"`,
	} {
		if got := string(rawjson.Value(in).Otherwise()); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

func TestIdentity(t *testing.T) {
	rawjsontest.Distinct(t, func(t *rapid.T, quoted string) event.Raw {
		// A mark before it, a word that is no JSON and other members make no difference, nor does an earlier one of the same name.
		came := []byte("\xef\xbb\xbf {\"id\": \"\xfe\", \"x\": \"\\ud800 \xff\", \"y\": NaN, \"id\": " + quoted + "}\n")
		v, err := rawjson.Parse(came)
		if err != nil {
			t.Fatal(err)
		}
		members, _ := v.Members()
		id := members.Get("id").ID()
		if !rawjson.Exact(id, "id", came) {
			id = ""
		}
		return event.Raw{ID: event.ID(id), Body: came}
	})
}
