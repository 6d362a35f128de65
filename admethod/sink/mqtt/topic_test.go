// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/kubeedge/edge-anomaly/driver"
)

func ExampleTopic() {
	for _, key := range []driver.Key{
		{Namespace: "default", Device: "light-1", Property: "brightness"},
		{Namespace: "default", Device: "light-1"},
		{Namespace: "default", Device: "hall 7/№ 3", Property: "50%+"},
	} {
		fmt.Println(Topic("edge-anomaly", key))
	}
	// Output:
	// edge-anomaly/default/light-1/brightness <nil>
	// edge-anomaly/default/light-1 <nil>
	// edge-anomaly/default/hall 7%2F№ 3/50%25%2B <nil>
}

func TestTopicTooLong(t *testing.T) {
	if _, err := Topic("p", driver.Key{Device: strings.Repeat("\x00", longestTopic/3)}); err == nil {
		t.Error("a topic that MQTT has no room for is made")
	}
}

func TestPrefixes(t *testing.T) {
	for prefix, want := range map[string]bool{
		"edge-anomaly": true, "plant/hall-7": true, "été": true,
		"": false, "/a": false, "a/": false, "a+": false, "#": false, "a\x00": false, "$SYS": false, "50%": false, "\xff": false,
		strings.Repeat("a", 2000): false,
	} {
		if plain(prefix) != want {
			t.Errorf("%q: want %v", prefix, want)
		}
	}
}

// Topics are such as every broker takes, lead back to their property, and so never mean two.
func FuzzTopic(f *testing.F) {
	f.Add("default", "light-1", "brightness")
	f.Add("a/b", "+", "#")
	f.Add("\x00\x7f\u0085\u2028\ufffe", "\xff\xc0", "%2F")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, namespace, device, property string) {
		topic, err := Topic("p", driver.Key{Namespace: namespace, Device: device, Property: property})
		if err != nil {
			t.Skip()
		}
		if !utf8.ValidString(topic) || strings.ContainsAny(topic, "+#\x00") || strings.ContainsFunc(topic, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q is not a topic", topic)
		}
		levels := strings.Split(topic, "/")[1:]
		want := []string{namespace, device, property}
		if property == "" {
			want = want[:2]
		}
		if len(levels) != len(want) {
			t.Fatalf("%q has %d levels", topic, len(levels))
		}
		for i, level := range levels {
			if got, err := url.PathUnescape(level); err != nil || got != want[i] {
				t.Errorf("%q in %q means %q, want %q", level, topic, got, want[i])
			}
		}
	})
}
