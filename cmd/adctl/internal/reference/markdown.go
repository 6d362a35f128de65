// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// The lines of a document between which the reference stands.
const (
	BeginMark = "<!-- drivers:begin -->"
	EndMark   = "<!-- drivers:end -->"
)

// Markdown is the reference as a part of a document; its headings are of the third and fourth level.
func (r *Reference) Markdown() string {
	var b strings.Builder
	b.WriteString("## Keys of a property\n\nUnder `pushMethod.anomalyDetection` of a Device; all are optional.\n\n")
	table(&b, r.Keys)
	b.WriteString("\n## What a Device may set\n\nThese keys and no others; all else is the operator's, in the mapper's configuration. A text has at most 1,024\n" +
		"bytes, a list 256 entries, a property 256 keys and 64 KiB, where nothing else is said.\n\n| key | note |\n|---|---|\n")
	for _, k := range r.Device {
		fmt.Fprintf(&b, "| `%s` | %s |\n", k.Key, cell(k.Note))
	}
	b.WriteString("\n## Detectors\n")
	for i := range r.Detectors {
		r.Detectors[i].markdown(&b)
	}
	b.WriteString("\n## Adapters\n\nThe values of `adMethodName`. Their keys are the operator's, for all properties\n(`adapterOptions.NAME`) or for one target of that name (`adapterOptions.NAME.targets.TARGET`); a Device sets those that are\nmarked.\n")
	for i := range r.Adapters {
		r.Adapters[i].markdown(&b)
	}
	b.WriteString("\n## Sinks\n\nThe values of `sinks`; their settings belong in the mapper's own configuration.\n")
	for i := range r.Sinks {
		r.Sinks[i].markdown(&b)
	}
	if len(r.Sources) > 0 {
		b.WriteString("\n## Sources\n\nWhat the detector that stands alone reads beside what is sent to it: the values of `type` under its `sources`. Of a\nkey such as `topics[].topic` there is one in each mapping of the list.\n")
	}
	for i := range r.Sources {
		r.Sources[i].markdown(&b)
	}
	return b.String()
}

func (p *Part) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n### `%s`\n\n%s.\n", p.Name, strings.TrimSuffix(sentence(p.Summary), "."))
	if len(p.Kinds) > 0 {
		fmt.Fprintf(b, "\nKinds: `%s`.", strings.Join(p.Kinds, "`, `"))
		if p.Members > 1 {
			fmt.Fprintf(b, " Watches up to %d properties together.", p.Members)
		}
		b.WriteByte('\n')
	}
	if p.Source != "" {
		fmt.Fprintf(b, "\nMethod: %s.\n", strings.TrimSuffix(p.Source, "."))
	}
	if len(p.Params) > 0 {
		b.WriteByte('\n')
		table(b, p.Params)
	}
}

// table lists keys. Where some are for a Device to set and others are not, the former are marked.
func table(b *strings.Builder, list []Param) {
	marked := slices.ContainsFunc(list, func(p Param) bool { return p.Scope != string(params.Device) })
	b.WriteString("| key | type | default | bounds | meaning |\n|---|---|---|---|---|\n")
	for _, p := range list {
		doc := p.Doc
		if marked && p.Scope == string(params.Device) {
			doc = "**Device:** " + doc
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", p.Key, p.Type, code(p.Default), cell(p.Bounds), cell(doc))
	}
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + cell(s) + "`"
}

// cell keeps a text from ending its cell.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s)
}

// Replace returns the document with the text between its marks replaced.
func Replace(document, markdown string) (string, error) {
	before, rest, ok := strings.Cut(document, BeginMark)
	if !ok {
		return "", errors.New("no line " + BeginMark)
	}
	if _, after, ok := strings.Cut(rest, EndMark); ok {
		return before + BeginMark + "\n" + strings.Trim(markdown, "\n") + "\n" + EndMark + after, nil
	}
	return "", errors.New("no line " + EndMark + " after " + BeginMark)
}

// Diff lists where two documents differ: the line, and what it is and is to be. After the first and the last
// difference they agree.
func Diff(old, next string) []string {
	a, b := strings.Split(old, "\n"), strings.Split(next, "\n")
	first := 0
	for first < len(a) && first < len(b) && a[first] == b[first] {
		first++
	}
	for len(a) > first && len(b) > first && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var out []string
	for i, line := range a[first:] {
		out = append(out, fmt.Sprintf("%d: - %s", first+i+1, line))
	}
	for i, line := range b[first:] {
		out = append(out, fmt.Sprintf("%d: + %s", first+i+1, line))
	}
	return out
}
