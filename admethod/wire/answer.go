// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"math"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// Answer is the verdict as a message, without its sequence.
func Answer(r *driver.Result) *pb.AnomalyResponse {
	var a Reply
	a.Set(r, "")
	return &a.Message
}

// Reply is a message with memory for what its fields point to, so that it can be used again.
type Reply struct {
	Message  pb.AnomalyResponse
	incident pb.Incident
	cause    pb.Cause
	numbers  [5]float64
}

// Set makes the message the verdict, without its sequence. It writes every other field. timestamp is the time of the
// reading as text if that is at hand, else "".
func (a *Reply) Set(r *driver.Result, timestamp string) {
	if timestamp == "" {
		timestamp = r.At.UTC().Format(time.RFC3339Nano)
	}
	m := &a.Message
	m.Status, m.Message, m.Timestamp, m.TimeUnixNano = "ok", r.Message, timestamp, r.At.UnixNano()
	if m.Message != "" {
		m.Message = strings.ToValidUTF8(m.Message, "\uFFFD")
	}
	m.Namespace, m.DeviceName, m.PropertyName = r.Key.Namespace, r.Key.Device, r.Key.Property
	m.Severity = pb.Severity(r.Severity) + pb.Severity_SEVERITY_UNKNOWN
	m.Score, m.Threshold, m.Confidence, m.Kind = r.Score, r.Threshold, r.Confidence, string(r.Kind)
	m.Value, m.Expected = a.optional(0, r.Value), a.optional(1, r.Expected)
	m.Lower, m.Upper = a.optional(2, r.Lower), a.optional(3, r.Upper)
	m.Onset, m.Ongoing, m.Accepted = a.optional(4, r.Onset), r.Ongoing, r.Accepted
	m.Incident = a.of(&r.Incident)
	m.Detector, m.Model = r.Detector, r.Model
	if math.IsNaN(r.Score) {
		m.Score, m.Onset = 0, nil
	}
	if r.Severity.Anomalous() {
		m.Status = r.Severity.String()
	}
	m.Causes = nil
	for _, c := range r.Causes {
		m.Causes = append(m.Causes, &pb.Cause{
			Namespace: c.Key.Namespace, DeviceName: c.Key.Device, PropertyName: c.Key.Property, Weight: c.Weight,
		})
	}
}

// of is the incident as a message, nil for none.
func (a *Reply) of(i *driver.Incident) *pb.Incident {
	if i.ID == 0 {
		return nil
	}
	m := &a.incident
	m.Id, m.Phase, m.StartUnixNano, m.EndUnixNano = verdict.ID(i.ID), pb.IncidentPhase(i.Phase), i.Start.UnixNano(), 0
	if !i.End.IsZero() {
		m.EndUnixNano = i.End.UnixNano()
	}
	m.Severity, m.Score, m.Kind, m.Cause = pb.Severity(i.Severity)+pb.Severity_SEVERITY_UNKNOWN, i.Score, string(i.Kind), nil
	if math.IsNaN(i.Score) {
		m.Score = 0
	}
	if i.Cause != (driver.Key{}) {
		m.Cause = &a.cause
		m.Cause.Namespace, m.Cause.DeviceName, m.Cause.PropertyName = i.Cause.Namespace, i.Cause.Device, i.Cause.Property
		m.Cause.Weight = 1
	}
	return m
}

func (a *Reply) optional(i int, v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	a.numbers[i] = v
	return &a.numbers[i]
}
