// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kubeedge/edge-anomaly/pkg/promapi"
)

// missed is what was not asked for yet of series in an answer to a plain selector that were silent before. A server answers
// without the series of a store that is away, and says nothing of it: Thanos where the store failed its health check and is
// not strict, any server where an agent at the edge could not send for a while. Once they are back, so is what was scraped
// meanwhile.
func (q *query) missed(part stretch) (missed stretch, some bool) {
	if !q.plain || part.past || part.missed {
		return stretch{}, false
	}
	missed = stretch{from: part.from, to: part.from, missed: true, oldest: part.oldest}
	var common map[string]string
	for i := range q.answers {
		of := q.answers[i].of
		if of.Last.IsZero() || !of.Last.Before(part.from) {
			continue
		}
		if !some {
			common = maps.Clone(of.Property.Labels)
		}
		some = true
		maps.DeleteFunc(common, func(name, value string) bool { return of.Property.Labels[name] != value })
		if of.Last.Before(missed.from) {
			missed.from = later(of.Last, part.oldest)
		}
	}
	missed.selector = narrowed(part.selector, common)
	return missed, some && missed.to.After(missed.from)
}

// narrowed is a plain selector of those of its series only that have these labels.
func narrowed(selector string, labels map[string]string) string {
	head, braced := strings.CutSuffix(strings.TrimSpace(selector), "}")
	if !braced {
		head += "{"
	}
	var b strings.Builder
	b.WriteString(head)
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if !promapi.MetricName(name) || strings.Contains(name, ":") {
			continue // servers differ in how such a name is written
		}
		if head = strings.TrimSpace(head); !strings.HasSuffix(head, "{") && !strings.HasSuffix(head, ",") {
			b.WriteByte(',')
		}
		head = ""
		b.WriteString(name + "=" + strconv.Quote(labels[name]))
	}
	return b.String() + "}"
}
