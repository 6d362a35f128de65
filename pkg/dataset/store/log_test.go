// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"
)

// FuzzLog: a log may hold anything; what is read of it ends, and takes no memory that it does not hold.
func FuzzLog(f *testing.F) {
	frame := newEncoder().frame([]Entry{{Device: "light", Property: "lux", At: time.Unix(1, 0), Value: 2, Text: "two"}})
	f.Add(bytes.Clone(frame[frameHead:]))
	f.Add([]byte{recString, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Add([]byte{recReading, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		// Both as a log, and as the payload of a frame whose checksum is right.
		head := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
		head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(payload, castagnoli))
		for _, log := range [][]byte{payload, append(head, payload...)} {
			n := 0
			if err := scanLog(bytes.NewReader(log), func(*row) error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
			if n > len(log)/24 {
				t.Fatalf("%d readings of %d bytes", n, len(log))
			}
		}
	})
}
