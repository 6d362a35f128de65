// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package driver defines what a detector driver is: the values that pass through it, the interfaces it implements and
// the registry in which a program finds it. It is to detectors what database/sql/driver is to databases: authors of
// drivers import it, users of drivers rarely do.
//
// A driver is one [Factory], made by [NewFactory] from a typed configuration and a function that opens a [Detector],
// and registered from an init function:
//
//	func init() {
//		driver.Register(driver.NewFactory(driver.Info{Name: "spike", …}, defaultConfig, open))
//	}
//
// A detector SHOULD also implement encoding.BinaryMarshaler and encoding.BinaryUnmarshaler, so that what it learned
// survives a restart of the mapper. Package drivertest checks the whole contract in one call.
package driver

import (
	"context"
	"iter"
	"math"
	"time"
)

// Key identifies a property of a device, or a device as a whole where Property is "".
type Key struct{ Namespace, Device, Property string }

// String is namespace/device/property; the property is left out where it is "".
func (k Key) String() string {
	if k.Property == "" {
		return k.Namespace + "/" + k.Device
	}
	return k.Namespace + "/" + k.Device + "/" + k.Property
}

// Sample is one reading. It is a plain value: it aliases no memory of its caller.
type Sample struct {
	Key   Key
	At    time.Time // when the device was read; scoring never looks at a clock. See Detector for its monotonic reading
	Value float64   // a boolean is 0 or 1; an enumeration is the index of its category; NaN where there is none
	Text  string    // the raw text of a non-numeric reading
	Flags Flags     // what the quality stage noticed
}

// Row is one aligned observation: one sample, or one per member of a group, in the group's fixed order. A detector
// must not keep it: the memory is used again for the next row.
type Row []Sample

// Flags are properties of a reading that the quality stage noticed.
type Flags uint16

// The flags of a reading.
const (
	Late       Flags = 1 << iota // later than the cycle of the property lets expect
	Duplicate                    // same time and value as a reading before
	OutOfOrder                   // taken before a reading that arrived earlier
	Gap                          // readings are missing right before this one
	NotANumber                   // NaN or an infinity
	Unparsable                   // text that the declared data type cannot hold
	StuckClock                   // the time of reading stands still
	Held                         // in a row: the member's last value, not a new reading
	Stale                        // in a row: the member's last value is too old to be trusted
	Unseen                       // a category never met before
)

// Detector scores one stream: a property, or the aligned properties of a group.
//
// Detect judges the row and writes the verdict to out. It is synchronous and pure: it starts no goroutine, does no
// I/O, reads no clock, draws no randomness but from Settings.Seed, and does not allocate in steady state. It accepts
// every row (NaN, infinities, times that stand still or run backwards) and never panics on one. It is not called
// concurrently.
//
// Times that the mapper stamped have a monotonic reading. The time between two readings is that of [time.Time.Sub], which
// goes by it, so that a wall clock that is set is none of a detector's business; Unix times are not.
//
// out arrives as [Result.Reset] leaves it, with Threshold set, which a detector may raise while it knows little but
// never lower; a detector that cannot judge yet leaves Severity Unknown. out.Causes keeps its capacity between calls, so appending does not allocate in steady state.
type Detector interface {
	Detect(row Row, out *Result)
}

// Trainer is implemented by detectors that learn offline, before they judge.
type Trainer interface {
	// Train learns from rows in time order. The sequence may be gone through more than once; a row is valid until the
	// next one. Training ends early when ctx does. What was learned is what MarshalBinary writes: it is the payload of
	// a model file.
	Train(ctx context.Context, rows iter.Seq[Row]) error
}

// Explainer is implemented by detectors that can say in a sentence why they judged as they did.
type Explainer interface {
	// Explain says what was unusual about the row that Detect judged last, with numbers and units.
	Explain(r *Result, in Language) string
}

// Describer is implemented by detectors that can say what they have found a stream to be like, by which they know what to
// expect of it.
type Describer interface {
	// Describe says it in a sentence, such as that a season of 24 h was found; "" while it is not known.
	Describe(in Language) string
}

// Language is that of sentences for people.
type Language string

// The languages. What a detector does not know it says in English.
const (
	English Language = "en"
	Chinese Language = "zh"
)

// Other is the other one of the languages.
func (l Language) Other() Language {
	if l == Chinese {
		return English
	}
	return Chinese
}

// Learner is implemented by detectors that can be told that what they took for an anomaly was normal.
type Learner interface {
	// Accept takes what happened in the span for normal: the same shape begins no incident any more, a different one
	// does. What was learned is part of the detector's state. It fails where the detector neither gets the readings of
	// the span nor remembers them.
	Accept(span Span) error
}

// Span is a stretch of a stream.
type Span struct {
	From, To time.Time     // of the first and of the last reading in it
	Rows     iter.Seq[Row] // its readings in time order, and some from before it; nil: those that the detector remembers
}

// Member describes one property that a detector watches.
type Member struct {
	Key        Key
	DataType   string        // of the DeviceModel: int, float, double, string, boolean, bytes; "" where unknown
	Minimum    float64       // of the DeviceModel; NaN where it has none
	Maximum    float64       // of the DeviceModel; NaN where it has none
	Unit       string        // of the DeviceModel
	Cycle      time.Duration // expected time between readings; 0 where unknown
	Categories []string      // configured categories; readings carry the index
}

// Settings is what a detector is opened with, beside its own configuration.
type Settings struct {
	Members   []Member // one per sample of a row, in order; a univariate detector gets exactly one
	Threshold float64  // score from which a reading is anomalous; 0 means [DefaultThreshold]
	Seed      uint64   // for detectors that draw random numbers; equal seeds give equal verdicts
	Model     []byte   // content of the trained model file; nil where none is configured
	ModelName string   // names the model in verdicts, for example "room@3f2a"
	// Accept is for how long a stream must behave in a new way, uncontradicted, until that is the new normal and the
	// incident ends as accepted: 0 is the detector's default, [NeverAccept] for signals whose faults must be told until
	// they are mended.
	Accept time.Duration

	_ struct{} // keyed literals only: fields may be added
}

// NeverAccept keeps an incident open until the stream is back to what was normal before it.
const NeverAccept time.Duration = -1

// The scale of scores. A score s says that a reading at least as unusual is expected with probability (1−s)³ while all
// is well, so that scores of different drivers compare and a threshold is an expected rate of false alarms:
// 0.90 is one in 1,000 readings, 0.95 one in 8,000, 0.98 one in 125,000.
const (
	DefaultThreshold = 0.95
	// Critical verdicts are this many times closer to certainty than the threshold: 125 times rarer.
	criticalRatio = 5
)

// TailScore is the score of a reading whose tail probability under normal conditions is p: 1 − p^(1/3).
func TailScore(p float64) float64 {
	switch {
	case p >= 1:
		return 0
	case p > 0:
		return 1 - math.Cbrt(p)
	case p <= 0:
		return 1
	}
	return math.NaN()
}

// TailProbability is the inverse of [TailScore]: the expected rate of false alarms at threshold s.
func TailProbability(s float64) float64 {
	s = 1 - min(max(s, 0), 1)
	return s * s * s
}

// CriticalScore is the score from which a verdict is Critical at the given threshold.
func CriticalScore(threshold float64) float64 { return 1 - (1-threshold)/criticalRatio }
