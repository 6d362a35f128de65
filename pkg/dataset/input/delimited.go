// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

const (
	// MaxLine is the length in bytes from which a line is a bad row. It bounds the memory of a reader.
	MaxLine = 1 << 20
	// quotedLines is the most lines that a quoted field may have: a quote that is never closed costs one row, not the file.
	quotedLines = 50
	// preamble is the most lines before a table: titles, units, the settings of a historian.
	preamble = 40
)

var separators = [...]byte{',', ';', '\t', '|'}

// delimited reads CSV as it is found in the field (RFC 4180 and its neighbours), and InfluxDB's annotated CSV, which has
// tables with a header each.
type delimited struct {
	src       *bufio.Reader
	counted   *counter
	line      int
	ahead     []ahead // lines that were looked at
	separator byte
	header    []string
	fields    []string
	annotated bool // lines that begin with #group, #datatype or #default
	group     []bool
	fresh     bool // an empty line or an annotation came: the next line is a header
	begun     bool
	joined    []byte
}

type ahead struct {
	text string
	line int
	err  error
}

func newDelimited(r *bufio.Reader, c *counter) *delimited { return &delimited{src: r, counted: c} }

func (d *delimited) Header() []string { return d.header }
func (d *delimited) Separator() byte  { return d.separator }
func (d *delimited) Offset() int64    { return d.counted.n }
func (d *delimited) Buffered() bool   { return len(d.ahead) > 0 || d.src.Buffered() > 0 }

// Read implements Grid.
func (d *delimited) Read() ([]string, int, error) {
	if !d.begun {
		d.begun = true
		if err := d.begin(); err != nil {
			return nil, d.line, err
		}
	}
	for {
		a := d.next()
		if a.err != nil {
			return nil, a.line, a.err
		}
		text := strings.TrimSpace(a.text)
		switch {
		case text == "":
			d.fresh = d.annotated
			continue
		case text[0] == '#' && (!strings.HasPrefix(text, "##") || d.width(a) < 2): // Excel shows as ### what is too wide
			d.annotate(a.text)
			continue
		}
		fields, err := d.split(a)
		if err != nil {
			return nil, a.line, &dataset.RowError{Line: a.line, Err: err}
		}
		if d.fresh {
			d.fresh, d.header = false, named(fields)
			continue
		}
		if d.annotated && slices.Contains(d.header, "error") && slices.Contains(d.header, "reference") && len(fields) > 1 {
			return nil, a.line, fmt.Errorf("this is an error of InfluxDB: %s", strings.Trim(strings.Join(fields, " "), " "))
		}
		if d.header != nil && slices.EqualFunc(fields, d.header, func(f, h string) bool { return strings.TrimSpace(f) == h }) {
			continue // files that were put together repeat it
		}
		if d.header != nil && len(fields) == len(d.header) && d.header[0] != "" && strings.TrimSpace(fields[0]) == d.header[0] && IsHeader(fields) {
			return nil, a.line, fmt.Errorf("line %d: another table begins (%s), after that of %s: put them into a file each",
				a.line, strings.Join(named(fields), ", "), strings.Join(d.header, ", "))
		}
		return fields, a.line, nil
	}
}

// annotate takes a comment, which may be an annotation of InfluxDB's.
func (d *delimited) annotate(text string) {
	name, rest, ok := strings.Cut(text, ",")
	if !ok {
		return
	}
	switch strings.TrimSpace(name) {
	case "#group":
		d.group = []bool{false}
		for f := range strings.SplitSeq(rest, ",") {
			d.group = append(d.group, strings.TrimSpace(f) == "true")
		}
		fallthrough
	case "#datatype", "#default":
		d.annotated, d.fresh = true, true
	}
}

// keys are the columns that tell InfluxDB's tables apart.
func (d *delimited) keys() (names []string) {
	for i, is := range d.group {
		if is && i < len(d.header) && d.header[i] != "_start" && d.header[i] != "_stop" {
			names = append(names, d.header[i])
		}
	}
	return names
}

// begin looks at the first lines for the separator and the header: the first line with as many fields as most have.
func (d *delimited) begin() error {
	var lines []ahead
	for len(lines) < preamble+20 {
		a := d.read()
		lines = append(lines, a)
		if errors.Is(a.err, io.EOF) || d.src.Buffered() == 0 && (len(lines) > 1 || hasReading(a.text)) { // a slow source keeps nobody waiting
			break
		}
	}
	d.ahead = lines
	if sep, ok := strings.CutPrefix(strings.TrimSpace(strings.ToLower(lines[0].text)), "sep="); ok && len(sep) == 1 {
		d.separator, d.ahead = sep[0], lines[1:]
	} else {
		d.separator = separatorOf(lines)
	}
	if d.separator == 0 && blanks(lines) {
		d.separator = ' '
	}
	if d.separator == 0 {
		d.separator = ',' // one column: whoever plans says what is missing
	}
	d.ahead = d.whole(d.ahead)
	counts := make(map[int]int)
	for _, a := range d.ahead {
		if n := d.width(a); n > 1 {
			counts[n]++
		}
	}
	usual := 0
	for n, times := range counts {
		if times > counts[usual] || times == counts[usual] && n > usual {
			usual = n
		}
	}
	if usual == 0 && len(d.ahead) > 1 && IsHeader([]string{d.ahead[0].text}) && !IsHeader([]string{d.ahead[1].text}) {
		d.header, d.ahead = []string{strings.TrimSpace(d.ahead[0].text)}, d.ahead[1:]
	}
	for i := 0; i < len(d.ahead) && i < preamble && usual > 1; i++ {
		a := d.ahead[i]
		if text := strings.TrimSpace(a.text); a.err != nil || strings.HasPrefix(text, "#") || d.width(a) != usual {
			continue
		}
		fields, err := d.split(a)
		if err != nil {
			continue
		}
		kept := d.ahead[:0:0] // comments before it may be annotations
		for _, before := range d.ahead[:i] {
			if strings.HasPrefix(strings.TrimSpace(before.text), "#") {
				kept = append(kept, before)
			}
		}
		rest := d.ahead[i:]
		if IsHeader(fields) {
			d.header = named(fields)
			at := d.betterHeader(rest, usual)
			if rest = rest[at:]; at > 0 || len(kept) == 0 {
				rest = rest[1:]
			}
		} else if at, names := d.headerBefore(i); names != nil {
			if err := d.fits(names, d.ahead[at+1:]); err != nil {
				return err
			}
			d.header = append(names, make([]string, max(0, usual-len(names)))...) // names that are missing stand for nothing
			rest = d.ahead[at+1:]
		}
		d.ahead = append(kept, rest...)
		return nil
	}
	return nil
}

// headerBefore finds the header of rows of which the first as wide as most is line i, and which have not as many fields as
// it: the line before, if it has but one less, or else one above that names a time.
func (d *delimited) headerBefore(i int) (at int, names []string) {
	for at = i - 1; at >= 0; at-- {
		if d.width(d.ahead[at]) < 2 {
			continue
		}
		fields, err := d.split(d.ahead[at])
		if err != nil || !IsHeader(fields) {
			continue
		}
		names = named(fields)
		if at == i-1 && len(names) == d.width(d.ahead[i])-1 || slices.ContainsFunc(names, func(n string) bool { return index(timeNames, n) >= 0 }) {
			return at, names
		}
	}
	return 0, nil
}

// fits reports rows in which a decimal comma was taken for one between columns: they have more fields than the header, all
// of digits alone.
func (d *delimited) fits(names []string, rows []ahead) error {
	if d.separator != ',' {
		return nil
	}
	wider, cut := 0, ahead{}
	for _, a := range rows {
		if d.width(a) <= len(names) {
			continue
		}
		fields, err := d.split(a)
		if err != nil {
			continue
		}
		wider++
		integers := func(f string) bool { return strings.Trim(f, "+-0123456789 ") == "" && strings.TrimSpace(f) != "" }
		if i := slices.IndexFunc(fields, integers); i > 0 && !slices.ContainsFunc(fields[i:], func(f string) bool { return !integers(f) }) && cut.text == "" {
			cut = a
		}
	}
	if cut.text == "" || 2*wider <= len(rows) {
		return nil
	}
	return fmt.Errorf("line %d: %d fields (%s) under a header of %d (%s): want numbers with a decimal comma in quotes, or columns separated by semicolons; or a name for each column",
		cut.line, d.width(cut), clip(cut.text), len(names), strings.Join(names, ", "))
}

// whole joins the lines of a quoted field that goes on over several of them; one that does not end is left as it is.
func (d *delimited) whole(lines []ahead) (records []ahead) {
	open := func(a ahead) bool {
		_, err := d.cut(nil, a.text)
		return errors.Is(err, dataset.ErrOpenQuote)
	}
	for i := 0; i < len(lines); i++ {
		a, last := lines[i], i
		for a.err == nil && open(a) && last+1 < len(lines) && last-i < quotedLines && lines[last+1].err == nil {
			last++
			a.text += "\n" + lines[last].text
		}
		if a.err != nil || open(a) {
			a, last = lines[i], i
		}
		records, i = append(records, a), last
	}
	return records
}

// cut cuts a line into fields. Several blanks separate as one does; of a field that is quoted as a formula of a spreadsheet
// or as databases quote, its text is returned.
func (d *delimited) cut(dst []string, line string) ([]string, error) {
	if d.separator == ' ' {
		return append(dst, strings.Fields(line)...), nil
	}
	n := len(dst)
	dst, err := dataset.SplitFields(dst, line, d.separator)
	for i := n; i < len(dst); i++ {
		f := dst[i]
		switch {
		case len(f) > 3 && strings.HasPrefix(f, `="`) && strings.HasSuffix(f, `"`):
			dst[i] = f[2 : len(f)-1]
		case len(f) > 2 && f[0] == '\'' && f[len(f)-1] == '\'':
			dst[i] = f[1 : len(f)-1]
		}
	}
	return dst, err
}

func (d *delimited) width(a ahead) int {
	if a.err != nil {
		return 0
	}
	fields, err := d.cut(nil, a.text)
	if err != nil {
		return 0
	}
	return len(fields)
}

func (d *delimited) next() ahead {
	if len(d.ahead) > 0 {
		a := d.ahead[0]
		d.ahead = d.ahead[1:]
		return a
	}
	return d.read()
}

// split cuts a line into fields. A quoted field that does not end on its line goes on in the next ones.
func (d *delimited) split(a ahead) ([]string, error) {
	var err error
	d.fields, err = d.cut(d.fields[:0], a.text)
	if !errors.Is(err, dataset.ErrOpenQuote) {
		return d.fields, err
	}
	var text strings.Builder
	text.WriteString(a.text)
	var taken []ahead
	for len(taken) < quotedLines {
		next := d.next()
		if taken = append(taken, next); next.err != nil {
			break
		}
		text.WriteByte('\n')
		text.WriteString(next.text)
		if d.fields, err = d.cut(d.fields[:0], text.String()); err == nil {
			return d.fields, nil
		}
		if !errors.Is(err, dataset.ErrOpenQuote) || text.Len() > MaxLine {
			break
		}
	}
	d.ahead = append(taken, d.ahead...)
	if errors.Is(err, dataset.ErrOpenQuote) {
		err = errQuote
	}
	return nil, err
}

var errLong = fmt.Errorf("longer than %d bytes", MaxLine)

// read returns the next line of the source without its end.
func (d *delimited) read() ahead {
	d.line++
	d.joined = d.joined[:0]
	for long := false; ; {
		part, err := d.src.ReadSlice('\n')
		full := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !full && !errors.Is(err, io.EOF) {
			return ahead{line: d.line, err: fmt.Errorf("line %d: %w", d.line, err)}
		}
		if err != nil && !full && len(part) == 0 && len(d.joined) == 0 && !long {
			return ahead{line: d.line, err: io.EOF}
		}
		if long = long || len(d.joined)+len(part) > MaxLine; long {
			d.joined = d.joined[:0] // only the end of the line is still of interest
		} else if full || len(d.joined) > 0 {
			d.joined = append(d.joined, part...)
			part = d.joined
		}
		switch {
		case full:
			continue
		case long:
			return ahead{line: d.line, err: &dataset.RowError{Line: d.line, Err: errLong}}
		}
		part = bytes.TrimSuffix(part, []byte("\n"))
		return ahead{line: d.line, text: utf8Text(bytes.TrimSuffix(part, []byte("\r")))}
	}
}

// errQuote is that of a quoted field that ends on none of the next lines either.
var errQuote = errors.New("a quoted field does not end")
