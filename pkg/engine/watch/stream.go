// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"cmp"
	"math"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/engine/novelty"
	"github.com/kubeedge/edge-anomaly/pkg/engine/regime"
	"github.com/kubeedge/edge-anomaly/pkg/engine/shape"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// Stream is a [Detector] with all else that is known of one stream: its structure (a season, modes, states, a counter),
// which gives departures from it names and a forecast, how novel each reading is, which ranks what is news, and how unlike
// what was before the shape of the newest readings is, which ranks the rest.
type Stream struct {
	Detector
	Season bool // look for a season
	// Unranked leaves out shape and novelty, which take two thirds of the time and begin no incident: for who wants
	// incidents alone. Onset is then 1.
	Unranked bool
	Period   int // readings of a season that is known; 0: none is

	news    novelty.Detector
	shapes  *shape.Detector
	regimes regime.Watch
	clock   steps
	band    band
	offset  float64 // what resets have taken off a counter
}

// NewStream makes a stream that looks for a season.
func NewStream(c Config) *Stream {
	s := &Stream{Season: true}
	s.Configure(c)
	return s
}

// Forecast is what was expected of a reading: 99 of 100 lie between Lower and Upper. All are NaN while too little is
// known.
type Forecast struct{ Expected, Lower, Upper float64 }

var kinds = [...]Kind{
	regime.Spike: Spike, regime.Level: Level, regime.Drift: Drift, regime.Noise: Noise, regime.Pattern: Pattern,
	regime.State: State,
}

const (
	newsShown  = 5e-4   // onset of the beginning of an incident that is no novelty
	newsWithin = 1.6e-3 // tail probability from which a novelty within an incident is news

	shapeWeight = 1.5 // of the shape, whose evidence is the more cautious
)

// Next judges a reading taken at a time in Unix ns, and learns. Times may stand still or run backwards.
func (s *Stream) Next(x float64, at int64) (Verdict, Forecast) {
	x = max(-largest, min(largest, x))
	structure, _ := s.regimes.Structure()
	step, due := s.clock.next(at, structure == regime.Seasonal)
	strange := 1.0
	if s.Unranked {
		s.news.Follow(x)
	} else {
		strange = novelty.TailProbability(s.news.Next(x))
	}
	resting := s.t > 0 && x+s.offset == s.at(s.t).x && s.smallest > 0
	s.regimes.Hold(s.open.on)
	hour := 0.0
	if structure == regime.Seasonal && s.byClock() {
		hour = float64(time.Hour) / s.clock.unit
	}
	s.regimes.Hour(hour)
	r := s.regimes.Next(x, step, due, resting, history{s})
	if p, trusted := (history{s}).Period(); trusted {
		s.period = float64(p) * s.clock.mean
	}
	var h Hint
	if r.Kind != regime.None {
		h = Hint{U: max(-math.Log10(r.Tail), 0), Kind: kinds[r.Kind], Rows: 1}
		if h.Kind == Level || h.Kind == Drift {
			h.Rows = min(s.regimes.Rise(), 128)
		}
	}
	if s.regimes.Away() {
		h.Away, h.Kind = true, kinds[s.regimes.Going()]
	}
	h.States = s.regimes.States()
	counter, reset, up := s.regimes.Counts()
	if reset && s.t > 0 { // as if it had gone on
		s.offset = s.at(s.t).x + math.Copysign(s.usual(0), up) - x
	}
	v := s.NextWith(x+s.offset, at, h)
	if counter && step > 1 { // a counter goes on while nobody reads it
		s.bound = s.t
	}
	v.Base -= s.offset
	if s.shapes == nil && !s.Unranked {
		s.shapes = newShapes()
	}
	if !s.Unranked {
		if evidence, ok := s.shapes.Next(x, false); ok && v.Judged {
			v.Tail = s.together(&v, evidence)
		}
	}
	if v.Accepted {
		s.regimes.Settle()
	}
	f := s.band.next(x, r.Expected, v.Base, v.Open)
	switch {
	case !v.Judged:
	case v.Began && !s.Unranked:
		v.Onset = min(strange, newsShown)
	case !v.Open || strange < newsWithin:
		v.Onset = strange
	}
	return v, f
}

// ClockSet says that the clock of the place was set on by so much before the next reading; back, if that is less than 0.
// What comes every day at its hour may then come sooner or later than a day after.
func (s *Stream) ClockSet(by time.Duration) {
	s.clockSet(by)
	if s.byClock() {
		s.regimes.Move(float64(by) / s.clock.unit)
	}
}

// byClock reports whether the season may go by a clock: a rhythm of a machine does not, a period that is a day or some,
// or a part of one, may.
func (s *Stream) byClock() bool {
	days := s.regimes.Season() * s.clock.unit / float64(24*time.Hour)
	if days > 0 && days < 1 {
		if days = 1 / days; days > mostADay {
			return false
		}
	}
	return days > 0 && math.Abs(days-math.Round(days)) < nearDay
}

const mostADay = 4 // periods, of a rhythm that goes by the clock

func newShapes() *shape.Detector { return shape.New(1, shape.Windows) }

// together joins the tail probability of how a reading moved with that of the shape it ends, as those of two that know
// nothing of each other (R. A. Fisher, Statistical Methods for Research Workers, 4th ed., 1932, section 21.1). The shape
// begins no incident: it ranks what is within one, and what is none.
func (s *Stream) together(v *Verdict, evidence float64) float64 {
	p := v.Moved * math.Pow(10, -shapeWeight*evidence)
	p *= 1 - math.Log(p)
	switch {
	case !v.Open:
		return max(p, 1.01*s.beginTail())
	case v.Away:
		return s.lifted(p)
	}
	return p
}

// Structure is what the stream shows, and the readings of its season.
func (s *Stream) Structure() (r regime.Regime, season int) {
	return s.regimes.Structure()
}

// Cycle is the time that the season takes; 0 where there is none.
func (s *Stream) Cycle() time.Duration {
	return time.Duration(s.regimes.Season() * cmp.Or(s.clock.unit, s.clock.mean))
}

// history is what the structure is found in.
type history struct{ s *Stream }

// Period implements regime.History.
func (h history) Period() (readings int, trusted bool) {
	switch {
	case !h.s.Season:
		return 0, false
	case h.s.Period > 0:
		return h.s.Period, true
	}
	return h.s.news.Period()
}

// Fold implements regime.History.
func (h history) Fold(period int, profile []float64) (left, all float64, ok bool) {
	return h.s.news.Fold(period, profile)
}

// EncodeState implements state.Part.
func (s *Stream) EncodeState(w *state.Writer) {
	if s.shapes == nil {
		s.shapes = newShapes()
	}
	for _, p := range s.parts() {
		p.EncodeState(w)
	}
	w.Float(s.offset)
}

// DecodeState implements state.Part. The configuration stays.
func (s *Stream) DecodeState(r *state.Reader) {
	s.shapes = newShapes()
	for _, p := range s.parts() {
		p.DecodeState(r)
	}
	s.offset = within(r, "offset")
}

func (s *Stream) parts() [6]state.Part {
	return [...]state.Part{&s.Detector, &s.news, s.shapes, &s.regimes, &s.clock, &s.band}
}

// Interval is the usual time between readings.
func (s *Stream) Interval() time.Duration { return time.Duration(s.interval) }

// UsualRest is for how many readings 99 of 100 rests last at most.
func (s *Stream) UsualRest() float64 { return max(s.tails[still].start()*1.19, 1) }
