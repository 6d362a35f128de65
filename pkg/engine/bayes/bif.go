// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// MaxBIF bounds the size of a BIF file.
const MaxBIF = 64 << 20

// ErrSyntax is wrapped by the errors of ReadBIF about the text.
var ErrSyntax = errors.New("BIF syntax")

// bifTolerance is how far a row of a BIF file may be from a sum of 1 before it is an error; it is then scaled.
const bifTolerance = 0.01

// ReadBIF reads a network in the Bayesian Interchange Format, version 0.15, as written by bnlearn, pgmpy, JavaBayes and
// others: variable blocks, and probability blocks with a table (the node itself slowest, the last parent fastest), a
// row for each configuration of the parents, or a default row. Properties are skipped. Rows are scaled to a sum of 1.
func ReadBIF(r io.Reader) (*Network, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBIF+1))
	if err != nil {
		return nil, fmt.Errorf("read BIF: %w", err)
	}
	if len(data) > MaxBIF {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrSyntax, MaxBIF)
	}
	p := &bifParser{text: string(data), line: 1, net: &Network{}, index: make(map[string]int), defined: make(map[int]bool)}
	if err := p.file(); err != nil {
		return nil, fmt.Errorf("%w: line %d: %w", ErrSyntax, p.line, err)
	}
	for i := range p.net.Nodes {
		if !p.defined[i] {
			return nil, fmt.Errorf("%w: variable %q has no probability block", ErrSyntax, p.net.Nodes[i].Name)
		}
	}
	if err := p.net.Validate(); err != nil {
		return nil, err
	}
	return p.net, nil
}

type bifParser struct {
	text    string
	line    int
	ahead   string // token read but not taken
	net     *Network
	index   map[string]int
	defined map[int]bool
	cells   int
}

const bifMarks = "{}()[],;|"

// next takes a token: a mark, a quoted string with its first quote, or a word; "" at the end.
func (p *bifParser) next() string {
	if t := p.ahead; t != "" {
		p.ahead = ""
		return t
	}
	for p.text != "" {
		switch {
		case p.text[0] == '\n':
			p.line++
			p.text = p.text[1:]
		case p.text[0] == ' ' || p.text[0] == '\t' || p.text[0] == '\r':
			p.text = p.text[1:]
		case strings.HasPrefix(p.text, "//"):
			end := strings.IndexByte(p.text, '\n')
			if end < 0 {
				end = len(p.text)
			}
			p.text = p.text[end:]
		case strings.HasPrefix(p.text, "/*"):
			end := strings.Index(p.text, "*/")
			if end < 0 {
				end = len(p.text) - 2
			}
			p.line += strings.Count(p.text[:end+2], "\n")
			p.text = p.text[end+2:]
		default:
			return p.token()
		}
	}
	return ""
}

func (p *bifParser) token() string {
	end := 1
	if p.text[0] == '"' {
		if k := strings.IndexByte(p.text[1:], '"'); k >= 0 {
			t := p.text[:k+1]
			p.line += strings.Count(t, "\n")
			p.text = p.text[k+2:]
			return t
		}
	} else if !strings.Contains(bifMarks, p.text[:1]) {
		if end = strings.IndexAny(p.text, bifMarks+" \t\r\n\""); end < 0 {
			end = len(p.text)
		}
	}
	t := p.text[:end]
	p.text = p.text[end:]
	return t
}

func (p *bifParser) peek() string {
	if p.ahead == "" {
		p.ahead = p.next()
	}
	return p.ahead
}

func (p *bifParser) expect(want string) error {
	if t := p.next(); t != want {
		return fmt.Errorf("%.40q where %q should be", t, want)
	}
	return nil
}

// name takes a word or a quoted string.
func (p *bifParser) name() (string, error) {
	t := p.next()
	if t == "" || strings.Contains(bifMarks, t) || t == `"` || len(t) > MaxName {
		return "", fmt.Errorf("%.40q where a name should be", t)
	}
	return strings.TrimPrefix(t, `"`), nil
}

// skip leaves out the rest of a property, up to its semicolon.
func (p *bifParser) skip() error {
	for {
		switch p.next() {
		case ";":
			return nil
		case "":
			return errors.New("a property without an end")
		}
	}
}

func (p *bifParser) file() error {
	for {
		var err error
		switch t := p.next(); t {
		case "":
			return nil
		case "network":
			err = p.network()
		case "variable":
			err = p.variable()
		case "probability":
			err = p.probability()
		default:
			err = fmt.Errorf("%.40q where network, variable or probability should be", t)
		}
		if err != nil {
			return err
		}
	}
}

func (p *bifParser) network() (err error) {
	if p.peek() != "{" {
		if p.net.Name, err = p.name(); err != nil {
			return err
		}
	}
	if err := p.expect("{"); err != nil {
		return err
	}
	for {
		switch t := p.next(); t {
		case "}":
			return nil
		case "property":
			if err := p.skip(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%.40q in a network block", t)
		}
	}
}

func (p *bifParser) variable() error {
	name, err := p.name()
	if err != nil {
		return err
	}
	if _, ok := p.index[name]; ok {
		return fmt.Errorf("variable %q a second time", name)
	}
	if len(p.net.Nodes) == MaxNodes {
		return fmt.Errorf("more than %d variables", MaxNodes)
	}
	if err := p.expect("{"); err != nil {
		return err
	}
	v := Node{Name: name}
	for {
		switch t := p.next(); t {
		case "}":
			if len(v.States) == 0 {
				return fmt.Errorf("variable %q has no type", name)
			}
			p.index[name] = len(p.net.Nodes)
			p.net.Nodes = append(p.net.Nodes, v)
			return nil
		case "property":
			if err := p.skip(); err != nil {
				return err
			}
		case "type":
			if v.States, err = p.states(); err != nil {
				return fmt.Errorf("variable %q: %w", name, err)
			}
		default:
			return fmt.Errorf("%.40q in a variable block", t)
		}
	}
}

// states takes "discrete [ 2 ] { a, b };".
func (p *bifParser) states() ([]string, error) {
	if err := errors.Join(p.expect("discrete"), p.expect("[")); err != nil {
		return nil, err
	}
	count, err := strconv.Atoi(p.next())
	if err != nil || count < 1 || count > MaxStates {
		return nil, fmt.Errorf("a number of states that is not 1 to %d", MaxStates)
	}
	if err := errors.Join(p.expect("]"), p.expect("{")); err != nil {
		return nil, err
	}
	var states []string
	for p.peek() != "}" {
		s, err := p.name()
		if err != nil {
			return nil, err
		}
		if len(states) == count {
			return nil, fmt.Errorf("more than %d states", count)
		}
		states = append(states, s)
		p.comma()
	}
	p.next()
	if len(states) != count {
		return nil, fmt.Errorf("%d states, want %d", len(states), count)
	}
	return states, p.expect(";")
}

func (p *bifParser) comma() {
	if p.peek() == "," {
		p.next()
	}
}

func (p *bifParser) probability() error {
	if err := p.expect("("); err != nil {
		return err
	}
	var family []int
	for p.peek() != ")" {
		if len(family) == 1 && p.peek() == "|" {
			p.next()
		}
		name, err := p.name()
		if err != nil {
			return err
		}
		i, ok := p.index[name]
		if !ok {
			return fmt.Errorf("unknown variable %q", name)
		}
		if slices.Contains(family, i) {
			return fmt.Errorf("variable %q twice in one block", name)
		}
		family = append(family, i)
		p.comma()
	}
	p.next()
	if len(family) == 0 {
		return errors.New("a probability block of no variable")
	}
	i := family[0]
	v := &p.net.Nodes[i]
	if p.defined[i] {
		return fmt.Errorf("probability of %q a second time", v.Name)
	}
	p.defined[i] = true
	v.Parents = family[1:]
	configs, err := p.net.configurations(v.Parents, len(v.States))
	if err != nil {
		return err
	}
	if p.cells += configs * len(v.States); p.cells > MaxCells {
		return fmt.Errorf("more than %d probabilities", MaxCells)
	}
	v.CPT = make([]float64, configs*len(v.States))
	for at := range v.CPT {
		v.CPT[at] = math.NaN()
	}
	if err := p.expect("{"); err != nil {
		return err
	}
	if err := p.rows(v); err != nil {
		return fmt.Errorf("probability of %q: %w", v.Name, err)
	}
	return nil
}

// rows takes the entries of a probability block and its closing brace.
func (p *bifParser) rows(v *Node) error {
	k := len(v.States)
	var fallback []float64
	for {
		switch t := p.next(); t {
		case "}":
			return finishRows(v, fallback)
		case "property":
			if err := p.skip(); err != nil {
				return err
			}
		case "table":
			table, err := p.numbers(len(v.CPT))
			if err != nil {
				return err
			}
			configs := len(v.CPT) / k
			for at, x := range table {
				v.CPT[at%configs*k+at/configs] = x
			}
		case "default":
			var err error
			if fallback, err = p.numbers(k); err != nil {
				return err
			}
		case "(":
			c, err := p.configuration(v)
			if err != nil {
				return err
			}
			row, err := p.numbers(k)
			if err != nil {
				return err
			}
			copy(v.CPT[c*k:], row)
		default:
			return fmt.Errorf("%.40q in a probability block", t)
		}
	}
}

// configuration takes the states of the parents, after the opening parenthesis.
func (p *bifParser) configuration(v *Node) (int, error) {
	c := 0
	for _, parent := range v.Parents {
		name, err := p.name()
		if err != nil {
			return 0, err
		}
		states := p.net.Nodes[parent].States
		s := slices.Index(states, name)
		if s < 0 {
			return 0, fmt.Errorf("%q has no state %q", p.net.Nodes[parent].Name, name)
		}
		c = c*len(states) + s
		p.comma()
	}
	return c, p.expect(")")
}

// numbers takes so many numbers and a semicolon.
func (p *bifParser) numbers(count int) ([]float64, error) {
	list := make([]float64, 0, min(count, 4096))
	for p.peek() != ";" {
		t := p.next()
		x, err := strconv.ParseFloat(t, 64)
		if err != nil || !(x >= 0 && x <= 1+bifTolerance) {
			return nil, fmt.Errorf("%.40q where a probability should be", t)
		}
		if len(list) == count {
			return nil, fmt.Errorf("more than %d probabilities", count)
		}
		list = append(list, x)
		p.comma()
	}
	p.next()
	if len(list) != count {
		return nil, fmt.Errorf("%d probabilities, want %d", len(list), count)
	}
	return list, nil
}

// finishRows fills in the default and scales the rows.
func finishRows(v *Node, fallback []float64) error {
	k := len(v.States)
	for c := 0; c < len(v.CPT); c += k {
		row := v.CPT[c : c+k]
		if math.IsNaN(row[0]) {
			if fallback == nil {
				return fmt.Errorf("no row for configuration %d", c/k)
			}
			copy(row, fallback)
		}
		sum := 0.0
		for _, x := range row {
			sum += x
		}
		if math.Abs(sum-1) > bifTolerance {
			return fmt.Errorf("the row of configuration %d sums to %v, want 1", c/k, sum)
		}
		if math.Abs(sum-1) > 1e-12 {
			for s := range row {
				row[s] /= sum
			}
		}
	}
	return nil
}
