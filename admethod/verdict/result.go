// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Result is the verdict as this process would have given it: what JSON leaves out is unknown.
func (v *Verdict) Result() (driver.Result, error) {
	var r driver.Result
	r.Reset(nil)
	r.Key = driver.Key{Namespace: v.Namespace, Device: v.Device, Property: v.Property}
	r.At, r.Severity, r.Kind, r.Ongoing = v.At, v.Severity, v.Kind, v.Ongoing
	r.Score, r.Onset, r.Threshold, r.Confidence = known(v.Score), known(v.Onset), known(v.Threshold), known(v.Confidence)
	r.Value, r.Expected, r.Lower, r.Upper = known(v.Value), known(v.Expected), known(v.Lower), known(v.Upper)
	r.Detector, r.Model, r.Config, r.Message = v.Detector, v.Model, v.Config, v.Message
	for _, c := range v.Causes {
		r.Causes = append(r.Causes, driver.Cause{Key: driver.Key{Namespace: v.Namespace, Device: c.Device, Property: c.Property}, Weight: c.Weight})
	}
	if i := v.Incident; i != nil {
		id, err := ParseID(i.ID)
		if err != nil {
			return r, err
		}
		r.Incident = driver.Incident{ID: id, Phase: i.Phase, Start: i.Start, Severity: i.Severity, Kind: i.Kind, Score: known(i.Score)}
		if i.End != nil {
			r.Incident.End = *i.End
		}
		if c := i.Cause; c != nil {
			r.Incident.Cause = driver.Key{Namespace: v.Namespace, Device: c.Device, Property: c.Property}
		}
	}
	return r, nil
}

func known(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}
