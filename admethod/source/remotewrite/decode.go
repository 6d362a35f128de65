// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"errors"
	"fmt"
	"mime"
	"net/http"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/proto"

	"github.com/kubeedge/edge-anomaly/admethod/source/internal/receiver"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
	pb "github.com/kubeedge/edge-anomaly/proto/remotewrite"
)

// Version of a request.
type Version int

// The versions that are read.
const (
	Version1 Version = 1
	Version2 Version = 2
)

// The messages of both, as a content type names them. Without a name it is the first.
var messages = map[string]Version{"": Version1, "prometheus.WriteRequest": Version1, "io.prometheus.write.v2.Request": Version2}

// versionOf reads a content type. Who sends another one is told, and falls back to what is read here.
func versionOf(contentType string) (Version, error) {
	kind, about, err := mime.ParseMediaType(contentType)
	version, known := messages[about["proto"]]
	if err != nil || kind != "application/x-protobuf" || !known {
		return 0, receiver.Refuse(http.StatusUnsupportedMediaType,
			fmt.Errorf("content type %.100q: want application/x-protobuf of prometheus.WriteRequest or io.prometheus.write.v2.Request", contentType))
	}
	return version, nil
}

// Series is one series of a request.
type Series struct {
	Labels     promapi.Labels
	Unit       string // "" where it is not said
	Samples    []*pb.Sample
	Histograms int
	Err        error // why it makes no sense; nothing else is there then but Samples and Histograms
}

// mostLabels bounds the labels of a series, in bytes: as texts are sent once and named often, a small request might have
// very long ones.
const mostLabels = 16 << 10

// Decode reads the body of a request that has at most so many bytes, decompressed.
func Decode(version Version, body []byte, most int) ([]Series, error) {
	n, err := snappy.DecodedLen(body)
	if err != nil {
		return nil, receiver.Refuse(http.StatusBadRequest, fmt.Errorf("want snappy: %w", err))
	}
	if n > most {
		return nil, receiver.Refuse(http.StatusRequestEntityTooLarge, fmt.Errorf("%d bytes: want at most %d, as the key maxBody says", n, most))
	}
	text, err := snappy.Decode(nil, body)
	if err != nil {
		return nil, receiver.Refuse(http.StatusBadRequest, fmt.Errorf("want snappy: %w", err))
	}
	if version == Version2 {
		return decode2(text)
	}
	var request pb.WriteRequest
	if err := proto.Unmarshal(text, &request); err != nil {
		return nil, receiver.Refuse(http.StatusBadRequest, fmt.Errorf("want a request of remote-write 1.0: %w", err))
	}
	all := make([]Series, 0, len(request.GetTimeseries()))
	for _, s := range request.GetTimeseries() {
		labels := make(promapi.Labels, len(s.GetLabels()))
		for _, l := range s.GetLabels() {
			labels[l.GetName()] = l.GetValue()
		}
		all = append(all, Series{Labels: labels, Samples: s.GetSamples(), Histograms: len(s.GetHistograms())})
	}
	return all, nil
}

func decode2(text []byte) ([]Series, error) {
	var request pb.Request2
	if err := proto.Unmarshal(text, &request); err != nil {
		return nil, receiver.Refuse(http.StatusBadRequest, fmt.Errorf("want a request of remote-write 2.0: %w", err))
	}
	symbols := request.GetSymbols()
	if len(request.GetTimeseries()) > 0 && (len(symbols) == 0 || symbols[0] != "") {
		return nil, receiver.Refuse(http.StatusBadRequest, errors.New("want a table of symbols of which the first one is empty"))
	}
	all := make([]Series, 0, len(request.GetTimeseries()))
	for _, s := range request.GetTimeseries() {
		one := Series{Samples: s.GetSamples(), Histograms: len(s.GetHistograms())}
		one.Labels, one.Err = labels2(s.GetLabelsRefs(), symbols)
		if unit := s.GetMetadata().GetUnitRef(); int64(unit) < int64(len(symbols)) {
			one.Unit = symbols[unit]
		} else if one.Err == nil {
			one.Err = fmt.Errorf("the unit is symbol %d: want one of %d", unit, len(symbols))
		}
		all = append(all, one)
	}
	return all, nil
}

// labels2 looks up the labels of a series.
func labels2(refs []uint32, symbols []string) (promapi.Labels, error) {
	if len(refs)%2 != 0 {
		return nil, fmt.Errorf("%d symbols for labels: want a name and a value for each", len(refs))
	}
	labels, size := make(promapi.Labels, min(len(refs)/2, 64)), 0
	for i := 0; i < len(refs); i += 2 {
		if most := uint32(len(symbols)); refs[i] >= most || refs[i+1] >= most { //nolint:gosec // bounded by the size of a request
			return nil, fmt.Errorf("labels are symbols %d and %d: want some of %d", refs[i], refs[i+1], most)
		}
		name, value := symbols[refs[i]], symbols[refs[i+1]]
		if _, twice := labels[name]; twice || name == "" {
			return nil, fmt.Errorf("label %.100q: want a name, and each once", name)
		}
		if size += len(name) + len(value) + 2; size > mostLabels {
			return nil, fmt.Errorf("labels of more than %d bytes, the first of them %.100q", mostLabels, name)
		}
		labels[name] = value
	}
	return labels, nil
}
