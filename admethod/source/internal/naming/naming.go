// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package naming makes the names of properties out of what an origin calls them.
package naming

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Template is a text with names in braces that stand for what they mean: "{site}-{room}". The zero value is empty.
type Template struct {
	text  string
	parts []part
}

// part is a text, or a name.
type part struct {
	text string
	name bool
}

// Parse reads a template. A brace that is meant as such is doubled.
func Parse(text string) (Template, error) {
	if !utf8.ValidString(text) {
		return Template{}, fmt.Errorf("%.100q: want UTF-8", text)
	}
	t := Template{text: text}
	var plain strings.Builder
	flush := func() {
		if plain.Len() > 0 {
			t.parts = append(t.parts, part{text: plain.String()})
			plain.Reset()
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c != '{' && c != '}':
			plain.WriteByte(c)
		case i+1 < len(text) && text[i+1] == c:
			plain.WriteByte(c)
			i++
		case c == '}':
			return Template{}, fmt.Errorf("%.100q: a } without {; one that is meant as such is }}", text)
		default:
			name, _, closed := strings.Cut(text[i+1:], "}")
			if !closed || name == "" || strings.Contains(name, "{") {
				return Template{}, fmt.Errorf("%.100q: want a name in braces, such as {device}", text)
			}
			flush()
			t.parts = append(t.parts, part{text: name, name: true})
			i += len(name) + 1
		}
	}
	flush()
	return t, nil
}

// String is the template as it was written.
func (t *Template) String() string { return t.text }

// UnmarshalText is [Parse].
func (t *Template) UnmarshalText(text []byte) (err error) {
	*t, err = Parse(string(text))
	return err
}

// MarshalText is the template as it was written.
func (t Template) MarshalText() ([]byte, error) { return []byte(t.text), nil }

// Names are those in it, in order.
func (t *Template) Names() []string {
	var names []string
	for _, p := range t.parts {
		if p.name {
			names = append(names, p.text)
		}
	}
	return names
}

// Pattern matches the texts that the template may have been expanded to, where no name means anything with a slash in it. Its
// groups are the names, in order.
func (t *Template) Pattern() *regexp.Regexp {
	var b strings.Builder
	b.WriteString("^")
	for _, p := range t.parts {
		if p.name {
			b.WriteString("([^/]+)")
		} else {
			b.WriteString(regexp.QuoteMeta(p.text))
		}
	}
	b.WriteString("$")
	return regexp.MustCompile(b.String())
}

// Expand puts in what names mean. A slash in that is written %2F, as parts of keys have none. The error names what has
// no meaning, or an empty one.
func (t *Template) Expand(meaning func(name string) string) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		text := p.text
		if p.name {
			if text = meaning(p.text); text == "" {
				return "", fmt.Errorf("{%s} in %q means nothing", p.text, t.text)
			}
		}
		b.WriteString(text)
	}
	return strings.ReplaceAll(b.String(), "/", "%2F"), nil
}
