// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

const (
	longestMessage = 1024 // bytes of an answer's texts that are kept
	mostCauses     = 16
)

// Reading makes m the message for the j-th sample of a stream's row of that number. It leaves sequence, attempt,
// stream and series to the caller.
func Reading(m *pb.DevicePropertyData, s *admethod.StreamSettings, row driver.Row, number uint64, j int) {
	sample := &row[j]
	m.DeviceName, m.Namespace, m.PropertyName = sample.Key.Device, sample.Key.Namespace, sample.Key.Property
	m.PropertyValue = strings.ToValidUTF8(sample.Text, "\uFFFD") // messages can carry no other text
	if m.PropertyValue == "" {
		m.PropertyValue = strconv.FormatFloat(sample.Value, 'g', -1, 64)
	}
	m.Timestamp, m.TimeUnixNano = sample.At.UTC().Format(time.RFC3339Nano), sample.At.UnixNano()
	if m.Value == nil {
		m.Value = new(float64)
	}
	*m.Value, m.Flags = sample.Value, uint32(sample.Flags)
	m.Row, m.Member = 0, 0
	if s.Group != "" {
		m.Row, m.Member = number, uint32(j)
	}
}

// Series says how to score a stream.
func Series(s *admethod.StreamSettings) *pb.SeriesInfo {
	c := &s.Config
	h := fnv.New64a()
	h.Write([]byte(s.ID()))
	info := &pb.SeriesInfo{
		Group: s.Group, Detector: c.Detector, Model: c.Model, Threshold: c.Threshold, Seed: h.Sum64(),
	}
	if c.Accept != 0 {
		info.Accept = c.Accept.String()
	}
	if c.Language != driver.English {
		info.Language = string(c.Language)
	}
	for key, value := range c.Options["detector"] {
		if info.Parameters == nil {
			info.Parameters = make(map[string]string)
		}
		info.Parameters[key] = fmt.Sprint(value)
	}
	for i := range s.Members {
		m := &s.Members[i]
		info.Members = append(info.Members, &pb.Member{
			Namespace: m.Key.Namespace, DeviceName: m.Key.Device, PropertyName: m.Key.Property,
			DataType: m.DataType, Minimum: optional(m.Minimum), Maximum: optional(m.Maximum),
			Unit: m.Unit, CycleMs: m.Cycle.Milliseconds(), Categories: m.Categories,
		})
	}
	return info
}

// Verdict writes an answer over a result that was reset for the row that it is on. The peer is not trusted: what is out
// of bounds makes the verdict Unknown or is left out.
func Verdict(in *pb.AnomalyResponse, s *admethod.StreamSettings, r *driver.Result) {
	r.Message, r.Detector, r.Model = cut(in.GetMessage()), cut(in.GetDetector()), cut(in.GetModel())
	if in.GetSeverity() == pb.Severity_SEVERITY_UNSPECIFIED { // status is all there is to go by
		if in.GetStatus() == "ok" {
			r.Severity, r.Score = driver.Normal, 0
		} else {
			r.Severity, r.Score = driver.Warning, r.Threshold
			if r.Message == "" {
				r.Message = cut(in.GetStatus())
			}
		}
		return
	}
	if in.Threshold > 0 && in.Threshold <= 1 {
		r.Threshold = in.Threshold
	}
	r.Kind = driver.Kind(cut(in.Kind))
	switch in.Severity {
	case pb.Severity_SEVERITY_UNKNOWN:
		return
	case pb.Severity_SEVERITY_NORMAL:
		r.Severity, r.Kind = driver.Normal, driver.KindNone
	case pb.Severity_SEVERITY_WARNING:
		r.Severity = driver.Warning
	case pb.Severity_SEVERITY_CRITICAL:
		r.Severity = driver.Critical
	default:
		r.Kind, r.Message = driver.KindFailed, fmt.Sprintf("the detector answers with the unknown severity %d", in.Severity)
		return
	}
	if !(in.Score >= 0 && in.Score <= 1) {
		r.Severity, r.Kind = driver.Unknown, driver.KindFailed
		r.Message = fmt.Sprintf("the detector answers with the score %v, want 0 to 1", in.Score)
		return
	}
	r.Score = in.Score
	// The incident itself is followed here, by the same rules as for a detector in this process.
	r.Ongoing, r.Accepted = in.Ongoing, in.Accepted
	if in.Onset != nil && *in.Onset >= 0 && *in.Onset <= 1 {
		r.Onset = *in.Onset
	}
	if in.Confidence >= 0 && in.Confidence <= 1 {
		r.Confidence = in.Confidence
	}
	for _, f := range []struct {
		to   *float64
		from *float64
	}{{&r.Value, in.Value}, {&r.Expected, in.Expected}, {&r.Lower, in.Lower}, {&r.Upper, in.Upper}} {
		if f.from != nil && !math.IsInf(*f.from, 0) {
			*f.to = *f.from
		}
	}
	if s.Group != "" {
		r.Key = blamed(in, s)
	}
	for _, c := range in.Causes[:min(len(in.Causes), mostCauses)] {
		if c.GetWeight() >= 0 && c.GetWeight() <= 1 {
			r.Causes = append(r.Causes, driver.Cause{
				Key:    driver.Key{Namespace: cut(c.GetNamespace()), Device: cut(c.GetDeviceName()), Property: cut(c.GetPropertyName())},
				Weight: c.GetWeight(),
			})
		}
	}
}

// blamed is the key of a group's verdict: of a member or of its device, nothing else.
func blamed(in *pb.AnomalyResponse, s *admethod.StreamSettings) driver.Key {
	key := driver.Key{Namespace: in.Namespace, Device: in.DeviceName, Property: in.PropertyName}
	for i := range s.Members {
		m := s.Members[i].Key
		if key == m || key == (driver.Key{Namespace: m.Namespace, Device: m.Device}) {
			return key
		}
	}
	return s.Members[0].Key
}

func cut(s string) string {
	if len(s) <= longestMessage {
		return s
	}
	return strings.ToValidUTF8(s[:longestMessage], "")
}
