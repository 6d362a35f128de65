// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kubeedge/edge-anomaly/driver"
)

// longestTopic is what MQTT allows, in bytes.
const longestTopic = 65535

// Topic is where the last verdict on a property is kept: prefix/namespace/device/property, or prefix/namespace/device
// for the device as a whole. In names, characters that mean something in topics (/ + # and %) and those that brokers
// refuse are written as %XX, byte for byte, as in URLs: two properties never share a topic.
func Topic(prefix string, key driver.Key) (string, error) {
	var b strings.Builder
	b.WriteString(prefix)
	names := []string{key.Namespace, key.Device, key.Property}
	if key.Property == "" {
		names = names[:2]
	}
	for _, name := range names {
		b.WriteByte('/')
		escape(&b, name)
	}
	if b.Len() > longestTopic {
		return "", fmt.Errorf("%.100q…: a topic of %d bytes, MQTT allows %d", b.String(), b.Len(), longestTopic)
	}
	return b.String(), nil
}

func escape(b *strings.Builder, name string) {
	for len(name) > 0 {
		r, n := utf8.DecodeRuneInString(name)
		// Brokers may refuse control characters and code points that are no characters.
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) || strings.ContainsRune("/+#%", r) {
			for _, c := range []byte(name[:n]) {
				fmt.Fprintf(b, "%%%02X", c)
			}
		} else {
			b.WriteString(name[:n])
		}
		name = name[n:]
	}
}

// plain reports whether a prefix can stand before topics as it is.
func plain(prefix string) bool {
	var b strings.Builder
	escape(&b, strings.ReplaceAll(prefix, "/", ""))
	return prefix != "" && len(prefix) <= 1024 && !strings.HasPrefix(prefix, "/") && !strings.HasSuffix(prefix, "/") &&
		!strings.HasPrefix(prefix, "$") && b.String() == strings.ReplaceAll(prefix, "/", "")
}
