// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package verdictlog writes verdicts as JSON lines, for programs that follow a mapper.
package verdictlog

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Number is a float64 that is null in JSON where it is not finite.
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	if f := float64(n); !math.IsNaN(f) && !math.IsInf(f, 0) {
		return json.Marshal(f)
	}
	return []byte("null"), nil
}

// UnmarshalJSON implements json.Unmarshaler: null is NaN.
func (n *Number) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(raw, (*float64)(n))
}

// Line is one verdict.
type Line struct {
	At         time.Time       `json:"at"` // of the reading that was judged
	Namespace  string          `json:"namespace"`
	Device     string          `json:"device"`
	Property   string          `json:"property,omitempty"`
	Severity   driver.Severity `json:"severity"`
	Kind       driver.Kind     `json:"kind,omitempty"`
	Score      Number          `json:"score"`
	Threshold  Number          `json:"threshold"`
	Confidence Number          `json:"confidence"`
	Value      Number          `json:"value"`
	Expected   Number          `json:"expected"`
	Lower      Number          `json:"lower"`
	Upper      Number          `json:"upper"`
	Causes     []Cause         `json:"causes,omitempty"`
	// Incident is the one that the reading is part of, or ended.
	Incident *verdict.Incident `json:"incident,omitempty"`
	Detector string            `json:"detector,omitempty"`
	Model    string            `json:"model,omitempty"`
	Message  string            `json:"message,omitempty"`
	// Lost is how many verdicts before this one could not be written in time.
	Lost uint64 `json:"lost,omitempty"`
}

// Cause is who may be to blame.
type Cause struct {
	Device   string `json:"device"`
	Property string `json:"property,omitempty"`
	Weight   Number `json:"weight"`
}

func lineOf(r *driver.Result) Line {
	l := Line{
		At: r.At, Namespace: r.Key.Namespace, Device: r.Key.Device, Property: r.Key.Property,
		Severity: r.Severity, Kind: r.Kind, Score: Number(r.Score), Threshold: Number(r.Threshold),
		Confidence: Number(r.Confidence), Value: Number(r.Value), Expected: Number(r.Expected),
		Lower: Number(r.Lower), Upper: Number(r.Upper), Detector: r.Detector, Model: r.Model, Message: r.Message,
	}
	if r.Incident.ID != 0 {
		i := verdict.FromIncident(&r.Incident, r.At)
		l.Incident = &i
	}
	for _, c := range r.Causes {
		l.Causes = append(l.Causes, Cause{Device: c.Key.Device, Property: c.Key.Property, Weight: Number(c.Weight)})
	}
	return l
}

// judge is one that gives verdicts on a stream: a detector, or the quality stage beside it.
type judge struct {
	key      driver.Key
	detector string
}

type opinion struct {
	severity driver.Severity
	kind     driver.Kind
	blamed   driver.Key
	incident uint64
	phase    driver.Phase
}

// Log writes verdicts from a goroutine of its own, so that nobody who judges waits for a file.
type Log struct {
	all    bool
	w      io.Writer
	closer io.Closer // nil: the writer is not the log's
	lines  chan Line
	closed chan struct{}
	done   chan error

	mu   sync.Mutex
	last map[judge]opinion
	lost uint64

	once sync.Once
	err  error
}

// queue is how many verdicts may wait for the writer.
const queue = 4096

// Open begins a log in a file, which is created or emptied; "-" is stdout. The log has what changed only, or all
// verdicts.
func Open(path string, stdout io.Writer, all bool) (*Log, error) {
	if path == "-" {
		return New(stdout, all), nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("verdicts: %w", err)
	}
	l := newLog(f, all)
	l.closer = f
	go l.run()
	return l, nil
}

// New begins a log on a writer, which it does not close.
func New(w io.Writer, all bool) *Log {
	l := newLog(w, all)
	go l.run()
	return l
}

func newLog(w io.Writer, all bool) *Log {
	return &Log{
		all: all, w: w, lines: make(chan Line, queue), closed: make(chan struct{}), done: make(chan error, 1),
		last: make(map[judge]opinion),
	}
}

// Observe takes a verdict. It is made for admethod.Hooks.Verdict: it does not block and does not keep r.
func (l *Log) Observe(r *driver.Result) {
	now := opinion{severity: r.Severity, kind: r.Kind, incident: r.Incident.ID}
	if !r.Incident.Phase.Open() { // an end is news
		now.phase = r.Incident.Phase
	}
	if len(r.Causes) > 0 {
		now.blamed = r.Causes[0].Key
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	by := judge{r.Key, r.Detector}
	before, known := l.last[by]
	l.last[by] = now
	if known && before == now && !l.all {
		return
	}
	line := lineOf(r)
	line.Lost = l.lost
	select {
	case l.lines <- line:
		l.lost = 0
	default:
		l.lost++
	}
}

// Close writes what waits and returns the first error of writing. Verdicts that come later are not written.
func (l *Log) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.err = <-l.done
		if l.closer != nil {
			l.err = errors.Join(l.err, l.closer.Close())
		}
	})
	return l.err
}

func (l *Log) run() {
	buffer := bufio.NewWriter(l.w) // keeps its first error
	enc := json.NewEncoder(buffer)
	var failed error
	write := func(line Line) {
		if err := enc.Encode(line); failed == nil {
			failed = err
		}
		if len(l.lines) == 0 {
			if err := buffer.Flush(); failed == nil {
				failed = err
			}
		}
	}
	for {
		select {
		case line := <-l.lines:
			write(line)
			continue
		case <-l.closed:
		}
		for {
			select {
			case line := <-l.lines:
				write(line)
				continue
			default:
			}
			break
		}
		if failed != nil {
			failed = fmt.Errorf("verdicts: %w", failed)
		}
		l.done <- failed
		return
	}
}
