// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source/internal/instant"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// text is a payload as people describe it: "time is {time}  {_}: {value:number}". Names in braces stand for what differs
// from message to message, up to a line's end; a space for any number of them.
type text struct {
	template string
	pattern  *regexp.Regexp
	fields   []field // of the groups of the pattern, in order
	layout   string  // of the time; "" where it may be any that instant reads
	names    []string
}

// field is what stands in braces.
type field struct{ name, kind string }

// The names with a meaning, and the kinds of values.
const (
	fieldValue = "value"
	fieldTime  = "time"
	fieldUnit  = "unit"
	fieldAny   = "_"

	kindNumber  = "number"
	kindText    = "text"
	kindBoolean = "boolean"
)

// parseText reads a template.
func parseText(template string) (*text, error) {
	t := &text{template: template}
	var pattern strings.Builder
	pattern.WriteString(`^\s*`)
	after := true // a text, so that it is clear where a field begins
	for rest := template; rest != ""; {
		if rest[0] != '{' {
			n := strings.IndexByte(rest, '{')
			if n < 0 {
				n = len(rest)
			}
			if strings.ContainsAny(rest[:n], "}\n\r") {
				return nil, errors.New("a } without {, or an end of line")
			}
			pattern.WriteString(literal(rest[:n]))
			rest, after = rest[n:], true
			continue
		}
		inside, behind, closed := strings.Cut(rest[1:], "}")
		name, kind, _ := strings.Cut(inside, ":")
		if !closed || name == "" || strings.ContainsAny(name, "{ ") {
			return nil, fmt.Errorf("%q: want a name in braces, such as {value}", rest)
		}
		if !after {
			return nil, fmt.Errorf("{%s}: want a text between it and what is before", inside)
		}
		group, err := t.add(field{name, kind})
		if err != nil {
			return nil, fmt.Errorf("{%s}: %w", inside, err)
		}
		pattern.WriteString(group)
		rest, after = behind, false
	}
	if !slices.ContainsFunc(t.fields, func(f field) bool { return f.name == fieldValue }) {
		return nil, errors.New("want {value} in it")
	}
	pattern.WriteString(`\s*$`)
	var err error
	t.pattern, err = regexp.Compile(pattern.String())
	return t, err
}

// add notes a field, and returns what of a message it stands for.
func (t *text) add(f field) (group string, err error) {
	if f.name != fieldAny && slices.ContainsFunc(t.fields, func(other field) bool { return other.name == f.name }) {
		return "", errors.New("it stands twice in it")
	}
	t.fields = append(t.fields, f)
	switch {
	case f.name == fieldTime && f.kind != "":
		t.layout = f.kind
		return "(" + layoutPattern(f.kind) + ")", nil
	case f.name == fieldTime:
		return `(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?|-?\d+(?:\.\d+)?)`, nil
	case f.name == fieldValue && f.kind == kindNumber:
		return `([^\s]+?)`, nil
	case f.name == fieldValue && (f.kind == "" || f.kind == kindText || f.kind == kindBoolean):
	case f.name == fieldValue:
		return "", fmt.Errorf("want %s, %s or %s behind the colon", kindNumber, kindText, kindBoolean)
	case f.kind != "":
		return "", errors.New("want no colon: value and time have kinds")
	case f.name == fieldUnit, f.name == fieldAny:
	default:
		t.names = append(t.names, f.name)
	}
	return `(.+?)`, nil
}

// literal matches a text, in which spaces stand for any number of them.
func literal(s string) string {
	var b strings.Builder
	for i, word := range spaces.Split(s, -1) {
		if i > 0 {
			b.WriteString(`\s+`)
		}
		b.WriteString(regexp.QuoteMeta(word))
	}
	return b.String()
}

var (
	spaces  = regexp.MustCompile(`\s+`)
	element = regexp.MustCompile(`Z07:?00|-07:?00|\d+|[A-Za-z_]+`)
)

// layoutPattern matches what a layout of package time may stand for.
func layoutPattern(layout string) string {
	var b strings.Builder
	end := 0
	for _, at := range element.FindAllStringIndex(layout, -1) {
		b.WriteString(literal(layout[end:at[0]]))
		switch e := layout[at[0]:at[1]]; {
		case e[0] == 'Z':
			b.WriteString(`(?:Z|[+-]\d\d:?\d\d)`)
		case e[0] == '-':
			b.WriteString(`[+-]\d\d:?\d\d`)
		case e[0] >= '0' && e[0] <= '9':
			b.WriteString(`\d+`)
		case e == "T":
			b.WriteString("T")
		default:
			b.WriteString(`[\pL._ ]+`)
		}
		end = at[1]
	}
	b.WriteString(literal(layout[end:]))
	return b.String()
}

// read reads the lines of a payload, each of which is as the template says. Those that are not spoil none of the others.
func (t *text) read(payload []byte, zone *time.Location) (found []value, err error) {
	var errs []error
	for line := range strings.Lines(string(payload)) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		v, err := t.line(line, zone)
		if err != nil {
			errs = append(errs, fmt.Errorf("payload %.100q: %w", strings.TrimSpace(line), err))
			continue
		}
		found = append(found, v)
	}
	if found == nil && errs == nil {
		return nil, fmt.Errorf("payload %.100q: want the like of %q", payload, t.template)
	}
	return found, errors.Join(errs...)
}

func (t *text) line(line string, zone *time.Location) (v value, err error) {
	groups := t.pattern.FindStringSubmatch(line)
	if groups == nil {
		return v, fmt.Errorf("want the like of %q", t.template)
	}
	for i, f := range t.fields {
		part := strings.TrimSpace(groups[i+1])
		switch f.name {
		case fieldValue:
			err = v.setKind(part, f.kind)
		case fieldTime:
			if t.layout == "" {
				v.at, err = instant.Parse(part, zone)
			} else {
				v.at, err = time.ParseInLocation(t.layout, spaces.ReplaceAllString(part, " "), zone)
			}
		case fieldUnit:
			v.unit = part[:min(len(part), longestUnit)]
		case fieldAny:
		default:
			if v.names == nil {
				v.names = make(map[string]string, len(t.names))
			}
			v.names[f.name] = part
			v.name += part + "\x00"
		}
		if err != nil {
			return v, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return v, nil
}

// longestUnit is what of a unit is kept, in bytes.
const longestUnit = 64

// setKind takes what a payload has for a value of a kind, any where that is "".
func (v *value) setKind(part, kind string) error {
	switch kind {
	case kindNumber:
		number, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return &params.Error{Key: kindNumber, Value: part, Want: "a number, such as 20.5"}
		}
		v.number, v.dataType = number, "double"
		return nil
	case kindBoolean:
		v.dataType = "boolean"
	case kindText:
		v.text, v.dataType = strings.ToValidUTF8(part[:min(len(part), longestText)], ""), "string"
		return nil
	}
	return v.set(part)
}
