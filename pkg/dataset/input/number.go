// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// style is how the numbers of a column are written.
type style uint8

const (
	point      style = iota // 1234.5
	comma                   // 1234,5 and 1.234,5
	thousands               // 1,234.5
	apostrophe              // 1'234.5
)

// plainNumber reads what strconv.ParseFloat reads, but no hexadecimal numbers and no NaN, which is no reading.
func plainNumber(text string) (float64, bool) {
	if text == "" {
		return 0, false
	}
	switch c := text[0]; {
	case c >= '0' && c <= '9' || c == '.':
	case (c == '-' || c == '+') && len(text) > 1:
	case c == 'i' || c == 'I':
	default:
		return 0, false
	}
	if len(text) > 2 && (text[1] == 'x' || text[1] == 'X') {
		return 0, false
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) {
		return 0, false
	}
	return v, true
}

// parse reads a number; what stands behind it, as a unit does, is returned too.
func (s style) parse(text string) (v float64, unit string, ok bool) {
	if s == point { // the usual case, without a copy
		if v, ok := plainNumber(text); ok {
			return v, "", true
		}
	}
	if inner, ok := strings.CutPrefix(text, "("); ok { // (12.50) in accounts
		if inner, ok = strings.CutSuffix(inner, ")"); !ok {
			return 0, "", false
		}
		v, ok := s.value(inner)
		return -v, "", ok && v >= 0
	}
	if bare := strings.TrimLeftFunc(strings.TrimPrefix(text, "R$"), func(r rune) bool { return unicode.Is(unicode.Sc, r) }); bare != text && bare != "" {
		v, _, ok := s.parse(strings.TrimLeft(bare, " \u00a0"))
		return v, strings.TrimSpace(strings.TrimSuffix(text, bare)), ok
	}
	end := 0
	for i, r := range text { // the number: digits and what may stand between them
		if r >= '0' && r <= '9' {
			end = i + 1
			continue
		}
		switch r {
		case '+', '-', '.', ',', '\'', ' ', '\u00a0', '\u202f', '\u2212', '’':
			continue
		}
		if (r == 'e' || r == 'E') && end == i && i+1 < len(text) && strings.ContainsRune("+-0123456789", rune(text[i+1])) {
			continue
		}
		break
	}
	number, unit := text[:end], strings.TrimSpace(text[end:])
	if number == "" || utf8.RuneCountInString(unit) > 12 || strings.Contains(unit, "#") || strings.ContainsFunc(unit, unicode.IsDigit) && !strings.ContainsAny(unit, "³²/") {
		return 0, "", false
	}
	if v, ok = s.value(number); !ok {
		return 0, "", false
	}
	if unit == "-" { // behind the number, as in accounts
		return -v, "", true
	}
	return v, unit, true
}

// value reads a number without a unit.
func (s style) value(number string) (float64, bool) {
	number = strings.ReplaceAll(number, "\u2212", "-")
	number = strings.Map(func(r rune) rune { // digits may be grouped by thin spaces
		if r == ' ' || r == '\u00a0' || r == '\u202f' {
			return -1
		}
		return r
	}, number)
	switch s {
	case comma:
		if !grouped(number, ".", ",") {
			return 0, false
		}
		number = strings.ReplaceAll(strings.ReplaceAll(number, ".", ""), ",", ".")
	case thousands:
		if !grouped(number, ",", ".") {
			return 0, false
		}
		number = strings.ReplaceAll(number, ",", "")
	case apostrophe:
		number = strings.ReplaceAll(number, "’", "'")
		if !grouped(number, "'", ".") {
			return 0, false
		}
		number = strings.ReplaceAll(number, "'", "")
	}
	return plainNumber(number)
}

// grouped reports whether groups of three digits are set off by group, before an optional decimal sign; between commas they
// may have two, as in India.
func grouped(number, group, decimal string) bool {
	whole, fraction, _ := strings.Cut(number, decimal)
	if strings.Contains(fraction, group) || strings.Contains(fraction, decimal) {
		return false
	}
	parts := strings.Split(strings.TrimLeft(whole, "+-"), group)
	for i, p := range parts {
		switch {
		case i == 0 && len(parts) > 1 && (p == "" || len(p) > 3 || p[0] == '0'):
			return false
		case i > 0 && len(p) != 3 && (group != "," || len(p) != 2 || i == len(parts)-1):
			return false
		}
	}
	return true
}

// most is the style that reads most of the cells, the simplest of those that read as many.
func most(cells []string) style {
	best, most := point, -1
	for _, s := range [...]style{point, thousands, comma, apostrophe} {
		n := 0
		for _, c := range cells {
			if _, _, ok := s.parse(c); ok {
				n++
			}
		}
		if n > most {
			best, most = s, n
		}
	}
	return best
}

// inThousands reports whether the sign stands before groups of three digits and nowhere else, while numbers of three
// digits, and none of four, have none.
func inThousands(cells []string, sign string) bool {
	signed, short := 0, 0
	for _, c := range cells {
		c = strings.TrimLeft(c, "+-\u2212")
		whole, group, ok := strings.Cut(c, sign)
		switch {
		case ok && (len(whole) > 3 || whole == "" || whole[0] == '0' || !digits(whole) || len(group) != 3 || !digits(group)):
			return false
		case ok:
			signed++
		case digits(c) && len(c) > 3:
			return false
		case digits(c) && len(c) == 3:
			short++
		}
	}
	return signed > 0 && short > 0
}

func digits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

func anyContains(cells []string, sub string) bool {
	for _, c := range cells {
		if strings.Contains(c, sub) {
			return true
		}
	}
	return false
}

// absent reports whether a text stands for no reading.
func absent(text string) bool {
	switch len(text) {
	case 0:
		return true
	case 1, 2, 3, 4, 5, 6, 7, 11:
		switch strings.ToLower(text) {
		case "nan", "na", "n/a", "#n/a", "<na>", "null", "none", "nil", "-", "--", "---", "–", "—", "?", "unknown", "unavailable", "missing", "no data":
			return true
		}
	}
	return false
}

// utf8Text is the text of bytes; those that are no UTF-8 are GBK, Windows-1251 or Windows-1252, as spreadsheets write them.
func utf8Text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	if chinese(b) {
		if text, err := simplifiedchinese.GB18030.NewDecoder().Bytes(b); err == nil {
			return string(text)
		}
	}
	if cyrillic(b) {
		if text, err := charmap.Windows1251.NewDecoder().Bytes(b); err == nil {
			return string(text)
		}
	}
	text, err := charmap.Windows1252.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\ufffd")
	}
	return string(text)
}

// chinese reports whether bytes that are no UTF-8 are GBK: all that are no ASCII are pairs of a symbol or of one of the
// 3,755 usual characters of GB 2312. Letters with accents, as Windows-1252 has them, stand alone or are rare pairs.
func chinese(b []byte) bool {
	found := false
	for i := 0; i < len(b); i++ {
		if b[i] < 0x80 {
			continue
		}
		if i+1 >= len(b) || b[i+1] < 0xa1 || b[i+1] == 0xff {
			return false
		}
		switch lead := b[i]; {
		case lead >= 0xb0 && lead <= 0xd7:
			found = true
		case lead < 0xa1 || lead > 0xa9:
			return false
		}
		i++
	}
	return found
}

// cyrillic reports whether bytes that are no UTF-8 are Windows-1251: words of it have no letter of ASCII, while accents of
// Windows-1252 stand among such letters.
func cyrillic(b []byte) bool {
	longest, run := 0, 0
	for _, c := range b {
		if c < 0xc0 && c != 0xa8 && c != 0xb8 {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest >= 4
}
