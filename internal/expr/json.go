package expr

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"stackstream/internal/rawjson"
	"stackstream/internal/timeform"
)

// adapter makes values of CEL from what Vars may have.
type adapter struct{}

// NativeToValue implements types.Adapter.
func (adapter) NativeToValue(value any) ref.Val {
	switch v := value.(type) {
	case rawjson.Value:
		return fromJSON(v)
	case Record:
		return v.val
	case Val:
		if v.json != nil {
			return fromJSON(v.json)
		}
		if v.val == nil {
			return types.NullValue
		}
		return v.val
	}
	return types.DefaultTypeAdapter.NativeToValue(value)
}

var _ cel.Activation = activation{}

// activation is Vars as CEL wants them.
type activation Vars

// ResolveName implements cel.Activation.
func (a activation) ResolveName(name string) (any, bool) {
	v, ok := a[name]
	if !ok && name == readingName {
		return a.reading(), true
	}
	if !ok {
		return nil, false
	}
	return adapter{}.NativeToValue(v), true
}

// Parent implements cel.Activation.
func (activation) Parent() cel.Activation { return nil }

// object is a JSON object whose members are decoded when they are asked for.
type object struct {
	json  rawjson.Value
	doc   *rawjson.Doc // what took it apart, at this part of it; nil until needed
	at    int
	whole traits.Mapper          // nil until needed
	take  func(bytes int64) bool // see NewMeteredRecord; may be nil
	read  *reading               // how its numbers are read; may be nil
	kids  []kid                  // the objects in it that were asked for
}

type kid struct {
	name string
	val  *object
}

// open takes it apart, if nobody did.
func (o *object) open() {
	if o.doc == nil {
		o.doc, o.at = new(rawjson.Doc), 0
		o.doc.Open(o.json, 2)
	}
}

// kid is a member that is an object, nil where it is none. It is taken apart once, however many expressions go through it.
func (o *object) kid(name string) *object {
	for i := range o.kids {
		if o.kids[i].name == name {
			return o.kids[i].val
		}
	}
	o.open()
	at := o.doc.Member(o.at, name)
	if at < 0 || !o.doc.Value(at).IsObject() {
		return nil
	}
	found := &object{json: o.doc.Value(at), take: o.take, read: o.read}
	if o.doc.Known(at) {
		found.doc, found.at = o.doc, at
	}
	o.kids = append(o.kids, kid{name, found})
	return found
}

// member is a member, nil if there is none.
func (o *object) member(name string) rawjson.Value {
	o.open()
	at := o.doc.Member(o.at, name)
	if at < 0 {
		return nil
	}
	return o.doc.Value(at)
}

func (o *object) get(name string) (ref.Val, bool) {
	v := o.member(name)
	if v == nil {
		return nil, false
	}
	if v.IsObject() {
		return o.kid(name), true
	}
	if v.IsArray() && !o.grants(v) {
		return o.read.list(rawjson.Value("[]")), true
	}
	return o.read.value(v), true
}

// valueSize is how much memory a list or an object takes at the most as a value of CEL: it is made of all that is in it, one by one.
func valueSize(v rawjson.Value) int64 {
	const one = 128
	return one*int64(rawjson.MostParts(v)) + int64(len(v))
}

func (o *object) grants(v rawjson.Value) bool { return o.take == nil || o.take(valueSize(v)) }

// all is the object as a map of CEL's own.
func (o *object) all() traits.Mapper {
	if o.whole == nil {
		var members rawjson.Object
		if o.grants(o.json) {
			members, _ = o.json.Members()
		}
		values := make(map[ref.Val]ref.Val, len(members))
		for _, m := range members {
			values[types.String(m.Name)] = o.read.value(m.Value)
		}
		o.whole = types.NewRefValMap(types.DefaultTypeAdapter, values)
	}
	return o.whole
}

// Find implements traits.Mapper.
func (o *object) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	return o.get(string(name))
}

// Get implements traits.Indexer.
func (o *object) Get(key ref.Val) ref.Val {
	if v, found := o.Find(key); found {
		return v
	}
	return types.NewErr("no such key: %v", key.Value())
}

// Contains implements traits.Container.
func (o *object) Contains(key ref.Val) ref.Val {
	_, found := o.Find(key)
	return types.Bool(found)
}

// ConvertToNative implements ref.Val.
func (o *object) ConvertToNative(t reflect.Type) (any, error) { return o.all().ConvertToNative(t) }

// ConvertToType implements ref.Val.
func (o *object) ConvertToType(t ref.Type) ref.Val { return o.all().ConvertToType(t) }

// Equal implements ref.Val.
func (o *object) Equal(other ref.Val) ref.Val {
	if same, ok := other.(*object); ok {
		other = same.all()
	}
	return o.all().Equal(other)
}

// Iterator implements traits.Iterable.
func (o *object) Iterator() traits.Iterator { return o.all().Iterator() }

// Size implements traits.Sizer.
func (o *object) Size() ref.Val { return o.all().Size() }

// Type implements ref.Val.
func (*object) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (o *object) Value() any { return o.all().Value() }

// list is a JSON list.
type list struct {
	traits.Lister
	json rawjson.Value
}

func hash(v ref.Val) ref.Val {
	text, err := valOf(v).JSON()
	if err != nil {
		return types.WrapErr(err)
	}
	sum := sha256.Sum256(text)
	return types.String(hex.EncodeToString(sum[:]))
}

func toJSON(v ref.Val) ref.Val {
	text, err := valOf(v).JSON()
	if err != nil {
		return types.WrapErr(err)
	}
	return types.String(text)
}

func formatTime(at, form ref.Val) ref.Val {
	f := timeform.Form(form.(types.String))
	if err := f.Check(); err != nil {
		return types.WrapErr(err)
	}
	return types.String(f.Format(at.(types.Timestamp).Time))
}

func parseTime(text, form ref.Val) ref.Val {
	f := timeform.Form(form.(types.String))
	if err := f.Check(); err != nil {
		return types.WrapErr(err)
	}
	at, err := f.Parse(string(text.(types.String)))
	if err != nil {
		return types.WrapErr(err)
	}
	return types.Timestamp{Time: at}
}

func parseJSON(r *reading, text ref.Val) ref.Val {
	t, ok := text.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(text)
	}
	v, err := rawjson.Parse([]byte(t))
	if err != nil {
		return types.WrapErr(fmt.Errorf("parseJSON: %w", err))
	}
	return r.value(v)
}

func encodeURL(text ref.Val) ref.Val {
	return types.String(url.QueryEscape(string(text.(types.String))))
}

// encode writes a value that an expression made. Keys of objects are sorted.
func encode(v ref.Val) (rawjson.Value, error) {
	plain, err := native(v)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(plain); err != nil {
		return nil, err
	}
	return rawjson.Parse(out.Bytes())
}

// native is what encoding/json writes for a value.
func native(v ref.Val) (any, error) {
	switch v := v.(type) {
	case nil, types.Null:
		return nil, nil
	case *object:
		return json.RawMessage(v.json), nil
	case *list:
		return json.RawMessage(v.json), nil
	case types.String, types.Bool, types.Int, types.Uint, types.Double:
		return v.Value(), nil
	case types.Bytes:
		return []byte(v), nil
	case types.Timestamp:
		return v.UTC().Format(time.RFC3339Nano), nil
	case types.Duration:
		return v.String(), nil
	case *types.Optional:
		if !v.HasValue() {
			return nil, nil
		}
		return native(v.GetValue())
	case traits.Lister:
		out := []any{}
		for i := v.Iterator(); i.HasNext() == types.True; {
			e, err := native(i.Next())
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
		return out, nil
	case traits.Mapper:
		out := map[string]any{}
		for i := v.Iterator(); i.HasNext() == types.True; {
			key := i.Next()
			e, err := native(v.Get(key))
			if err != nil {
				return nil, err
			}
			out[fmt.Sprint(key.Value())] = e
		}
		return out, nil
	}
	return nil, fmt.Errorf("%s can't be written as JSON", v.Type().TypeName())
}
