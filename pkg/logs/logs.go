// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package logs is how this project writes to klog. It has two rules.
//
// What is logged stays on its line. Texts come from devices, from who writes a Device, from detectors and from peers; a
// newline in one of them must not look like a line of the mapper's own (CWE-117). All that is not printable is escaped as
// in Go source. Only the stack of a panic has lines of its own, indented as klog does it.
//
// What lasts is not told over and over: a [Limiter] tells it once a minute, with a count of what it left out.
package logs

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"k8s.io/klog/v2"
)

// Infof logs as [klog.Infof] does.
func Infof(format string, args ...any) { klog.InfoDepth(1, Line(fmt.Sprintf(format, args...))) }

// Warningf logs as [klog.Warningf] does.
func Warningf(format string, args ...any) { klog.WarningDepth(1, Line(fmt.Sprintf(format, args...))) }

// Errorf logs as [klog.Errorf] does.
func Errorf(format string, args ...any) { klog.ErrorDepth(1, Line(fmt.Sprintf(format, args...))) }

// InfoS logs as [klog.InfoS] does.
func InfoS(message string, keysAndValues ...any) {
	klog.InfoSDepth(1, Line(message), values(keysAndValues)...)
}

// ErrorS logs as [klog.ErrorS] does.
func ErrorS(err error, message string, keysAndValues ...any) {
	klog.ErrorSDepth(1, onLine(err), Line(message), values(keysAndValues)...)
}

// Verbose is what [V] returns.
type Verbose bool

// V tells whether lines of a level are logged, as [klog.V] does.
func V(level klog.Level) Verbose { return Verbose(klog.V(level).Enabled()) }

// InfoS logs if the level is logged.
func (v Verbose) InfoS(message string, keysAndValues ...any) {
	if v {
		klog.InfoSDepth(1, Line(message), values(keysAndValues)...)
	}
}

// ErrorS logs if the level is logged.
func (v Verbose) ErrorS(err error, message string, keysAndValues ...any) {
	if v {
		klog.ErrorSDepth(1, onLine(err), Line(message), values(keysAndValues)...)
	}
}

// Line escapes what would leave the line or hide it: everything that is not printable.
func Line(text string) string {
	if strings.IndexFunc(text, hidden) < 0 && strings.ToValidUTF8(text, "") == text {
		return text
	}
	quoted := strconv.Quote(text)
	return strings.ReplaceAll(strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`), `\\`, `\`)
}

// Name is a name as a word of a line: as it is, or quoted where it holds anything but letters, digits and the usual
// signs of names.
func Name(name string) string {
	odd := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune("-_./:@#%+~°", r)
	}
	if name == "" || strings.IndexFunc(name, odd) < 0 && strings.ToValidUTF8(name, "") == name {
		return name
	}
	return strconv.Quote(name)
}

func hidden(r rune) bool { return !strconv.IsPrint(r) }

// values makes sure that klog, which gives texts with newlines a block of lines, gives them one.
func values(keysAndValues []any) []any {
	for i, v := range keysAndValues {
		text := ""
		switch v := v.(type) {
		case nil, Stack, interface{ MarshalLog() any }:
			continue
		case string:
			text = v
		case error, fmt.Stringer:
			text = fmt.Sprint(v) // which survives that they panic
		default:
			switch reflect.TypeOf(v).Kind() {
			case reflect.String, reflect.Slice, reflect.Array, reflect.Map, reflect.Struct, reflect.Pointer:
				text = fmt.Sprintf("%+v", v)
				keysAndValues[i] = text
			}
		}
		if strings.ContainsRune(text, '\n') {
			keysAndValues[i] = quoted(text)
		}
	}
	return keysAndValues
}

// quoted is a text that klog writes as this type says.
type quoted string

// WriteText implements what klog asks of values that write themselves.
func (q quoted) WriteText(b *bytes.Buffer) { b.WriteString(strconv.Quote(string(q))) }

func onLine(err error) error {
	if err == nil {
		return nil
	}
	if text := fmt.Sprint(err); strings.ContainsRune(text, '\n') {
		return lineError{Line(text), err}
	}
	return err
}

// lineError is an error whose text has one line.
type lineError struct {
	text string
	err  error
}

func (e lineError) Error() string { return e.text }
func (e lineError) Unwrap() error { return e.err }

// Stack is the stack of a panic, as a value to be logged.
type Stack []byte

// WriteText implements what klog asks of values that write themselves.
func (s Stack) WriteText(b *bytes.Buffer) {
	b.WriteString("<\n")
	for line := range strings.Lines(strings.TrimSpace(string(s))) {
		b.WriteString("\t" + Line(strings.TrimSuffix(strings.ReplaceAll(line, "\t", "    "), "\n")) + "\n")
	}
	b.WriteString(" >")
}

func (s Stack) String() string { return string(s) }
