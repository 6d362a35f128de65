// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"errors"
	"strings"
)

var (
	// ErrOpenQuote is that of a quoted field that does not end before the end of the line.
	ErrOpenQuote = errors.New(`a quoted field does not end before the end of the line`)
	errTail      = errors.New(`text after the closing quote of a field`)
)

// SplitFields appends the fields of a line of CSV to dst, without their quotes.
func SplitFields(dst []string, line string, sep byte) ([]string, error) {
	for {
		if strings.HasPrefix(line, `"`) {
			field, rest, err := unquote(line)
			if err != nil {
				return dst, err
			}
			dst = append(dst, field)
			if rest == "" {
				return dst, nil
			}
			if rest[0] != sep {
				return dst, errTail
			}
			line = rest[1:]
			continue
		}
		i := strings.IndexByte(line, sep)
		if i < 0 {
			return append(dst, line), nil
		}
		dst = append(dst, line[:i])
		line = line[i+1:]
	}
}

// unquote reads the quoted field that the line begins with; a doubled quote is a quote.
func unquote(line string) (field, rest string, err error) {
	for i := 1; i < len(line); i++ {
		if line[i] != '"' {
			continue
		}
		if i+1 < len(line) && line[i+1] == '"' {
			i++
			continue
		}
		field = line[1:i]
		if strings.Contains(field, `""`) {
			field = strings.ReplaceAll(field, `""`, `"`)
		}
		return field, line[i+1:], nil
	}
	return "", "", ErrOpenQuote
}
