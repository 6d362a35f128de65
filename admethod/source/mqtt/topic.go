// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// pattern is a topic whose levels have names in braces, each standing for one level or a part of it:
// plant/{device}/{property}.
type pattern struct {
	levels []level
	open   bool // whatever levels follow: #
}

// level is a text, or what is between two of them.
type level struct {
	prefix, suffix string
	any            bool   // there may be anything between
	name           string // of what is between; "" where it has none
}

// longestTopic is what MQTT allows, in bytes.
const longestTopic = 65535

func parsePattern(text string) (p pattern, err error) {
	if text == "" || len(text) > longestTopic || strings.Contains(text, "\x00") {
		return p, errors.New("want a topic, such as plant/{device}/{property}")
	}
	if strings.HasPrefix(text, "$share/") {
		return p, errors.New("the key share instead of $share in the topic")
	}
	all := strings.Split(text, "/")
	for i, part := range all {
		if part == "#" && i == len(all)-1 {
			p.open = true
			break
		}
		var l level
		if part == "+" {
			l.any = true
		} else if before, rest, named := strings.Cut(part, "{"); named {
			name, after, closed := strings.Cut(rest, "}")
			if !closed || name == "" || strings.Contains(after, "{") {
				return p, fmt.Errorf("level %q: want one name in braces, such as {device}", part)
			}
			if slices.Contains(p.names(), name) {
				return p, fmt.Errorf("{%s} stands twice in it", name)
			}
			l = level{prefix: before, suffix: after, any: true, name: name}
		} else {
			l.prefix = part
		}
		if strings.ContainsAny(l.prefix+l.suffix, "+#{}") {
			return p, fmt.Errorf("level %q: want a text, a name in braces, or + alone; # alone at the end", part)
		}
		p.levels = append(p.levels, l)
	}
	return p, nil
}

func (p *pattern) names() []string {
	var names []string
	for _, l := range p.levels {
		if l.name != "" {
			names = append(names, l.name)
		}
	}
	return names
}

// filter is what is subscribed to.
func (p *pattern) filter() string {
	all := make([]string, 0, len(p.levels)+1)
	for _, l := range p.levels {
		if l.any {
			all = append(all, "+")
		} else {
			all = append(all, l.prefix)
		}
	}
	if p.open {
		all = append(all, "#")
	}
	return strings.Join(all, "/")
}

// match reports whether a topic is of the pattern, and what the names in it stand for, never "".
func (p *pattern) match(topic string) (names map[string]string, ok bool) {
	if strings.HasPrefix(topic, "$") && (len(p.levels) == 0 || p.levels[0].any && p.levels[0].prefix == "") {
		return nil, false // wildcards at the first level do not stand for these
	}
	all := strings.Split(topic, "/")
	if len(all) < len(p.levels) || len(all) > len(p.levels) && !p.open {
		return nil, false
	}
	names = make(map[string]string, len(p.levels))
	for i, l := range p.levels {
		if !l.any {
			if all[i] != l.prefix {
				return nil, false
			}
			continue
		}
		if l.name == "" {
			continue
		}
		rest, before := strings.CutPrefix(all[i], l.prefix)
		value, after := strings.CutSuffix(rest, l.suffix)
		if !before || !after || value == "" {
			return nil, false
		}
		names[l.name] = value
	}
	return names, true
}

// overlap reports whether a topic may be of two filters: a broker may then deliver it twice.
func overlap(a, b *pattern) bool {
	first := func(p *pattern) level {
		if len(p.levels) == 0 {
			return level{any: true}
		}
		return p.levels[0]
	}
	if x, y := first(a), first(b); x.any != y.any && strings.HasPrefix(x.prefix+y.prefix, "$") {
		return false
	}
	for i := range min(len(a.levels), len(b.levels)) {
		if x, y := a.levels[i], b.levels[i]; !x.any && !y.any && x.prefix != y.prefix {
			return false
		}
	}
	return len(a.levels) == len(b.levels) || a.open && len(a.levels) <= len(b.levels) || b.open && len(b.levels) <= len(a.levels)
}
