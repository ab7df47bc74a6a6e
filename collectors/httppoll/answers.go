package httppoll

import (
	"bytes"
	"io"
	"net/http"
	"strconv"

	"stackstream/internal/expr"
)

// Answer says what answers mean whose status does not tell: many services answer 200 with an error in the body, or the same status
// for what will pass and what will not.
type Answer struct {
	// When is an expression of status, body and headers. Where it can't be evaluated (a member is missing) it is not true.
	When string `yaml:"when"`
	// Then is what they mean, in the words of retry.on.
	Then string `yaml:"then" words:"retry,fail,empty,restart,reset_cursor,refresh_auth"`
	// Message is an expression for what is wrong, for people.
	Message string `yaml:"message"`
}

// answerPrograms are the compiled expressions of an Answer.
type answerPrograms struct {
	when, message *expr.Program
	then          string
}

func (c Retry) validateAnswers(ps *problems) {
	for i, a := range c.Answers {
		field := "retry.answers[" + strconv.Itoa(i) + "]."
		if a.When == "" {
			ps.add(field+"when", "is missing: an expression that is true for such answers, like has(body.error)")
		}
	}
}

func (c *compiler) answers(all []Answer) []answerPrograms {
	env := c.env(map[string]expr.Type{"status": expr.Int, "body": expr.Any, "headers": expr.Map})
	var out []answerPrograms
	for i, a := range all {
		field := "retry.answers[" + strconv.Itoa(i) + "]."
		out = append(out, answerPrograms{
			when: c.expression(env, field+"when", a.When, expr.Bool), message: c.expression(env, field+"message", a.Message, expr.Text),
			then: a.Then,
		})
	}
	return out
}

// reply is what came for a request, and what it means.
type reply struct {
	*http.Response
	action  string // what to do where it is no success
	told    bool   // by retry.answers that it is none, whatever its status says
	message string // for people, "" where retry.answers says nothing
}

// success tells whether an answer has what was asked for. One that says it will be had later has not.
func (r reply) success() bool {
	return !r.told && r.StatusCode >= 200 && r.StatusCode < 300 && r.StatusCode != http.StatusAccepted
}

// meaning finds out what an answer means. Where that takes its body, the body is read, and can be read again.
func (s *Source) meaning(resp *http.Response) (reply, error) {
	r := reply{Response: resp, action: s.cfg.Retry.action(resp.StatusCode)}
	if len(s.programs.answers) == 0 {
		return r, nil
	}
	body, err := s.bodyOf(resp)
	if err != nil {
		return r, err
	}
	_ = resp.Body.Close()
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	vars := expr.Vars{"status": int64(resp.StatusCode), "body": parsed(body), "headers": headersOf(resp.Header)}
	for _, a := range s.programs.answers {
		if is, err := truth(a.when, vars); err != nil || !is {
			continue
		}
		r.action, r.told = a.then, true
		if a.message != nil {
			r.message, _ = textOf(a.message, vars) // an answer without the message means the same
		}
		break
	}
	return r, nil
}
