// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
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
			if _, err := scanLog(bytes.NewReader(log), int64(len(log)), func(*row) error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
			if n > len(log)/24 {
				t.Fatalf("%d readings of %d bytes", n, len(log))
			}
		}
	})
}

// Damage in a log costs the frames that it falls into, wherever it falls, and no other.
func TestDamageInALogCostsItsFrame(t *testing.T) {
	var log []byte
	var begins []int
	const count = 20
	e := newEncoder()
	for i := range count {
		begins = append(begins, len(log))
		log = append(log, e.frame([]Entry{
			{Device: fmt.Sprint("device-", i%3), Property: "p", At: time.Unix(int64(i), 0), Value: float64(i), Text: strings.Repeat("x", i)},
		})...)
	}
	read := func(log []byte) (values []float64, damaged int64) {
		damaged, err := scanLog(bytes.NewReader(log), int64(len(log)), func(r *row) error {
			values = append(values, r.Value)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return values, damaged
	}
	if values, damaged := read(log); len(values) != count || damaged != 0 {
		t.Fatalf("%d readings of %d, %d bytes damaged", len(values), count, damaged)
	}
	for place := range log {
		bad := bytes.Clone(log)
		bad[place] ^= 0x55
		values, damaged := read(bad)
		frame := count - 1
		for begins[frame] > place {
			frame--
		}
		if len(values) != count-1 || slices.Contains(values, float64(frame)) {
			t.Errorf("a byte of frame %d is wrong: read %v", frame, values)
		}
		if torn := frame == count-1; damaged == 0 != torn {
			t.Errorf("a byte of frame %d is wrong: %d bytes damaged", frame, damaged)
		}
	}
	for cut := range log {
		whole := 0
		for whole < count && (whole+1 < count && begins[whole+1] <= cut || whole+1 == count && len(log) <= cut) {
			whole++
		}
		if values, damaged := read(log[:cut]); len(values) != whole || damaged != 0 {
			t.Errorf("cut to %d bytes: %d readings, %d bytes damaged; want %d, 0", cut, len(values), damaged, whole)
		}
	}
}

// Logs of an earlier version, whose frames refer to strings of frames before, are read.
func TestLogOfAnEarlierVersion(t *testing.T) {
	frame := func(payload []byte) []byte {
		b := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
		return append(binary.LittleEndian.AppendUint32(b, crc32.Checksum(payload, castagnoli)), payload...)
	}
	reading := append([]byte{recReading, 0, 0, 0, 0, 0}, make([]byte, 25)...)
	log := append(frame(append([]byte{recString, 1, 'd'}, reading...)), frame(reading)...)
	n := 0
	damaged, err := scanLog(bytes.NewReader(log), int64(len(log)), func(r *row) error {
		if r.Device == "d" {
			n++
		}
		return nil
	})
	if err != nil || n != 2 || damaged != 0 {
		t.Errorf("%d readings, %d bytes damaged, %v; want 2", n, damaged, err)
	}
}
