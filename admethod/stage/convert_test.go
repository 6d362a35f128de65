// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

type celsius float32

type color int

func (c color) String() string { return [...]string{"red", "green"}[c] }

func TestConvert(t *testing.T) {
	seven := 7
	nan := math.NaN()
	tests := []struct {
		dataType   string
		categories []string
		reading    any
		want       float64
		flags      driver.Flags
	}{
		{"int", nil, 5, 5, 0},
		{"int", nil, int8(-5), -5, 0},
		{"int", nil, uint64(1 << 40), 1 << 40, 0},
		{"int", nil, " 42 ", 42, 0},
		{"int", nil, &seven, 7, 0},
		{"int", nil, "forty-two", nan, driver.Unparsable},
		{"float", nil, float32(0.5), 0.5, 0},
		{"double", nil, celsius(21.5), 21.5, 0},
		{"double", nil, "1e3", 1000, 0},
		{"double", nil, "NaN", nan, driver.NotANumber},
		{"double", nil, math.Inf(1), math.Inf(1), driver.NotANumber},
		{"boolean", nil, true, 1, 0},
		{"boolean", nil, "OFF", 0, 0},
		{"boolean", nil, "1", 1, 0},
		{"boolean", nil, "perhaps", nan, driver.Unparsable},
		{"string", nil, "23.5", 23.5, 0},
		{"string", nil, "ON", 0, 0}, // the first category met
		{"string", []string{"OFF", "ON"}, "ON", 1, 0},
		{"string", []string{"OFF", "ON"}, "MELTED", 2, driver.Unseen},
		{"string", []string{"0", "1"}, 1, 1, 0},
		{"bytes", nil, []byte("3.25"), 3.25, 0},
		{"bytes", nil, []byte("idle"), 0, 0},
		{"", nil, color(1), 1, 0},
		{"string", nil, nil, nan, driver.Unparsable},
		{"string", nil, "", nan, driver.Unparsable},
		{"string", nil, struct{}{}, nan, driver.Unparsable},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s/%v", tt.dataType, tt.reading), func(t *testing.T) {
			c, err := NewConverter(tt.dataType, tt.categories)
			if err != nil {
				t.Fatal(err)
			}
			got, _, flags := c.Convert(tt.reading)
			if got != tt.want && !(math.IsNaN(got) && math.IsNaN(tt.want)) || flags != tt.flags {
				t.Errorf("got %v, flags %b; want %v, flags %b", got, flags, tt.want, tt.flags)
			}
		})
	}
}

// Categories are learned in order of appearance and survive a restart; a numeric stream stays numeric.
func TestConvertLearnsCategories(t *testing.T) {
	c, err := NewConverter("string", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"heat", "cool", "off", "12"} {
		if got, _, flags := c.Convert(text); got != float64(i) || flags != 0 {
			t.Errorf("%q is %v, flags %b; want %d", text, got, flags, i)
		}
	}
	var w state.Writer
	c.EncodeState(&w)
	restored, err := NewConverter("string", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := state.Restore(&restored, w.Bytes); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := restored.Convert("off"); got != 2 {
		t.Errorf(`after a restart "off" is %v, want 2`, got)
	}

	n, err := NewConverter("string", nil)
	if err != nil {
		t.Fatal(err)
	}
	n.Convert("20.5")
	if got, _, flags := n.Convert("error 7"); !math.IsNaN(got) || flags != driver.Unparsable {
		t.Errorf("text in a numeric stream is %v, flags %b; want a fault", got, flags)
	}
}

// What a property of texts is shows with the first few of them: a state may look like a number, and a sensor that is not
// there yet says so in a word.
func TestConvertFindsOutWhatTextsAre(t *testing.T) {
	tests := []struct {
		name    string
		texts   []string // again and again
		numbers bool
		invalid int // texts of the first 120 that are told as faults, at most
	}{
		{"states, the first a number", []string{"0", "idle", "run"}, false, 1},
		{"states, two of them numbers", []string{"0", "1", "idle", "run"}, false, 2},
		{"states like infinities", []string{"inf", "nan", "ok"}, false, 2},
		{"serial numbers", []string{"1e5", "5f3", "0x1f", "7a"}, false, 1},
		{"unavailable first, then a measurement", append([]string{"unavailable"}, numbersTo(119)...), true, 1},
		{"errors first, then a measurement", append([]string{"ERR 12", "error", "N/A", "-"}, numbersTo(116)...), true, 4},
		{"a word among decimals", append(append(numbersTo(3), "warming up"), numbersTo(116)...), true, 1},
		{"an error among integers", []string{"20", "21", "error", "22"}, true, 30},
		{"integers", []string{"20", "21", "22"}, true, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := NewConverter("string", nil)
			if err != nil {
				t.Fatal(err)
			}
			invalid := 0
			var categories map[float64]string
			for i := range 120 {
				text := tt.texts[i%len(tt.texts)]
				v, kept, flags := c.Convert(text)
				if flags != 0 {
					invalid++
				} else if i > 60 && !tt.numbers {
					if categories == nil {
						categories = make(map[float64]string)
					}
					if before, ok := categories[v]; ok && before != text || kept != text {
						t.Fatalf("%q is %v (%q), and so was %q", text, v, kept, before)
					}
					categories[v] = text
				} else if want, _ := strconv.ParseFloat(text, 64); tt.numbers && v != want {
					t.Errorf("%q is %v", text, v)
				}
			}
			if invalid > tt.invalid {
				t.Errorf("%d readings are told as faults, want at most %d", invalid, tt.invalid)
			}
			if !tt.numbers && len(categories) != len(tt.texts) {
				t.Errorf("%d categories, want %d", len(categories), len(tt.texts))
			}
		})
	}
}

func numbersTo(n int) (texts []string) {
	for i := range n {
		texts = append(texts, fmt.Sprintf("%.1f", 20+float64(i%7)/10))
	}
	return texts
}

func TestConvertBoundsCategories(t *testing.T) {
	c, err := NewConverter("string", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 * maxCategories {
		c.Convert(fmt.Sprint("text ", i))
	}
	if len(c.categories) != maxCategories {
		t.Errorf("%d categories, want %d", len(c.categories), maxCategories)
	}
	if _, _, flags := c.Convert("one more"); flags != driver.Unseen {
		t.Errorf("flags %b, want Unseen", flags)
	}
}

func TestConvertDoesNotKeepCallersMemory(t *testing.T) {
	c, err := NewConverter("bytes", nil)
	if err != nil {
		t.Fatal(err)
	}
	buf := []byte("idle")
	_, text, _ := c.Convert(buf)
	copy(buf, "XXXX")
	if text != "idle" || c.categories[0] != "idle" {
		t.Errorf("kept the caller's memory: %q, %q", text, c.categories[0])
	}
}

type broken struct{ text string }

func (b *broken) String() string { return b.text }

// What a device driver returns is its author's: a nil in it, or a String that panics, ends nothing.
func TestConvertTakesWhatIsBroken(t *testing.T) {
	var none *float64
	for _, v := range []any{(*broken)(nil), none, (*bytes.Buffer)(nil), struct{ fmt.Stringer }{}, func() {}, make(chan int), []int{1}, map[string]int{}} {
		for _, dataType := range []string{"double", "string", "boolean", ""} {
			c, err := NewConverter(dataType, nil)
			if err != nil {
				t.Fatal(err)
			}
			if n, text, flags := c.Convert(v); !math.IsNaN(n) && flags == 0 {
				t.Errorf("%T as %q: %v, %q without a flag", v, dataType, n, text)
			}
		}
	}
}

// A short text that is kept of a long one does not keep the long one: readings wait in queues.
func TestConvertKeepsNoLongText(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	const size, texts = 1 << 20, 32
	for name, text := range map[string]func(i int) string{
		"long words":      func(i int) string { return fmt.Sprint(i%10) + strings.Repeat("x", size) },
		"much room":       func(i int) string { return strings.Repeat(" ", size) + "state " + fmt.Sprint(i%10) },
		"long failures":   func(int) string { return "error " + strings.Repeat("x", size) },
		"more than there": func(i int) string { return fmt.Sprintf("state %d", i*1000) + strings.Repeat(" ", size) },
	} {
		t.Run(name, func(t *testing.T) {
			c, err := NewConverter("string", nil)
			if err != nil {
				t.Fatal(err)
			}
			kept := []string{}
			before := inUse()
			for i := range texts {
				_, short, _ := c.Convert(text(i))
				kept = append(kept, short)
			}
			if grown := inUse() - before; grown > 4*size {
				t.Errorf("%d texts keep %d KiB", len(kept), grown>>10)
			}
			runtime.KeepAlive(kept)
		})
	}
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
