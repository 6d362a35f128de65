// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// Converter turns what a device driver returned into a number. It is the state of one property.
//
// Numbers and booleans are themselves. Text is parsed by the declared data type; text of a string or bytes property is
// an enumeration: its number is the index among the categories, configured or learned in order of appearance.
//
// Whether texts of such a property are numbers or categories shows with the first few of them: a category may look like
// a number ("0", "1e5"), and a sensor that is not there yet may say so in a word ("unavailable"). Until it is settled,
// what parses is a number. Once a property is numeric, text that does not parse is a fault.
type Converter struct {
	dataType   string
	configured bool
	mode       mode
	categories []string
	numbers    uint8 // evidence for a numeric property while that is undecided, up to settled
	words      uint8 // texts that are neither numbers nor placeholders, likewise
}

type mode uint8

const (
	undecided mode = iota
	numeric
	categorical
)

const (
	maxCategories = 64 // beyond these a text is not an enumeration; all others share one index
	maxCategory   = 64 // bytes of a text that tell categories apart
	keptText      = 256

	settled  = 32 // evidence after which a property is numeric for good
	fraction = 4  // evidence that "21.5" is: as much as four of "21", which may as well be the name of something
)

// placeholders stand for a reading that is not there; so does what begins with one of failures. They say nothing of what
// the property is.
var (
	placeholders = map[string]bool{
		"-": true, "--": true, "?": true, "n/a": true, "na": true, "#n/a": true, "nan": true, "nil": true, "null": true,
		"none": true, "unknown": true, "unavailable": true, "undefined": true, "offline": true,
	}
	failures = []string{"err", "fail", "fault", "timeout", "invalid", "missing", "bad "}
)

// NewConverter makes a converter for a property of the declared data type, and of the configured categories where it is
// an enumeration.
func NewConverter(dataType string, categories []string) (Converter, error) {
	c := Converter{dataType: strings.ToLower(dataType)}
	switch c.dataType {
	case "int", "integer", "float", "double", "boolean", "bool":
		c.mode = numeric // other types show with their first reading what they are
	}
	if len(categories) > maxCategories {
		return c, fmt.Errorf("categories: got %d, want at most %d", len(categories), maxCategories)
	}
	if len(categories) > 0 {
		c.mode, c.configured, c.categories = categorical, true, slices.Clone(categories)
		for i, text := range c.categories {
			c.categories[i] = clip(text)
		}
	}
	return c, nil
}

// Convert returns the number of a reading, the text it came from if it was text, and what was wrong with it.
func (c *Converter) Convert(v any) (float64, string, driver.Flags) {
	switch v := v.(type) {
	case float64:
		return c.Number(v)
	case float32:
		return c.Number(float64(v))
	case int:
		return c.Number(float64(v))
	case int64:
		return c.Number(float64(v))
	case bool:
		if v {
			return c.Number(1)
		}
		return c.Number(0)
	case string:
		return c.Text(v)
	case []byte:
		return c.Text(string(v))
	case json.Number:
		return c.Text(v.String())
	case nil:
		return math.NaN(), "", driver.Unparsable
	}
	return c.reflected(v)
}

func (c *Converter) reflected(v any) (float64, string, driver.Flags) {
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Pointer {
		if rv.IsNil() {
			return c.Convert(nil)
		}
		rv = rv.Elem()
	}
	switch {
	case rv.CanInt():
		return c.Number(float64(rv.Int()))
	case rv.CanUint():
		return c.Number(float64(rv.Uint()))
	case rv.CanFloat():
		return c.Number(rv.Float())
	case rv.Kind() == reflect.Bool:
		return c.Convert(rv.Bool())
	case rv.Kind() == reflect.String:
		return c.Text(rv.String())
	}
	if s, ok := v.(fmt.Stringer); ok {
		if text, ok := textOf(s); ok {
			return c.Text(text)
		}
	}
	return math.NaN(), "", driver.Unparsable
}

// textOf is the text of a value. What a device driver returned may be nil within, or panic otherwise.
func textOf(s fmt.Stringer) (text string, ok bool) {
	defer func() {
		if recover() != nil {
			text, ok = "", false
		}
	}()
	return s.String(), true
}

// Number is Convert for what is a number already.
func (c *Converter) Number(v float64) (float64, string, driver.Flags) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return v, "", driver.NotANumber
	}
	if c.mode == categorical && c.configured { // an enumeration may also come as its texts' numbers
		return c.category(strconv.FormatFloat(v, 'f', -1, 64))
	}
	return v, "", 0
}

// Text is Convert for what is text already.
func (c *Converter) Text(s string) (float64, string, driver.Flags) {
	if c.mode == categorical {
		return c.category(s)
	}
	v, ok := parseText(s, c.dataType)
	if c.mode == undecided && c.decide(s, v, ok) {
		return c.category(s)
	}
	if ok {
		return c.Number(v)
	}
	return math.NaN(), clipTo(s, keptText), driver.Unparsable
}

// decide takes a text as evidence of what an undecided property is, and reports whether it is an enumeration.
func (c *Converter) decide(s string, v float64, number bool) bool {
	s = strings.ToLower(strings.TrimSpace(s))
	switch {
	case number && !math.IsNaN(v) && !math.IsInf(v, 0):
		c.numbers++
		if v != math.Trunc(v) {
			c.numbers += fraction - 1
		}
		if c.numbers >= settled {
			c.mode = numeric
		}
		return false
	case s == "" || placeholders[s] || slices.ContainsFunc(failures, func(f string) bool { return strings.HasPrefix(s, f) }):
		return false
	}
	c.words++
	if fraction*int(c.words) <= int(c.numbers) {
		return false
	}
	c.mode = categorical
	return true
}

func (c *Converter) category(s string) (float64, string, driver.Flags) {
	s = clip(s)
	if i := slices.Index(c.categories, s); i >= 0 {
		return float64(i), c.categories[i], 0
	}
	if c.configured || len(c.categories) >= maxCategories {
		return float64(len(c.categories)), s, driver.Unseen
	}
	c.categories = append(c.categories, strings.Clone(s))
	return float64(len(c.categories) - 1), s, 0
}

func clip(s string) string { return clipTo(s, maxCategory) }

// clipTo is the text without the space around it, up to a length. It keeps no long text alive: readings wait in queues.
func clipTo(s string, most int) string {
	short := strings.TrimSpace(s)
	if len(short) > most {
		short = strings.ToValidUTF8(short[:most], "")
	}
	if len(s) > 2*most {
		return strings.Clone(short)
	}
	return short
}

// parseText reads a number or, for a boolean, one of the usual words.
func parseText(s, dataType string) (float64, bool) {
	s = strings.TrimSpace(s)
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		return v, true
	}
	if dataType != "boolean" && dataType != "bool" {
		return 0, false
	}
	switch strings.ToLower(s) {
	case "true", "on", "yes", "open", "enabled", "active":
		return 1, true
	case "false", "off", "no", "closed", "disabled", "inactive":
		return 0, true
	}
	return 0, false
}

// States are what the numbers of an enumeration or of a boolean stand for, from 0 on, as far as they are known; nil where
// they are numbers.
func (c *Converter) States() []string {
	switch {
	case c.dataType == "boolean" || c.dataType == "bool":
		return []string{"false", "true"}
	case c.mode == categorical:
		return slices.Clone(c.categories)
	}
	return nil
}

// EncodeState writes what was learned.
func (c *Converter) EncodeState(w *state.Writer) {
	w.Uint(uint64(c.mode))
	w.Uint(uint64(len(c.categories)))
	for _, text := range c.categories {
		w.Text(text)
	}
	w.Uint(uint64(c.numbers))
	w.Uint(uint64(c.words))
}

// DecodeState reads what EncodeState wrote. Configured categories win over learned ones.
func (c *Converter) DecodeState(r *state.Reader) {
	m := mode(r.Count("mode", int(categorical)))
	n := r.Count("categories", maxCategories)
	categories := make([]string, 0, n)
	for range n {
		categories = append(categories, r.Text("category", maxCategory))
	}
	numbers, words := r.Count("numbers", settled+fraction), r.Count("words", settled)
	if r.Err() == nil && !c.configured {
		c.mode, c.categories, c.numbers, c.words = m, categories, uint8(numbers), uint8(words)
	}
}
