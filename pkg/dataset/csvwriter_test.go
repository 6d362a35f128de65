// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package dataset_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

var at = time.Date(2026, time.March, 1, 12, 30, 0, 0, time.UTC)

func TestCSVWriter(t *testing.T) {
	var b strings.Builder
	w := dataset.NewCSVWriter(&b, "time", "a, b")
	w.Time(at.Add(time.Millisecond))
	w.Text(`say "no"`)
	w.Number(0.1)
	w.Number(math.NaN())
	w.Rounded(2.0/3, 3)
	w.Text("")
	w.End()
	w.Text("#1")
	w.End()
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	const want = "time,\"a, b\"\n2026-03-01T12:30:00.001Z,\"say \"\"no\"\"\",0.1,,0.667,\n\"#1\"\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestCSVWriterKeepsTheFirstError(t *testing.T) {
	w := dataset.NewCSVWriter(fullDisk{}, "timestamp", "value")
	for range 10_000 {
		w.Reading(dataset.Reading{At: at, Value: 1})
	}
	if err := w.Flush(); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error is %v", err)
	}
}

// FuzzSplitFields: whatever a line is, it is cut without a panic, and fields without line breaks come back as written.
func FuzzSplitFields(f *testing.F) {
	for _, s := range []string{"2026-03-01 12:30:00,21.5", `"a","b ""c"""`, `"`, ",", "#1,x", `a"b,"c"d`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		fields, err := dataset.SplitFields(nil, line, ',')
		if err != nil || strings.ContainsAny(line, "\r\n") {
			return
		}
		var b strings.Builder
		w := dataset.NewCSVWriter(&b)
		for _, field := range fields {
			w.Text(field)
		}
		w.End()
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		written := strings.Trim(b.String(), "\n")
		if again, err := dataset.SplitFields(nil, written, ','); err != nil || !slices.Equal(again, fields) {
			t.Fatalf("%q was written as %q and is read as %q, error %v", fields, written, again, err)
		}
	})
}

func ExampleCSVWriter() {
	w := dataset.NewCSVWriter(os.Stdout, "timestamp", "value")
	w.Reading(dataset.Reading{At: time.Date(2026, time.March, 1, 12, 30, 0, 0, time.UTC), Value: 21.5})
	if err := w.Flush(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// timestamp,value
	// 2026-03-01T12:30:00Z,21.5
}
