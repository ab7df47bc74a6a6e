package cli

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// post posts a file until the answer has the status and matches.
func post(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 4 || len(args)%2 != 0 {
		ts.Fatalf("usage: post URL FILE STATUS REGEXP [HEADER VALUE]…")
	}
	pattern, err := regexp.Compile(args[3])
	ts.Check(err)
	body := ts.ReadFile(args[1])
	deadline := time.Now().Add(patience)
	for {
		status, text, err := postOnce(args[0], body, args[4:])
		if err == nil && strconv.Itoa(status) == args[2] && pattern.MatchString(text) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s answered %d, %v:\n%s", args[0], status, err, text)
		}
	}
}

func postOnce(url, body string, headers []string) (status int, text string, err error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(all), err
}
