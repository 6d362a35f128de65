// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/engine/watch"
)

// solo judges a member by itself, as a stream is that is in no group: how far and how fast it moves, how much it scatters
// and how long it stands still, each by its own past.
type solo struct {
	watch    watch.Detector
	verdict  watch.Verdict // on the newest reading
	evidence float64       // −log10 of its tail
	told     bool          // the open incident is one that the group tells
	accepts  bool          // the open incident is to be accepted with the next reading
	last     float64
	rested   bool // that it stands still has been accepted, and it has not moved since
}

// alonest is by how much more of it is asked of a member than the group has members, as a power of ten: what one does
// that the others know nothing of is more often its habit.
const alonest = 1

// told is the evidence from which the incident of one member is one of a group of so many, each of which may have one:
// what the watch says of a reading that begins an incident and is that much rarer.
func told(c *Config, members int) float64 {
	return 1.5*c.Together + math.Log10(float64(members))/2 + alonest
}

// slow reports whether an incident is of a kind that a chart of the level does not see.
func slow(k watch.Kind) bool { return k == watch.Freeze || k == watch.Drift }

func (s *solo) configure(c *Config) {
	w := watch.Config{Begin: math.Pow(10, -c.Together), Anew: true, Wary: true} // see rested; what a member does ranks the group
	switch {
	case s.accepts:
		w.Accept = 1
	case c.MaxAge == 0:
		w.Accept = -1
	}
	s.watch.Configure(w)
}

// observe takes a finite reading. It reports whether an incident that was told is the new normal now.
func (s *solo) observe(c *Config, x float64, at int64, tells float64) (accepted bool) {
	v := s.watch.Next(x, at)
	s.verdict, s.evidence = v, 0
	if v.Judged {
		s.evidence = max(-math.Log10(v.Tail), 0)
	}
	s.rested = x == s.last && (s.rested || v.Accepted)
	s.last = x
	was := s.told
	s.told = v.Open && (was || s.evidence >= tells && slow(v.Kind) && !s.rested)
	if s.accepts && !v.Open {
		s.accepts = false
		s.configure(c)
	}
	return was && v.Accepted
}

// accept takes the open incident for normal with the next reading.
func (s *solo) accept(c *Config) {
	if s.accepts = s.verdict.Open; s.accepts {
		s.told = false
		s.configure(c)
	}
}

// allow takes what column j of the rows does for normal.
func (s *solo) allow(rows [][]float64, times []int64, j int) {
	points := make([]watch.Point, 0, len(rows))
	for i, row := range rows {
		if j < len(row) && finite(row[j]) {
			points = append(points, watch.Point{X: row[j], At: times[i]})
		}
	}
	if len(points) == 0 {
		return
	}
	s.told = false
	_ = s.watch.Accept(points) // fails without points only
}

// rests reports whether column j of the rows stands still.
func rests(rows [][]float64, j int) bool {
	const least = 8
	if len(rows) < least {
		return false
	}
	for _, row := range rows {
		if j >= len(row) || row[j] != rows[0][j] {
			return false
		}
	}
	return true
}

func (s *solo) encode(w *state.Writer) {
	s.watch.EncodeState(w)
	v := &s.verdict
	w.Bool(v.Judged)
	w.Bool(v.Open)
	w.Int(int64(v.Kind))
	w.Int(int64(v.Rows))
	for _, x := range [...]float64{v.Base, v.Usual, s.evidence, s.last} {
		w.Float(x)
	}
	w.Bool(s.told)
	w.Bool(s.accepts)
	w.Bool(s.rested)
}

func (s *solo) decode(r *state.Reader, c *Config) {
	s.watch.DecodeState(r)
	v := &s.verdict
	*v = watch.Verdict{
		Judged: r.Bool(), Open: r.Bool(), Kind: watch.Kind(r.Count("kind", int(watch.State))), Rows: r.Count("rows", math.MaxInt32),
		Base: r.Finite("base"), Usual: r.Finite("usual move"),
	}
	s.evidence, s.last = r.Min("evidence", 0), r.Finite("last reading")
	s.told, s.accepts, s.rested = r.Bool(), r.Bool(), r.Bool()
	s.configure(c)
}
