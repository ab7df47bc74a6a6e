package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"stackstream/internal/setting"
)

// NamedFile is a file that a setting names: one with a password, a token, a key or a certificate.
type NamedFile struct {
	// Setting is the path of the setting below what Files was given.
	Setting string
	Path    string
}

// fileSetting is how the names of settings end that name a file which is read later.
const fileSetting = "_file"

// Files returns the files that settings name, in the order of their paths.
func Files(settings any) []NamedFile {
	var found []NamedFile
	walk("", reflect.ValueOf(settings), func(at string, v reflect.Value) {
		if strings.HasSuffix(at, fileSetting) && v.Kind() == reflect.String && v.String() != "" {
			found = append(found, NamedFile{Setting: at, Path: v.String()})
		}
	})
	return found
}

// Contents are what files had in them when they were looked at: a hash by path, "" for one that could not be read or has
// nothing in it. Two are equal where nothing has changed for those who read the files. What is no file, but a pipe for instance,
// is left to those who read it: it would be gone for them.
type Contents map[string]string

// maxContents is how much of a file is looked at. No secret and no certificate has more.
const maxContents = 1 << 20

// ContentsOf reads the files that settings name.
func ContentsOf(settings any) Contents {
	found := Contents{}
	for _, f := range Files(settings) {
		found[f.Path] = contentOf(f.Path)
	}
	return found
}

func contentOf(path string) string {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return ""
	case !info.Mode().IsRegular():
		return info.Mode().Type().String()
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	hash := sha256.New()
	if n, err := io.Copy(hash, io.LimitReader(f, maxContents)); err != nil || n == 0 {
		return ""
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// Differences returns the paths of the settings that two values of the same type do not have in common.
func Differences(a, b any) []string {
	values, all := [2]map[string]any{{}, {}}, map[string]bool{}
	for i, settings := range []any{a, b} {
		walk("", reflect.ValueOf(settings), func(at string, v reflect.Value) {
			values[i][at], all[at] = v.Interface(), true
		})
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(at string) bool {
		return reflect.DeepEqual(values[0][at], values[1][at])
	})
}

// walk calls each for every setting that has no settings below it.
func walk(at string, v reflect.Value, each func(at string, v reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			walk(at, v.Elem(), each)
		}
	case reflect.Struct:
		leaf := true
		for field, value := range v.Fields() {
			name, options, ok := setting.Tag(field)
			if !ok {
				continue
			}
			leaf = false
			if slices.Contains(options, "inline") || slices.Contains(options, "kinds") {
				walk(at, value, each)
			} else {
				walk(setting.Join(at, name), value, each)
			}
		}
		if leaf && v.CanInterface() {
			each(at, v)
		}
	case reflect.Map:
		keys := map[string]reflect.Value{}
		for _, key := range v.MapKeys() {
			keys[fmt.Sprint(key.Interface())] = v.MapIndex(key)
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			walk(setting.Join(at, key), keys[key], each)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walk(fmt.Sprintf("%s[%d]", at, i), v.Index(i), each)
		}
	default:
		each(at, v)
	}
}
