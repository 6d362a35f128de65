// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

// betterHeader is the number of the line that names the columns, of those at the beginning that only have names: groups of
// columns may have names of their own above it.
func (d *delimited) betterHeader(lines []ahead, usual int) (best int) {
	for i, a := range lines[:min(len(lines), preamble)] {
		if d.width(a) != usual {
			break
		}
		fields, err := d.cut(nil, a.text)
		if err != nil || !IsHeader(fields) {
			break
		}
		if i > 0 && NamesBetter(fields, d.header) {
			best, d.header = i, named(fields)
		}
	}
	return best
}

// NamesBetter reports whether of two lines of names that follow each other the second names the columns, and the first
// groups of them: it names the time, or more columns.
func NamesBetter(second, first []string) bool {
	rank := func(fields []string) (n int) {
		if slices.ContainsFunc(fields, namesTime) {
			n = len(fields)
		}
		for _, f := range fields {
			if strings.TrimSpace(f) != "" {
				n++
			}
		}
		return n
	}
	return rank(second) > rank(first)
}

// blanks reports whether lines are columns that are separated by blanks: those without a comment have as many words.
func blanks(lines []ahead) bool {
	counts, all := make(map[int]int), 0
	for _, a := range lines {
		if text := strings.TrimSpace(a.text); a.err == nil && text != "" && text[0] != '#' {
			if looksLikeTime(text) { // a date and a time of day
				return false
			}
			counts[len(strings.Fields(text))]++
			all++
		}
	}
	for n, times := range counts {
		if n > 1 && times*10 >= all*8 && times > 1 {
			return true
		}
	}
	return false
}

// hasReading reports whether a line may be a row, as opposed to a header.
func hasReading(line string) bool {
	sep := separatorOf([]ahead{{text: line}})
	if sep == 0 {
		return false
	}
	fields, err := dataset.SplitFields(nil, line, sep)
	return err == nil && !IsHeader(fields)
}

// separatorOf is the separator that cuts the most lines into equally many fields, 0 for none.
func separatorOf(lines []ahead) byte {
	var best byte
	most := 0
	for _, sep := range separators {
		counts := make(map[int]int)
		for _, a := range lines {
			if text := strings.TrimSpace(a.text); text == "" || text[0] == '#' {
				continue
			}
			if fields, err := dataset.SplitFields(nil, a.text, sep); err == nil && len(fields) > 1 {
				counts[len(fields)]++
			}
		}
		for n, times := range counts {
			// Many lines alike count more than many fields; a decimal comma makes fields too, but one or two.
			if score := times*1000 + n; score > most {
				best, most = sep, score
			}
		}
	}
	return best
}

// IsHeader reports whether fields are names: none is a time, and they are not all empty. Only beside the name of a time may
// names be numbers, as those of registers are.
func IsHeader(fields []string) bool {
	names := 0
	if slices.ContainsFunc(fields, namesTime) {
		return !slices.ContainsFunc(fields, func(f string) bool { return !namesNumber(f) && looksLikeTime(f) })
	}
	for _, f := range fields {
		f = strings.TrimSpace(f)
		if f == "" {
			continue
		}
		if _, ok := plainNumber(f); ok || looksLikeTime(f) {
			return false
		}
		names++
	}
	return names > 0
}

// namesTime reports whether a field is a usual name of a column of times.
func namesTime(field string) bool {
	return slices.Contains(timeNames, strings.ToLower(strings.TrimSpace(field)))
}

func namesNumber(field string) bool {
	_, is := plainNumber(strings.TrimSpace(field))
	return is
}

func named(fields []string) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = strings.TrimSpace(f)
	}
	return names
}
