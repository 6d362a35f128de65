// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"math"
	"strings"
	"time"

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
	Message pb.AnomalyResponse
	numbers [4]float64
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
	m.Detector, m.Model = r.Detector, r.Model
	if math.IsNaN(r.Score) {
		m.Score = 0
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

func (a *Reply) optional(i int, v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	a.numbers[i] = v
	return &a.numbers[i]
}
