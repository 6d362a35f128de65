// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"testing"

	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// BenchmarkBatch is what a batch of 1,000 readings and its verdicts cost, at both ends together.
func BenchmarkBatch(b *testing.B) {
	in, out := request(), response()
	in.Readings[0].Series, out.Answers[0].Causes = nil, nil
	in, out = &pb.DetectRequest{Stream: in.Stream, Readings: in.Readings[:1]}, &pb.DetectResponse{Answers: out.Answers[:1]}
	for len(in.Readings) < 1000 {
		in.Readings, out.Answers = append(in.Readings, in.Readings[0]), append(out.Answers, out.Answers[0])
	}
	for _, f := range formats {
		request, response := must(f.EncodeRequest(in)), must(f.EncodeResponse(out))
		for name, step := range map[string]func() error{
			"encode": func() error {
				_, err := f.EncodeRequest(in)
				if err == nil {
					_, err = f.EncodeResponse(out)
				}
				return err
			},
			"decode": func() error {
				_, err := f.DecodeRequest(request)
				if err == nil {
					_, err = f.DecodeResponse(response)
				}
				return err
			},
		} {
			b.Run(string(f)+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := step(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/reading")
			})
		}
	}
}
