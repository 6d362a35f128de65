// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// A step of a test is a batch: items such as r1=5 (a reading at second 1 of value 5), h1=5 (one that is held back), w1=5
// (a whole entry), v1=5:critical (a verdict), q1=5:warning (a remark); a letter before the kind is the device.
func parseItems(t *testing.T, batch string) (items []item) {
	t.Helper()
	for word := range strings.FieldsSeq(batch) {
		it := item{Entry: Entry{Device: word[:1], Score: math.NaN()}}
		word, severity, _ := strings.Cut(word[1:], ":")
		var at int
		if _, err := fmt.Sscanf(word[1:], "%d=%g", &at, &it.Value); err != nil {
			t.Fatal(word, err)
		}
		it.At, it.Severity = time.Unix(int64(at), 0), severity
		it.what = map[byte]what{'r': waiting, 'h': reading, 'w': whole, 'v': judgment, 'q': remark}[word[0]]
		items = append(items, it)
	}
	return items
}

func TestJoin(t *testing.T) {
	for name, c := range map[string]struct {
		batches []string // the last one is the end
		want    []string
	}{
		"at once":             {[]string{"ar1=5 av1=5:normal", ""}, []string{"a1:normal", ""}},
		"with the next":       {[]string{"ar1=5", "av1=5:critical", ""}, []string{"", "a1:critical", ""}},
		"never":               {[]string{"ar1=5", "", "av1=5:normal", ""}, []string{"", "a1", "", ""}},
		"at the end":          {[]string{"ar1=5"}, []string{"a1"}},
		"order is kept":       {[]string{"ar1=5 br1=5 bv1=5:normal bw2=1", "av1=5:normal", ""}, []string{"", "a1:normal b1:normal b2", ""}},
		"held back":           {[]string{"ah1=5", ""}, []string{"a1", ""}},
		"remark alone":        {[]string{"ah1=5 aq1=5:warning", ""}, []string{"a1:warning", ""}},
		"remark is worse":     {[]string{"ar1=5 aq1=5:warning av1=5:normal", ""}, []string{"a1:warning", ""}},
		"verdict is worse":    {[]string{"ar1=5 aq1=5:warning av1=5:critical", ""}, []string{"a1:critical", ""}},
		"a repeat":            {[]string{"ar1=5 ah1=5 av1=5:critical", ""}, []string{"a1:critical a1", ""}},
		"of its own series":   {[]string{"ar1=5 br1=5 bv1=5:critical", "", ""}, []string{"", "a1 b1:critical", ""}},
		"of a group":          {[]string{"ar1=5 br2=7 av1=5:normal bv1=7:critical", ""}, []string{"a1:normal b2:critical", ""}},
		"of a held member":    {[]string{"br1=7 bv1=7:normal", "bv2=7:critical", ""}, []string{"b1:normal", "", ""}},
		"of nothing":          {[]string{"av1=5:normal", ""}, []string{"", ""}},
		"twice the same":      {[]string{"ar1=5 ar2=5 av1=5:warning av2=5:normal", ""}, []string{"a1:warning a2:normal", ""}},
		"carried with others": {[]string{"ar1=5", "ar2=6 av2=6:normal", "ar3=7 av3=7:normal", ""}, []string{"", "a1 a2:normal", "a3:normal", ""}},
	} {
		var j joiner
		for i, batch := range c.batches {
			var got []string
			for _, e := range j.join(parseItems(t, batch), i == len(c.batches)-1) {
				text := fmt.Sprintf("%s%d", e.Device, e.At.Unix())
				if e.Severity != "" {
					text += ":" + e.Severity
				}
				got = append(got, text)
			}
			if s := strings.Join(got, " "); s != c.want[i] {
				t.Errorf("%s: batch %d gave %q, want %q", name, i, s, c.want[i])
			}
		}
		if len(j.work) != 0 {
			t.Errorf("%s: %d entries stay", name, len(j.work))
		}
	}
}
