// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// assessor judges the readings of one property, of which it keeps what parts lists.
type assessor[T any] interface {
	*T
	assess(x float64, s *driver.Sample) assessment
	parts() state.Parts
}

// single is the detector around an assessor.
type single[T any, P assessor[T]] struct {
	teller
	name string
	of   T
}

func newSingle[T any, P assessor[T]](name string, s driver.Settings, of T) (driver.Detector, error) {
	return &single[T, P]{tellerOf(s), name, of}, nil
}

// Detect implements driver.Detector.
func (d *single[T, P]) Detect(row driver.Row, out *driver.Result) {
	out.Detector = d.name
	if x, ok := reading(row); ok {
		a := P(&d.of).assess(x, &row[0])
		a.deliver(out)
	}
}

// Explain implements driver.Explainer.
func (d *single[T, P]) Explain(r *driver.Result, in driver.Language) string {
	if own, ok := any(P(&d.of)).(interface {
		explain(r *driver.Result, w words) string
	}); ok && r.Severity.Anomalous() {
		return own.explain(r, words{in, string(d.teller)})
	}
	return d.teller.Explain(r, in)
}

// EncodeState implements state.Part.
func (d *single[T, P]) EncodeState(w *state.Writer) { P(&d.of).parts().EncodeState(w) }

// DecodeState implements state.Part.
func (d *single[T, P]) DecodeState(r *state.Reader) { P(&d.of).parts().DecodeState(r) }

// MarshalBinary implements encoding.BinaryMarshaler.
func (d *single[T, P]) MarshalBinary() ([]byte, error) { return save(d.name, d) }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (d *single[T, P]) UnmarshalBinary(data []byte) error { return restore(d.name, d, data) }
