// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remotewrite_test

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/exp/api/remote"
	prompb "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
	"google.golang.org/protobuf/proto"

	"github.com/kubeedge/edge-anomaly/admethod/source/remotewrite"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// request2 is one of 2.0, made by Prometheus' own types.
type request2 struct {
	prompb.SymbolsTable
	prompb.Request
}

func (r *request2) add(unit string, labels []string, samples ...*prompb.Sample) *prompb.TimeSeries {
	if r.SymbolsTable.Symbols() == nil {
		r.SymbolsTable = prompb.NewSymbolTable()
	}
	s := &prompb.TimeSeries{LabelsRefs: r.SymbolizeLabels(labels, nil), Samples: samples, Metadata: &prompb.Metadata{UnitRef: r.Symbolize(unit)}}
	r.Timeseries = append(r.Timeseries, s)
	r.Request.Symbols = r.SymbolsTable.Symbols()
	return s
}

func at2(ms int64, v float64) *prompb.Sample { return &prompb.Sample{Timestamp: ms, Value: v} }

func (r *request2) body() []byte {
	text, err := proto.Marshal(&r.Request)
	if err != nil {
		panic(err) // of the test
	}
	return snappy.Encode(nil, text)
}

// The client of Prometheus sends 2.0, and hears how much was taken: all, also of what was sent before and of what says that
// a series has ended.
func TestVersion2(t *testing.T) {
	in, r := new(sourcetest.Intake), new(sourcetest.Reports)
	address := run(t, in, r, map[string]any{"series": 2})
	api, err := remote.NewAPI("http://"+address, remote.WithAPIPath(strings.TrimPrefix(remotewrite.Path, "/")), remote.WithAPIHTTPClient(sourcetest.Client()))
	if err != nil {
		t.Fatal(err)
	}
	var good request2
	stale := math.Float64frombits(0x7ff0000000000002)
	good.add("celsius", []string{"__name__", "heat", "i", "press"}, at2(1000, 20.5), at2(2000, stale), at2(3000, 21))
	good.add("", []string{"__name__", "turns", "i", "press"}, at2(1000, 7))
	var stats remote.WriteResponseStats
	waittest.Eventually(t, "it listens", func() bool {
		stats, err = api.Write(t.Context(), remote.WriteV2MessageType, &good.Request)
		return err == nil
	})
	for range 2 {
		if stats.Samples != 4 || stats.Histograms != 0 || stats.Exemplars != 0 {
			t.Errorf("%+v, want 4 samples", stats)
		}
		if stats, err = api.Write(t.Context(), remote.WriteV2MessageType, &good.Request); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range in.Readings() {
		got = append(got, fmt.Sprint(r.Key, " ", r.At.UnixMilli(), " ", r.Value, r.Property.Unit))
	}
	if want := "default/press/heat 1000 20.5celsius, default/press/heat 3000 21celsius, default/press/turns 1000 7"; strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %v", got, want)
	}

	// What of a request makes no sense is told with what was taken of it, and sent no more.
	var odd request2
	odd.add("", []string{"__name__", "third", "i", "press"}, at2(9000, 1))
	odd.add("", []string{"__name__", "heat", "i", "press"}, at2(9000, 22), at2(math.MaxInt64, 1))
	odd.add("", []string{"__name__", "nameless"}, at2(9000, 1))
	odd.add("", []string{"__name__", "h", "i", "press"}).Histograms = []*prompb.Histogram{{Timestamp: 9000}}
	before := time.Now()
	stats, err = api.Write(t.Context(), remote.WriteV2MessageType, &odd.Request)
	if err == nil || !strings.Contains(err.Error(), "more series than the key series allows") || stats.Samples != 1 {
		t.Errorf("%+v, %v; want one sample, and why not the others", stats, err)
	}
	if time.Since(before) > 5*time.Second {
		t.Error("it was tried again")
	}
	if all := in.Readings(); len(all) != 4 || all[3].Value != 22 {
		t.Errorf("%d readings, want what made sense as well", len(all))
	}
	if told := r.Now("source test: samples"); !strings.Contains(told, "more series") {
		t.Errorf("told %q", told)
	}
}

// Requests that are made wrong are refused, or the series that are, and none costs more than it is long.
func TestVersion2Wrong(t *testing.T) {
	in, r := new(sourcetest.Intake), new(sourcetest.Reports)
	url := "http://" + run(t, in, r, map[string]any{"maxBody": 1 << 20}) + remotewrite.Path
	client := sourcetest.Client()
	waittest.Eventually(t, "it listens", func() bool {
		answer, err := post(t.Context(), client, url, body(), nil)
		return err == nil && answer == "204"
	})
	labels := []string{"__name__", "heat", "i", "press"}
	for name, c := range map[string]struct {
		change func(r *request2, s *prompb.TimeSeries)
		want   string
	}{
		"no symbols":      {func(r *request2, _ *prompb.TimeSeries) { r.Request.Symbols = nil }, "want a table of symbols of which the first one is empty"},
		"first symbol":    {func(r *request2, _ *prompb.TimeSeries) { r.Request.Symbols[0] = "x" }, "of which the first one is empty"},
		"odd":             {func(_ *request2, s *prompb.TimeSeries) { s.LabelsRefs = s.LabelsRefs[:3] }, "3 symbols for labels"},
		"beyond":          {func(_ *request2, s *prompb.TimeSeries) { s.LabelsRefs[1] = math.MaxUint32 }, "labels are symbols 1 and 4294967295"},
		"unit":            {func(_ *request2, s *prompb.TimeSeries) { s.Metadata.UnitRef = 99 }, "the unit is symbol 99"},
		"twice":           {func(_ *request2, s *prompb.TimeSeries) { s.LabelsRefs[2] = s.LabelsRefs[0] }, `label "__name__": want a name, and each once`},
		"without a name":  {func(_ *request2, s *prompb.TimeSeries) { s.LabelsRefs[2] = 0 }, `label "": want a name`},
		"a label too far": {func(r *request2, _ *prompb.TimeSeries) { r.Request.Symbols[4] = strings.Repeat("x", 20000) }, "labels of more than 16384 bytes"},
	} {
		var q request2
		c.change(&q, q.add("", labels, at2(1000, 1)))
		answer, err := post(t.Context(), client, url, q.body(), map[string]string{"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"})
		if err != nil || !strings.HasPrefix(answer, fmt.Sprint(http.StatusBadRequest)) || !strings.Contains(answer, c.want) {
			t.Errorf("%s: %s, %v; want 400 and %q", name, answer, err, c.want)
		}
	}
	if n := len(in.Readings()); n > 0 {
		t.Errorf("%d readings were taken", n)
	}
}

// Whatever is sent, decoding ends, within the bound.
func FuzzDecode2(f *testing.F) {
	var good request2
	good.add("celsius", []string{"__name__", "heat", "i", "press"}, at2(1000, 20.5))
	f.Add(good.body())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := remotewrite.Decode(remotewrite.Version2, text, 2048)
		if err != nil && all != nil {
			t.Errorf("%v beside %v", all, err)
		}
		for _, s := range all {
			if s.Err == nil && len(s.Labels.String()) > 4*(16<<10)+4096 {
				t.Errorf("labels of %d bytes", len(s.Labels.String()))
			}
		}
	})
}
