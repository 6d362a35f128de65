// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/examples/restful-light-mapper/verdictlog"
)

// style is how a line looks on a terminal: an SGR code.
type style string

const (
	plain  style = ""
	bold   style = "1"
	faint  style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

// account tells what happens, a line each, from whatever goroutine it happens in.
type account struct {
	mu      sync.Mutex
	out     io.Writer
	colour  bool
	watched bool // by somebody at a terminal
	started time.Time
}

// newAccount colours its lines on a terminal that shows colours, unless NO_COLOR is set.
func newAccount(out io.Writer, started time.Time) *account {
	a := &account{out: out, started: started}
	if f, ok := out.(*os.File); ok {
		a.watched = term.IsTerminal(int(f.Fd()))
		a.colour = a.watched && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return a
}

func (a *account) paint(s style, text string) string {
	if !a.colour || s == plain {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// begin starts the clock anew.
func (a *account) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.started = time.Now()
}

// since is the time from the beginning to t.
func (a *account) since(t time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return t.Sub(a.started)
}

// say prints a line with the time since the beginning.
func (a *account) say(s style, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintf(a.out, "%s  %s\n", a.paint(faint, fmt.Sprintf("%6.1f s", time.Since(a.started).Seconds())), a.paint(s, text))
}

// print prints a text as it is.
func (a *account) print(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintln(a.out, text)
}

// incident tells how a stream fares.
func (a *account) incident(i incident) {
	switch {
	case i.over:
		a.say(green, "verdict   %v is normal again", i.stream)
	case i.baseless:
		a.say(red, "verdict   %v, although nothing is wrong: %s", i.stream, describe(i.line))
	default:
		a.say(red, "verdict   %v: %s", i.stream, describe(i.line))
	}
}

// edge tells what EdgeCore sees of devices; the values of sensors are too many.
func (a *account) edge(ev edgecoretest.Event) {
	switch ev.Kind {
	case edgecoretest.EventRegistered:
		a.say(plain, "edgecore  mapper %s", ev.Detail)
	case edgecoretest.EventState:
		a.say(faint, "edgecore  state of %s: %s", ev.Device, ev.Value)
	case edgecoretest.EventThrottled:
		a.say(yellow, "edgecore  %s refused by the limiter", ev.Detail)
	}
}

// describe is a verdict in a few words.
func describe(l verdictlog.Line) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, score %.3f", judgement(l), float64(l.Score))
	for _, n := range []struct {
		name  string
		value verdictlog.Number
	}{{"read", l.Value}, {"expected", l.Expected}} {
		if v := float64(n.value); !math.IsNaN(v) {
			b.WriteString(", " + n.name + " " + strconv.FormatFloat(v, 'f', -1, 32))
		}
	}
	if len(l.Causes) > 0 {
		b.WriteString(": " + l.Message) // which names them
	}
	if l.Detector != "" {
		b.WriteString(" (" + l.Detector + ")")
	}
	return b.String()
}

// judgement is severity and kind.
func judgement(l verdictlog.Line) string {
	if l.Kind == driver.KindNone {
		return l.Severity.String()
	}
	return l.Severity.String() + " " + string(l.Kind)
}
