// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod/source/mqtt"
)

func ExampleMatch() {
	for _, c := range [][2]string{
		{"plant/{device}/{property}", "plant/press-1/force"},
		{"plant/{device}/{property}", "plant/press-1"},
		{"plant/dev-{device}.json", "plant/dev-7.json"},
		{"plant/dev-{device}.json", "plant/7"},
		{"$hw/events/device/{device}/twin/update", "$hw/events/device/a/twin/update"},
		{"{site}/+/#", "hall/3/a/b"},
		{"{site}/#", "$SYS/broker"},
		{"plant/{a}{b}", ""},
		{"plant/+x", ""},
		{"{a}/{a}", ""},
		{"$share/g/plant", ""},
	} {
		names, filter, err := mqtt.Match(c[0], c[1])
		fmt.Println(filter, names, err)
	}
	// Output:
	// plant/+/+ map[device:press-1 property:force] <nil>
	// plant/+/+ map[] <nil>
	// plant/+ map[device:7] <nil>
	// plant/+ map[] <nil>
	// $hw/events/device/+/twin/update map[device:a] <nil>
	// +/+/# map[site:hall] <nil>
	// +/# map[] <nil>
	//  map[] level "{a}{b}": want one name in braces, such as {device}
	//  map[] level "+x": want a text, a name in braces, or + alone; # alone at the end
	//  map[] {a} stands twice in it
	//  map[] the key share instead of $share in the topic
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a/+", "a/b", true}, {"a/+", "b/+", false}, {"a/#", "a/b/c", true}, {"a/#", "a", true}, {"a/#", "b/#", false}, {"a/+", "a/+/+", false},
		{"+/b", "a/+", true}, {"#", "$hw/a", false}, {"+/a", "$hw/a", false}, {"$hw/+", "$hw/a", true}, {"{x}/a", "{y}/a", true}, {"a", "a", true}, {"a", "a/b", false},
	} {
		if mqtt.Overlap(c.a, c.b) != c.want || mqtt.Overlap(c.b, c.a) != c.want {
			t.Errorf("%s and %s: want %v", c.a, c.b, c.want)
		}
	}
}

// A topic that is put together by a pattern is of it, and gives the names back.
func FuzzMatch(f *testing.F) {
	f.Add("plant/{device}/{property}", "a", "b")
	f.Add("{x}/#", "$a", "b")
	f.Add("a-{x}-b/+/c", "/", "")
	f.Fuzz(func(t *testing.T, pattern, first, second string) {
		_, filter, err := mqtt.Match(pattern, "")
		if err != nil || strings.ContainsAny(first+second, "/{}") || first == "" || second == "" || strings.HasPrefix(first, "$") || strings.HasPrefix(second, "$") {
			return
		}
		topic, values, want := pattern, []string{first, second}, map[string]string{}
		for i := 0; strings.Contains(topic, "{"); i++ {
			before, rest, _ := strings.Cut(topic, "{")
			name, after, _ := strings.Cut(rest, "}")
			want[name] = values[i%2]
			topic = before + values[i%2] + after
		}
		levels := strings.Split(topic, "/")
		for i, l := range levels {
			if l == "+" {
				levels[i] = first
			}
		}
		names, _, _ := mqtt.Match(pattern, strings.Join(levels, "/"))
		if names == nil {
			t.Fatalf("%q is not of %q, which subscribes to %q", strings.Join(levels, "/"), pattern, filter)
		}
		for name, value := range want {
			if names[name] != value {
				t.Errorf("%q: {%s} is %q, want %q", pattern, name, names[name], value)
			}
		}
	})
}
