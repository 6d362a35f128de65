// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBIFRoundTrip(t *testing.T) {
	for _, name := range []string{"asia.bif", "alarm.bif"} {
		n := load(t, name)
		var b bytes.Buffer
		if err := WriteBIF(&b, n); err != nil {
			t.Fatal(err)
		}
		again, err := ReadBIF(&b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(n, again); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if n := load(t, "alarm.bif"); len(n.Nodes) != 37 || len(n.Edges()) != 46 {
		t.Errorf("Alarm has %d nodes and %d edges, want 37 and 46", len(n.Nodes), len(n.Edges()))
	}
}

// The dialects of other programs: quotes, properties, comments, commas left out, a table in the order of the standard
// (the node slowest) and parents without a bar, as JavaBayes writes them.
func TestBIFDialects(t *testing.T) {
	const text = `
// written by hand
network "two nodes" { property "author nobody; really"; }
variable "a b" { //2 values
	type discrete[2] { "x y" "z" };
	property "position = (54, 35)" ;
}
variable c { type discrete [ 3 ] { lo, mid, hi }; }
/* the tables
   follow */
probability ( "a b" ) { table 0.3333333 0.6666666 ; }
probability ( "c" "a b" ) {
	table 0.1 0.2 0.3 0.3 0.6 0.5 ;
}`
	n, err := ReadBIF(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	third := 0.3333333 / 0.9999999
	want := &Network{Name: "two nodes", Nodes: []Node{
		{Name: "a b", States: []string{"x y", "z"}, Parents: []int{}, CPT: []float64{third, 1 - third}},
		{Name: "c", States: []string{"lo", "mid", "hi"}, Parents: []int{0}, CPT: []float64{0.1, 0.3, 0.6, 0.2, 0.3, 0.5}},
	}}
	if diff := cmp.Diff(want, n, cmp.Comparer(func(a, b float64) bool { return near(a, b, 1e-15) })); diff != "" {
		t.Error(diff)
	}
}

func TestBIFErrorsNameTheLine(t *testing.T) {
	const a = "network n {\n}\nvariable a { type discrete [ 2 ] { x, y }; }\n"
	for name, c := range map[string]struct{ text, want string }{
		"no table":    {a, `"a" has no probability`},
		"unknown":     {a + "probability ( b ) { table 1; }", `line 4: unknown variable "b"`},
		"twice":       {a + "variable a { type discrete [ 1 ] { x }; }", "line 4"},
		"sum":         {a + "probability ( a ) { table 0.5, 0.6; }", "sums to 1.1"},
		"too few":     {a + "probability ( a ) { table 1; }", "1 probabilities, want 2"},
		"too many":    {a + "probability ( a ) { table 1, 0, 0; }", "more than 2"},
		"negative":    {a + "probability ( a ) { table -1, 2; }", "probability should be"},
		"NaN":         {a + "probability ( a ) { table NaN, 1; }", "probability should be"},
		"no row":      {a + "probability ( a ) { }", "no row"},
		"count":       {"variable a { type discrete [ 9999 ] { x }; }", "number of states"},
		"states":      {"variable a { type discrete [ 2 ] { x }; }", "1 states, want 2"},
		"rubbish":     {"hello", `"hello" where`},
		"end":         {"variable a {", "in a variable block"},
		"quote":       {`variable "a`, "where a name should be"},
		"cycle":       {a + "variable b { type discrete [ 1 ] { x }; }\nprobability ( a | b ) { default 1, 0; }\nprobability ( b | a ) { default 1; }", "cycle"},
		"state":       {a + "variable b { type discrete [ 1 ] { x }; }\nprobability ( b | a ) {\n (q) 1; }", `"a" has no state "q"`},
		"own parent":  {a + "probability ( a | a ) { default 1, 0; }", "twice"},
		"no variable": {a + "probability ( ) { table 1; }", "no variable"},
	} {
		_, err := ReadBIF(strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	bad := &Network{Nodes: []Node{{Name: "a\nb", States: []string{"x"}, CPT: []float64{1}}}}
	if err := WriteBIF(&bytes.Buffer{}, bad); !errors.Is(err, ErrInvalid) {
		t.Errorf("a name with a line break: %v", err)
	}
}

// FuzzReadBIF: no text makes the reader panic, and what it accepts it reads again as it wrote it.
func FuzzReadBIF(f *testing.F) {
	text, err := os.ReadFile(filepath.Join("testdata", "asia.bif"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add("network \"x y\" { property a; }\nvariable a { type discrete[1] { \"s t\" }; }\nprobability ( a ) { default 1; } /* */ // ")
	f.Add("variable a { type discrete[2] { b c }; } probability (a|a) { (b) 1 0; table 1 0; }")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ReadBIF(strings.NewReader(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := WriteBIF(&b, n); err != nil {
			if strings.ContainsAny(text, "\n\r") {
				return // a quoted name may span lines
			}
			t.Fatal(err)
		}
		again, err := ReadBIF(&b)
		if err != nil {
			t.Fatalf("%v in\n%s", err, b.String())
		}
		if n.Name == "" {
			n.Name = "unknown"
		}
		if diff := cmp.Diff(n, again, cmp.Comparer(func(a, b float64) bool { return near(a, b, 1e-9) })); diff != "" {
			t.Fatal(diff)
		}
	})
}
