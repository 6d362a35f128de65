// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func ExampleLegalTwinValue() {
	for _, v := range []string{"21.5", "1e+20", " ON ", `{"score":0.97,"kind":"drift"}`, "a=b; c|d", "21 °C", "温度"} {
		fmt.Printf("%q\n", LegalTwinValue(v))
	}
	// Output:
	// "21.5"
	// "100000000000000000000"
	// "ON"
	// "score:0.97,kind:drift"
	// "a:b,_c/d"
	// "21__C"
	// ""
}

func TestLegalTwinValue(t *testing.T) {
	long := strings.Repeat("x", 512)
	for _, tc := range []struct {
		in, want string
		how      legality
	}{
		{"", "", legalAsIs},
		{"azAZ09-_.,:/@#", "azAZ09-_.,:/@#", legalAsIs},
		{"-1.5e-7", "-1.5e-7", legalAsIs}, // legal although not pretty
		{"---", "---", legalAsIs},
		{"1.5e+3", "1500", legalRewritten},
		{"+5", "5", legalRewritten},
		{"+Inf", "Inf", legalRewritten},
		{" -2e+1\n", "-20", legalRewritten},
		{"1e+300", "1" + strings.Repeat("0", 300), legalRewritten},
		{"a+b", "ab", legalRewritten},
		{`C:\temp`, "C:/temp", legalRewritten},
		{"x&y", "x#y", legalRewritten},
		{"a\x00b\xff", "a_b_", legalRewritten},
		{"  ", "", legalNoForm},
		{"{}", "", legalNoForm},
		{"???", "", legalNoForm},
		{"\xff\xfe", "", legalNoForm},
		{long, long, legalAsIs},
		{long + "y", long, legalTruncated},
		{" " + long + " y", long, legalTruncated},
	} {
		if got, how := legalTwinValue(tc.in); got != tc.want || how != tc.how {
			t.Errorf("%.40q: got %.40q (%d), want %.40q (%d)", tc.in, got, how, tc.want, tc.how)
		}
	}
}

func FuzzLegalTwinValue(f *testing.F) {
	for _, seed := range []string{"", "21.5", "1e+20", "温度 21", `{"a":[1,2]}`, "\xff", strings.Repeat("é1", 400)} {
		f.Add(seed)
	}
	edgecore := regexp.MustCompile(`^[a-zA-Z0-9-_.,:/@#]{0,512}$`) // its own words
	f.Fuzz(func(t *testing.T, v string) {
		got := LegalTwinValue(v)
		if !edgecore.MatchString(got) {
			t.Errorf("%q becomes %q, which is not legal", v, got)
		}
		if again := LegalTwinValue(got); again != got {
			t.Errorf("%q becomes %q and then %q", v, got, again)
		}
	})
}
