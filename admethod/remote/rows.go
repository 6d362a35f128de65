// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// A row on disk is the ID of its stream and its samples without their keys, which the stream knows: length and ID,
// number of samples, and of each the time, the value, the flags and the text with its length.
const maxRow = 32 << 10 // bytes; longer ones are not kept on disk

var errRow = errors.New("a row that does not decode")

// rowStream identifies a stream over restarts: the same readings, judged in the same way.
func rowStream(s *admethod.StreamSettings) string {
	h := fnv.New64a()
	c := &s.Config
	fmt.Fprintf(h, "%q %q %v %v", c.Detector, c.Model, c.Threshold, c.Options["detector"]) // maps print sorted by key
	for i := range s.Members {
		fmt.Fprintf(h, " %q", s.Members[i].Key)
	}
	return fmt.Sprintf("%s\x00%016x", s.ID(), h.Sum64())
}

// rowKey is the key to count a row by whose stream is not there. That of a group names the group.
func rowKey(id string) driver.Key {
	name, _, _ := strings.Cut(id, "\x00")
	parts := strings.SplitN(name, "/", 3)
	for len(parts) < 3 {
		parts = append(parts, "")
	}
	return driver.Key{Namespace: parts[0], Device: parts[1], Property: parts[2]}
}

func appendRow(b []byte, id string, row []driver.Sample) []byte {
	b = binary.AppendUvarint(b, uint64(len(id)))
	b = append(b, id...)
	b = binary.AppendUvarint(b, uint64(len(row)))
	for i := range row {
		s := &row[i]
		b = binary.LittleEndian.AppendUint64(b, uint64(s.At.UnixNano()))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(s.Value))
		b = binary.LittleEndian.AppendUint16(b, uint16(s.Flags))
		b = binary.AppendUvarint(b, uint64(len(s.Text)))
		b = append(b, s.Text...)
	}
	return b
}

// cutRow splits what appendRow wrote into the ID and the samples.
func cutRow(data []byte) (id, samples []byte, err error) {
	if id, samples = cutText(data); samples == nil {
		return nil, nil, errRow
	}
	return id, samples, nil
}

// cutText splits off a text with its length; rest is nil where there is none.
func cutText(data []byte) (text, rest []byte) {
	n, width := binary.Uvarint(data)
	if width <= 0 || n > uint64(len(data)-width) {
		return nil, nil
	}
	end := width + int(n)
	return data[width:end], data[end:len(data):len(data)]
}

// appendSamples decodes the samples of a row with those members.
func appendSamples(row []driver.Sample, data []byte, members []driver.Member) ([]driver.Sample, error) {
	const fixed = 8 + 8 + 2
	n, width := binary.Uvarint(data)
	if width <= 0 || n != uint64(len(members)) {
		return row, errRow
	}
	data = data[width:]
	for i := range members {
		if len(data) < fixed {
			return row, errRow
		}
		s := driver.Sample{
			Key:   members[i].Key,
			At:    time.Unix(0, int64(binary.LittleEndian.Uint64(data))),
			Value: math.Float64frombits(binary.LittleEndian.Uint64(data[8:])),
			Flags: driver.Flags(binary.LittleEndian.Uint16(data[16:])),
		}
		text, rest := cutText(data[fixed:])
		if rest == nil {
			return row, errRow
		}
		s.Text, data = string(text), rest
		row = append(row, s)
	}
	if len(data) > 0 {
		return row, errRow
	}
	return row, nil
}
