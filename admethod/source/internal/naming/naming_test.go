// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package naming_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kubeedge/edge-anomaly/admethod/source/internal/naming"
)

func ExampleTemplate() {
	names := map[string]string{"site": "plant/3", "room": "hall"}
	for _, text := range []string{"{site}-{room}", "{{{room}}}", "fixed", "{floor}", "{site", "room}"} {
		t, err := naming.Parse(text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(t.Expand(func(name string) string { return names[name] }))
	}
	// Output:
	// plant%2F3-hall <nil>
	// {hall} <nil>
	// fixed <nil>
	//  {floor} in "{floor}" means nothing
	// "{site": want a name in braces, such as {device}
	// "room}": a } without {; one that is meant as such is }}
}

// What can be parsed is made of its names and of what is between them, and makes a name without a slash.
func FuzzTemplate(f *testing.F) {
	f.Add("{a}-{b}")
	f.Add("{{x}}/{a}")
	f.Add("}}{")
	f.Fuzz(func(t *testing.T, text string) {
		template, err := naming.Parse(text)
		if err != nil {
			return
		}
		got, err := template.Expand(func(name string) string { return "<" + name + ">" })
		if err != nil || strings.Contains(got, "/") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		for _, name := range template.Names() {
			if !strings.Contains(got, strings.ReplaceAll("<"+name+">", "/", "%2F")) {
				t.Errorf("%q: %q lacks %q", text, got, name)
			}
		}
		if again, err := naming.Parse(template.String()); err != nil || again.String() != text {
			t.Errorf("%q: %v, %v", text, again, err)
		}
	})
}

// What a template is expanded to fits its pattern, and no name stands for anything with a slash in it.
func FuzzPattern(f *testing.F) {
	f.Add("{namespace}/{device}/{property}", "press-7")
	f.Add("a.{x}+{y}", "(")
	f.Fuzz(func(t *testing.T, text, value string) {
		template, err := naming.Parse(text)
		if err != nil || value == "" || strings.ContainsAny(value, "/\n") || strings.ContainsAny(text, "\n") || !utf8.ValidString(text+value) {
			return
		}
		expanded := text
		for _, name := range template.Names() {
			expanded = strings.ReplaceAll(expanded, "{"+name+"}", value)
		}
		if strings.ContainsAny(expanded, "{}") {
			return // braces that are meant as such are written otherwise
		}
		found := template.Pattern().FindStringSubmatch(expanded)
		if len(found) != len(template.Names())+1 {
			t.Errorf("%q: %q is not of %v", text, expanded, template.Pattern())
		}
		for _, part := range found[min(1, len(found)):] {
			if part == "" || strings.Contains(part, "/") {
				t.Errorf("%q: a name stands for %q", text, part)
			}
		}
	})
}
