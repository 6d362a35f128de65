// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package params decodes flat settings, as a KubeEdge Device can carry them, into typed configuration structs, and
// describes such structs for reference documentation.
//
// Settings are scalars under dotted keys. A configuration struct names its keys in `param` tags; a nested struct adds
// a prefix:
//
//	type Config struct {
//		Window int           `param:"window" min:"2" max:"100000" doc:"readings in the window"`
//		Rest   time.Duration `param:"rest" doc:"shortest time between two alerts"`
//		TLS    struct {
//			CA string `param:"ca" doc:"file with the certificate authority"`
//		} `param:"tls"`
//	}
//
// Supported field types: bool, every int, uint and float type, string, time.Duration (text with a unit), []string
// (comma-separated text), and what implements encoding.TextUnmarshaler. Tags `min`, `max` and `enum` (comma-separated)
// bound a value; on a list `max` bounds its entries. A text, and each entry of a list, has at most 1,024 bytes, or what
// the tag `maxlen` says; a list has at most 256 entries where no `max` says otherwise. A float field whose default is NaN
// is documented as unset.
//
// The tag `scope` says who may set a key, see [Scope]; a nested struct hands it down.
package params

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Error reports one setting that cannot be used.
type Error struct {
	Key   string // dotted key as the user wrote it
	Value any    // offending value; nil where the key itself is at fault
	Want  string // what was expected
}

// Error names the key, the value and what was expected.
func (e *Error) Error() string {
	key := cutKey(e.Key)
	if e.Value == nil {
		return fmt.Sprintf("%s: %s", key, e.Want)
	}
	return fmt.Sprintf("%s: got %s, want %s", key, quote(e.Value), e.Want)
}

// cutKey keeps what a user wrote for a key from filling a log.
func cutKey(key string) string {
	const most = 128
	if len(key) <= most && utf8.ValidString(key) && !strings.ContainsFunc(key, unicode.IsControl) {
		return key
	}
	return quote(key)
}

func quote(v any) string {
	const most = 64
	s := fmt.Sprint(v)
	if t, ok := v.(string); ok {
		s = strconv.Quote(t[:min(len(t), 4*most)])
	}
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}

// Decode writes settings into the struct that dst points to, over the defaults already there. It is strict: an
// unknown key, a value of the wrong type and a value out of bounds are errors. All errors are joined, each an *Error;
// fields whose setting is at fault keep their default.
func Decode(dst any, settings map[string]any) error {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("params: Decode needs a non-nil pointer to a struct, got %T", dst)
	}
	fields := fieldsOf(v.Elem(), "", Operator)
	byKey := make(map[string]field, len(fields))
	known := make([]string, 0, len(fields))
	for _, f := range fields {
		byKey[f.key] = f
		known = append(known, f.key)
	}
	var errs []error
	for _, key := range sortedKeys(settings) {
		f, ok := byKey[key]
		if !ok {
			errs = append(errs, Unknown(key, known))
			continue
		}
		if err := f.set(settings[key]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Prefix writes the keys of errors by Decode as the user wrote them, below a prefix such as "detector.". A sentence that
// wraps several errors stays as it is.
func Prefix(prefix string, err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		errs := slices.Clone(joined.Unwrap())
		if errors.Join(errs...).Error() != err.Error() {
			return err
		}
		for i := range errs {
			errs[i] = Prefix(prefix, errs[i])
		}
		return errors.Join(errs...)
	}
	if p, ok := err.(*Error); ok { //nolint:errorlint // only a bare key is prefixed, not one inside a sentence
		q := *p
		q.Key = prefix + q.Key
		return &q
	}
	return err
}

// Unknown is the error for a key that is not among the known ones; it suggests the nearest.
func Unknown(key string, known []string) *Error {
	if len(known) == 0 {
		return &Error{Key: key, Want: "unknown key; none is known here"}
	}
	if near := Nearest(key, known); near != "" {
		return &Error{Key: key, Want: fmt.Sprintf("unknown key; did you mean %q?", near)}
	}
	names := slices.Sorted(slices.Values(known))
	return &Error{Key: key, Want: "unknown key; known: " + strings.Join(names, ", ")}
}

// Keys lists the keys of a configuration struct (or a pointer to one) in field order.
func Keys(config any) []string {
	var keys []string
	for _, p := range Describe(config) {
		keys = append(keys, p.Key)
	}
	return keys
}

// Param describes one setting.
type Param struct {
	Key     string // dotted key
	Type    string // boolean, integer, number, duration, text, list
	Default string // as a user would write it; "" where unset
	Bounds  string // for example "2 … 100000" or "up | down | both"; "" where free
	Doc     string // meaning
	Scope   Scope  // who may set it
}

// Scope says who may set a key.
type Scope string

// The scopes. What has no tag is the operator's: deny by default.
const (
	Operator Scope = ""       // whoever configures the program
	Device   Scope = "device" // the author of a Device too
	// Target is the operator's, and bound to the peer that it was given for: an address, or what is shown to it.
	Target Scope = "target"
	// Allowed is Target, but the operator may allow it to Devices.
	Allowed Scope = "allow"
)

// Bound reports whether a key belongs to one peer, and must not be used with another.
func (s Scope) Bound() bool { return s == Target || s == Allowed }

// Describe lists the settings of a configuration struct (or a pointer to one) that holds its defaults.
func Describe(defaults any) []Param {
	v := reflect.ValueOf(defaults)
	if v.Kind() != reflect.Pointer {
		p := reflect.New(v.Type()) // fields must be addressable
		p.Elem().Set(v)
		v = p
	}
	fields := fieldsOf(v.Elem(), "", Operator)
	out := make([]Param, 0, len(fields))
	for _, f := range fields {
		out = append(out, Param{
			Key: f.key, Type: f.typeName(), Default: f.text(), Bounds: f.bounds(), Doc: f.tag.Get("doc"), Scope: f.scope,
		})
	}
	return out
}

// Flatten turns nested objects into dotted keys, so that a rich configuration in one JSON text and flat keys mean the
// same. A list of scalars becomes comma-separated text.
func Flatten(nested map[string]any) (map[string]any, error) {
	flat := make(map[string]any, len(nested))
	err := flatten(flat, "", nested, 0)
	return flat, err
}

func flatten(dst map[string]any, prefix string, src map[string]any, depth int) error {
	const deepest = 8
	if depth > deepest {
		return &Error{Key: strings.TrimSuffix(prefix, "."), Want: fmt.Sprintf("nested at most %d levels deep", deepest)}
	}
	var errs []error
	for _, k := range sortedKeys(src) {
		key := prefix + k
		switch v := src[k].(type) {
		case nil: // EdgeCore drops null as well
		case map[string]any:
			errs = append(errs, flatten(dst, key+".", v, depth+1))
		case []any:
			items := make([]string, 0, len(v))
			for _, item := range v {
				switch item.(type) {
				case map[string]any, []any, nil:
					errs = append(errs, &Error{Key: key, Value: item, Want: "a list of scalars"})
				default:
					items = append(items, scalarText(item))
				}
			}
			dst[key] = strings.Join(items, ",")
		default:
			dst[key] = v
		}
	}
	return errors.Join(errs...)
}

// Each calls take with the settings of each mapping in a list, flat. key names the list in errors, and those of take are
// told with the key of the item. nil is a list without items.
func Each(key string, list any, take func(settings map[string]any) error) error {
	items, ok := list.([]any)
	if !ok && list != nil {
		return &Error{Key: key, Value: list, Want: "a list"}
	}
	var errs []error
	for i, item := range items {
		key := fmt.Sprintf("%s[%d]", key, i)
		m, ok := item.(map[string]any)
		if !ok {
			errs = append(errs, &Error{Key: key, Value: item, Want: "a mapping"})
			continue
		}
		flat, err := Flatten(m)
		if err == nil {
			err = take(flat)
		}
		errs = append(errs, Prefix(key+".", err))
	}
	return errors.Join(errs...)
}

type field struct {
	key   string
	v     reflect.Value
	tag   reflect.StructTag
	scope Scope
}

var (
	durationType    = reflect.TypeFor[time.Duration]()
	unmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func fieldsOf(v reflect.Value, prefix string, scope Scope) []field {
	var out []field
	t := v.Type()
	for i := range t.NumField() {
		sf := t.Field(i)
		name, tagged := sf.Tag.Lookup("param")
		embedded := sf.Anonymous && sf.Type.Kind() == reflect.Struct // its exported fields can be set, whatever its name
		if !embedded && (!sf.IsExported() || !tagged) {
			continue
		}
		scope := scope
		if own, ok := sf.Tag.Lookup("scope"); ok {
			scope = Scope(own)
		}
		switch {
		case sf.Type.Kind() != reflect.Struct || reflect.PointerTo(sf.Type).Implements(unmarshalerType):
			out = append(out, field{key: prefix + name, v: v.Field(i), tag: sf.Tag, scope: scope})
		case name == "":
			out = append(out, fieldsOf(v.Field(i), prefix, scope)...)
		default:
			out = append(out, fieldsOf(v.Field(i), prefix+name+".", scope)...)
		}
	}
	return out
}

func (f field) set(raw any) error {
	fail := func(want string) error { return &Error{Key: f.key, Value: raw, Want: want} }
	if raw == nil {
		return fail("a value, got null")
	}
	v := f.v
	if v.CanAddr() {
		next := reflect.New(v.Type()) // a failed decode must not leave half a value
		if u, ok := next.Interface().(encoding.TextUnmarshaler); ok {
			if want := f.tooLong(scalarText(raw)); want != "" {
				return fail(want)
			}
			if err := u.UnmarshalText([]byte(scalarText(raw))); err != nil {
				return fail(err.Error())
			}
			v.Set(next.Elem())
			return nil
		}
	}
	if v.Type() == durationType {
		d, err := toDuration(raw)
		if err != nil {
			return fail(`a duration with a unit, such as "500ms" or "10s"`)
		}
		if want := f.outside(float64(d), func(s string) (float64, error) {
			b, err := time.ParseDuration(s)
			return float64(b), err
		}); want != "" {
			return fail(want)
		}
		v.SetInt(int64(d))
		return nil
	}
	switch v.Kind() {
	case reflect.Bool:
		b, err := toBool(raw)
		if err != nil {
			return fail("true or false")
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := toNumber(raw)
		if err != nil || n != math.Trunc(n) || math.Abs(n) > 1<<53 {
			return fail("a whole number" + f.boundsSuffix())
		}
		if want := f.outside(n, parseFloat); want != "" {
			return fail(want)
		}
		if v.CanInt() {
			if v.OverflowInt(int64(n)) {
				return fail("a whole number that fits " + v.Kind().String())
			}
			v.SetInt(int64(n))
			return nil
		}
		if n < 0 || v.OverflowUint(uint64(n)) {
			return fail("a whole number that fits " + v.Kind().String())
		}
		v.SetUint(uint64(n))
	case reflect.Float32, reflect.Float64:
		n, err := toNumber(raw)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return fail("a finite number" + f.boundsSuffix())
		}
		if want := f.outside(n, parseFloat); want != "" {
			return fail(want)
		}
		if v.OverflowFloat(n) {
			return fail("a number that fits " + v.Kind().String())
		}
		v.SetFloat(n)
	case reflect.String:
		s, ok := raw.(string)
		if !ok {
			s = scalarText(raw)
		}
		if enum := f.enum(); len(enum) > 0 && !slices.Contains(enum, s) {
			return fail("one of " + strings.Join(enum, ", "))
		}
		if want := f.tooLong(s); want != "" {
			return fail(want)
		}
		v.SetString(s)
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.String {
			return fail("a setting of a supported type, not " + v.Type().String())
		}
		list := toList(raw)
		if want := f.tooMany(list); want != "" {
			return fail(want)
		}
		v.Set(reflect.ValueOf(list).Convert(v.Type()))
	default:
		return fail("a setting of a supported type, not " + v.Type().String())
	}
	return nil
}

func (f field) typeName() string {
	if f.v.Type() == durationType {
		return "duration"
	}
	switch k := f.v.Kind(); {
	case reflect.PointerTo(f.v.Type()).Implements(unmarshalerType):
		return "text"
	case k == reflect.Bool:
		return "boolean"
	case f.v.CanInt() || f.v.CanUint():
		return "integer"
	case f.v.CanFloat():
		return "number"
	case k == reflect.Slice:
		return "list"
	default:
		return "text"
	}
}

func (f field) text() string {
	switch v := f.v.Interface().(type) {
	case time.Duration:
		return v.String()
	case []string:
		return strings.Join(v, ",")
	case float64:
		if math.IsNaN(v) {
			return ""
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case encoding.TextMarshaler:
		b, err := v.MarshalText()
		if err != nil {
			return ""
		}
		return string(b)
	default:
		return fmt.Sprint(v)
	}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
