// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"
	"slices"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/neighbor"
	"github.com/kubeedge/edge-anomaly/pkg/engine/quantile"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	knnName    = "knn"
	knnMembers = 16
)

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    knnName,
		Summary: "finds shapes not met before, by the distance of the newest readings from those remembered; takes groups",
		Source: "E. Burnaev, V. Ishimtsev, Conformalized density- and distance-based anomaly detection in time-series data, 2016 " +
			"(KNN-CAD), with a bounded reservoir and extrapolated p-values",
		Kinds:   []driver.Kind{driver.KindPattern},
		Members: knnMembers,
	}, func() knnConfig {
		return knnConfig{Lag: 8, Windows: 256, Neighbors: 3, Stride: 16, Memory: 10_000, WarmUp: 100}
	}, func(s driver.Settings, c knnConfig) (driver.Detector, error) {
		d := newKNN(s, c)
		d.teller = tellerOf(s)
		return &d, nil
	}))
}

type knnConfig struct {
	Lag       int  `param:"lag" min:"1" max:"64" doc:"readings in a window"`
	Windows   int  `param:"windows" min:"32" max:"4096" doc:"windows remembered"`
	Neighbors int  `param:"neighbors" min:"1" max:"8" doc:"nearest windows that the distance is the mean of"`
	Stride    int  `param:"stride" min:"1" max:"1000" doc:"readings from one remembered window to the next, on average, once there are enough; windows times stride is how far back it remembers, thinning out"`
	Normalize bool `param:"normalize" doc:"compare shapes alone: each window less its mean, in units of its own deviation"`
	Memory    int  `param:"memory" min:"200" max:"10000000" doc:"readings that the distribution of distances is learned from"`
	WarmUp    int  `param:"warmUp" min:"64" max:"1000000" doc:"readings before the first verdict"`
}

type knnDetector struct {
	teller
	needed    uint64
	n         uint64
	config    knnConfig
	members   int
	window    neighbor.Window
	remembers neighbor.Reservoir
	distances quantile.Tail
	step      moments.Resolution // of a single property: distances below it mean nothing
	scales    []moments.EWMA     // of the members of a group, until frozen at half the warm-up
	point     []float64          // scratch: one row
	query     []float64          // scratch: one window
}

func newKNN(s driver.Settings, c knnConfig) knnDetector {
	m := len(s.Members)
	dim := c.Lag * m
	var unit []float64
	if c.Normalize { // the mean direction tells normalised windows apart no more: first half against second
		unit = make([]float64, dim)
		for i := range unit {
			unit[i] = math.Copysign(1/math.Sqrt(float64(dim)), float64(i)-float64(dim-1)/2)
		}
	}
	d := knnDetector{
		needed: uint64(c.WarmUp), config: c, members: m,
		window:    neighbor.NewWindow(c.Lag, m),
		remembers: neighbor.NewReservoir(c.Windows, dim, unit, s.Seed),
		distances: quantile.NewTail(tailShare, float64(c.Memory)),
		point:     make([]float64, m), query: make([]float64, dim),
	}
	if m > 1 {
		d.scales = make([]moments.EWMA, m)
	}
	return d
}

// Detect implements driver.Detector.
func (d *knnDetector) Detect(row driver.Row, out *driver.Result) {
	out.Detector = knnName
	if len(row) != d.members {
		return
	}
	for i := range row {
		x, ok := reading(row[i : i+1])
		if !ok {
			return
		}
		d.point[i] = x
	}
	a := d.assess()
	a.deliver(out)
}

// assess judges the row in point.
func (d *knnDetector) assess() assessment {
	d.n++
	if d.scales != nil && !d.scaled() {
		return unknown(d.n, d.needed)
	}
	if !d.window.Push(d.point) {
		return unknown(d.n, d.needed)
	}
	copy(d.query, d.window.Values())
	if d.config.Normalize {
		normalize(d.query)
	}
	distance := d.remembers.Distance(d.query, d.config.Neighbors)
	switch {
	case d.config.Normalize || d.scales != nil:
		d.distances.SetFloor(1e-3)
	default:
		d.step.Update(d.point[0])
		d.distances.SetFloor(d.step.Floor() / 2)
	}
	p := d.distances.Probability(distance)
	if d.remembers.Len() >= min(d.config.Windows/8, int(d.needed)/4) { // distances to the first few windows are no measure
		d.distances.Add(distance)
	}
	// The young reservoir fills faster, and then keeps a sample of all there was until the stride is reached.
	d.remembers.Offer(d.query, int(min(d.n/uint64(d.config.Windows)+uint64(d.config.Lag/4), uint64(d.config.Stride))))
	if d.n <= d.needed {
		return unknown(d.n, d.needed)
	}
	nan := math.NaN()
	return assessment{
		score: driver.TailScore(p), kind: driver.KindPattern, confidence: confidence(d.n, d.needed),
		expected: nan, lower: nan, upper: nan,
	}
}

// scaled brings the members of a group to one scale: the deviation each showed in the first half of the warm-up.
func (d *knnDetector) scaled() bool {
	learning := d.n <= d.needed/2
	for i := range d.scales {
		if learning {
			d.scales[i].Update(d.point[i])
			continue
		}
		s := math.Sqrt(d.scales[i].Variance())
		if floor := 1e-9 * math.Abs(d.scales[i].Mean()); !(s > floor) {
			s = max(floor, 1e-9) // a member that stood still
		}
		d.point[i] = moments.Clamp((d.point[i] - d.scales[i].Mean()) / s)
	}
	return !learning
}

// normalize takes off the mean and divides by the deviation; a flat window is all zero.
func normalize(v []float64) {
	n, mean, m2 := float64(len(v)), 0.0, 0.0
	for _, x := range v {
		mean += x / n
	}
	for i := range v {
		v[i] -= mean
		m2 += v[i] * v[i]
	}
	scale := 0.0
	if m2 > 1e-24*n*mean*mean { // more than rounding
		scale = 1 / math.Sqrt(m2/n)
	}
	for i := range v {
		v[i] *= scale
	}
}

func (d *knnDetector) parts() state.Parts {
	p := state.Parts{(*state.Readings)(&d.n), &d.window, &d.remembers, &d.distances, &d.step}
	for i := range d.scales {
		p = append(p, &d.scales[i])
	}
	return p
}

// EncodeState implements state.Part.
func (d *knnDetector) EncodeState(w *state.Writer) { d.parts().EncodeState(w) }

// DecodeState implements state.Part.
func (d *knnDetector) DecodeState(r *state.Reader) {
	d.scales = slices.Clone(d.scales) // the old ones are shared with a copy
	d.parts().DecodeState(r)
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (d *knnDetector) MarshalBinary() ([]byte, error) { return save(knnName, d) }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (d *knnDetector) UnmarshalBinary(data []byte) error { return restore(knnName, d, data) }
