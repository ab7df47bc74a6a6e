// Package schema makes of the configuration's structs what people and editors read about it: a JSON Schema and a reference.
// What a setting takes comes from package config, which knows because it decodes; what it means comes from the comment of
// the field that it fills. Both are written once, and make generate writes both files anew.
//
// A library that makes schemas of structs would know none of the decoder's rules (units, a value for a list of one, variables of
// the environment in place of numbers, kinds of sources), and each would have to be said to it by hand.
package schema

//go:generate go test . -run TestGenerated -update
