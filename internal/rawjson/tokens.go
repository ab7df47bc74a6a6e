package rawjson

import "iter"

// Kind says what a Token is.
type Kind byte

// The kinds of tokens.
const (
	OpenObject Kind = iota + 1
	CloseObject
	OpenArray
	CloseArray
	Name   // of a member, with its quotes; the member's value follows
	Scalar // a string, a number, true, false or null
)

// Token is a piece of a value: the bytes from Start to End.
type Token struct {
	Kind       Kind
	Start, End int
}

// Tokens goes through the value once, from its beginning to its end. White space, commas and colons are no tokens.
func (v Value) Tokens() iter.Seq[Token] {
	return func(yield func(Token) bool) {
		for i := skipSpace(v, 0); i < len(v); i = skipSpace(v, i) {
			t := Token{Start: i, End: i + 1}
			switch v[i] {
			case ',', ':':
				i++
				continue
			case '{':
				t.Kind = OpenObject
			case '}':
				t.Kind = CloseObject
			case '[':
				t.Kind = OpenArray
			case ']':
				t.Kind = CloseArray
			case '"':
				t.End = stringEnd(v, i)
				t.Kind = Scalar
				if colon := skipSpace(v, t.End); colon < len(v) && v[colon] == ':' {
					t.Kind = Name
				}
			default:
				t.Kind = Scalar
				t.End = valueEnd(v, i)
			}
			if !yield(t) {
				return
			}
			i = t.End
		}
	}
}

// NameOf returns the decoded name of a Name token. It may share memory with the value.
func (v Value) NameOf(t Token) []byte { return unquoteBytes(v[t.Start:t.End]) }

// EndOf returns the index behind the value that the token begins; of any other token, behind the token.
func (v Value) EndOf(t Token) int {
	if t.Kind == OpenObject || t.Kind == OpenArray {
		return valueEnd(v, t.Start)
	}
	return t.End
}
