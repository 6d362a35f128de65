// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"strconv"
	"strings"
)

// maxTwinValue is the longest twin value that EdgeCore accepts, in bytes.
const maxTwinValue = 512

// legality says what was done to a value that EdgeCore would not have accepted as it was.
type legality uint8

const (
	legalAsIs      legality = iota
	legalRewritten          // other characters or another notation of the same number
	legalTruncated          // too long; the rest may be rewritten as well
	legalNoForm             // nothing legible was left: the value is empty
)

// LegalTwinValue gives a value the form that EdgeCore accepts: at most 512 of a-z A-Z 0-9 - _ . , : / @ #, or empty.
// EdgeCore drops all others without an error. A value that is legal stays as it is. Otherwise
//
//   - white space at the ends goes, and a number is written without exponent and without plus sign: 1e+20 becomes
//     100000000000000000000,
//   - = and | become : and /, a backslash becomes /, ; becomes a comma, & becomes #,
//   - quotes, brackets, braces and + go, so that {"a":1} becomes a:1,
//   - every other character, white space included, becomes _,
//   - what follows the 512th character goes.
//
// A value without a letter or digit that could be kept, as a text in Chinese, has no legal form: the result is empty.
// The result does not depend on anything but value, so equal values stay equal; different ones may become equal.
func LegalTwinValue(value string) string {
	legal, _ := legalTwinValue(value)
	return legal
}

// LegalTwinName gives the name of a property the form that EdgeCore accepts for a twin, as [LegalTwinValue] does with
// values: at most 128 of the same characters. EdgeCore drops twins of other names without an error.
func LegalTwinName(name string) string {
	legal := LegalTwinValue(name)
	return legal[:min(len(legal), maxTwinName)]
}

func legalTwinValue(value string) (string, legality) {
	if isLegalTwinText(value) {
		if len(value) <= maxTwinValue {
			return value, legalAsIs
		}
		return value[:maxTwinValue], legalTruncated
	}
	text := strings.TrimSpace(value)
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		text = strings.TrimPrefix(strconv.FormatFloat(f, 'f', -1, 64), "+")
		return text, legalRewritten
	}
	var b strings.Builder
	legible := false
	for _, r := range text {
		switch {
		case r < 0x80 && isLegalTwinByte(byte(r)):
			legible = legible || isAlphanumeric(byte(r))
			b.WriteByte(byte(r))
		case strings.ContainsRune(`"'`+"`"+`()[]{}<>+`, r):
		default:
			b.WriteByte(substitute(r))
		}
		if b.Len() > maxTwinValue {
			break
		}
	}
	switch {
	case !legible:
		return "", legalNoForm
	case b.Len() > maxTwinValue:
		return b.String()[:maxTwinValue], legalTruncated
	}
	return b.String(), legalRewritten
}

func substitute(r rune) byte {
	switch r {
	case '=':
		return ':'
	case '|', '\\':
		return '/'
	case ';':
		return ','
	case '&':
		return '#'
	default:
		return '_'
	}
}

func isLegalTwinText(s string) bool {
	for i := range len(s) {
		if !isLegalTwinByte(s[i]) {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isLegalTwinByte(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("-_.,:/@#", c) >= 0
}
