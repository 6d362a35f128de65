// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"fmt"
	"math"
	"strings"
)

// decimal is a mark before the fraction of numbers.
type decimal uint8

const (
	unknownDecimal decimal = iota
	pointDecimal
	commaDecimal
)

// Decimals are the values of Options.Decimal.
var Decimals = []string{"point", "comma"}

func decimalOf(option string) (decimal, error) {
	switch option {
	case "":
		return unknownDecimal, nil
	case "point":
		return pointDecimal, nil
	case "comma":
		return commaDecimal, nil
	}
	return unknownDecimal, fmt.Errorf("--decimal: got %q, want point or comma", option)
}

// evidence is what cells tell of the decimal mark. Those such as 1.234 and 1,234 are open: either may be one of thousands.
type evidence struct{ point, comma, open int }

func (e *evidence) add(cell string) {
	if !strings.ContainsAny(cell, ".,") {
		return
	}
	_, _, withPoint := thousands.parse(cell) // reads 1234.5 too
	_, _, withComma := comma.parse(cell)
	switch {
	case withPoint && withComma:
		e.open++
	case withPoint:
		e.point++
	case withComma:
		e.comma++
	}
}

// tells is the decimal mark that most of the cells that tell one have.
func (e *evidence) tells() decimal {
	switch {
	case e.point > e.comma:
		return pointDecimal
	case e.comma > 0:
		return commaDecimal
	}
	return unknownDecimal
}

func evidenceOf(cells []string) (e evidence) {
	for _, c := range cells {
		e.add(c)
	}
	return e
}

// marks decide how numbers are written, in all columns of a file by what any of them tells.
type marks struct {
	forced    decimal // by Options.Decimal
	file      decimal // that columns of the file have that tell one, all the same
	separator byte
	dotted    bool // dates are written 31.12.2026
}

// marksOf looks at the columns that are not taken for something else.
func (p *plan) marksOf(names []string, cells func(int) []string, separator byte, o *Options) (m marks, err error) {
	m = marks{separator: separator, dotted: strings.HasPrefix(p.clock.layout, "2.1.") || strings.HasPrefix(p.clock.layout, "2. ")}
	if m.forced, err = decimalOf(o.Decimal); err != nil {
		return m, err
	}
	for i := range names {
		if p.taken(i) {
			continue
		}
		all := cells(i)
		e := evidenceOf(all)
		told := e.tells()
		if told == unknownDecimal || (e.point+e.comma+e.open)*2 < len(all) && numbers(all, most(all)) < mostly {
			continue
		}
		if m.file != unknownDecimal && m.file != told { // the columns came from different places
			m.file = unknownDecimal
			return m, nil
		}
		m.file = told
	}
	return m, nil
}

// style is how the numbers of a column are written. In doubt is a style that another would contradict as well as not: a
// person has to know.
func (m *marks) style(cells []string) (s style, doubt bool) {
	as := func(d decimal) style {
		switch {
		case anyContains(cells, "'") || anyContains(cells, "’"):
			return most(cells)
		case d == commaDecimal:
			return comma
		case anyContains(cells, ","):
			return thousands
		}
		return point
	}
	if m.forced != unknownDecimal {
		return as(m.forced), false
	}
	e := evidenceOf(cells)
	switch {
	case e.point+e.comma > 0 || e.open == 0:
		return most(cells), false
	case m.file != unknownDecimal:
		return as(m.file), false
	// 998 and 1.002: a fraction of always three digits would be 998.000.
	case inThousands(cells, "."):
		return comma, false
	case m.separator != ',' && inThousands(cells, ","):
		return thousands, false
	case m.dotted && m.separator == ';': // as programs write both where decimals have a comma
		return comma, true
	case anyContains(cells, "."): // next to a comma there is no decimal comma, and programs that write JSON have a point
		return point, m.separator != ',' && m.separator != 0
	case m.separator == ',':
		return thousands, true
	}
	return comma, true
}

// markError is that of a number that tells too late how those before it are written.
type markError struct{ column, cell string }

func (e *markError) Error() string {
	name := "comma"
	if told := evidenceOf([]string{e.cell}); told.tells() == pointDecimal {
		name = "point"
	}
	return fmt.Sprintf("column %q: %q has a decimal %s, so the numbers before it were not as they were taken: --decimal %s", e.column, clip(e.cell), name, name)
}

// doubted says what is in doubt.
func doubted(c *Column, cells []string) string {
	example := cells[0]
	for _, cell := range cells {
		if strings.ContainsAny(cell, ".,") {
			example = cell
			break
		}
	}
	is, _, _ := c.style.parse(example)
	may := is
	for _, other := range [...]style{point, thousands, comma} {
		if v, _, ok := other.parse(example); ok && v != is {
			may = v
		}
	}
	name := "point"
	if strings.Contains(example, ".") == (math.Abs(is) < math.Abs(may)) {
		name = "comma"
	}
	return fmt.Sprintf("column %q: %s may be %v or %v, and nothing in the file tells: it is taken as %v; --decimal %s says otherwise", c.Name, clip(example), is, may, is, name)
}
