// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"
)

// A segment is a header and records. A record is, in little endian:
//
//	 0  checksum  CRC-32C of what follows, but for the state
//	 4  state
//	 5  length of data
//	 9  ID
//	17  time by the clock of the log, ns
//	25  data
const (
	magic        = "EASPOOL\x01"
	headerSize   = int64(len(magic))
	stateOffset  = 4
	lengthOffset = 5
	dataOffset   = 25
	scanBuffer   = 256 << 10
)

var table = crc32.MakeTable(crc32.Castagnoli)

func recordSize[N int | uint32](data N) int64 { return dataOffset + int64(data) }

func appendRecord(b []byte, r *Record, at time.Duration) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, byte(r.State))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Data)))
	b = binary.LittleEndian.AppendUint64(b, r.ID)
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	b = append(b, r.Data...)
	binary.LittleEndian.PutUint32(b[start:], crc32.Checksum(b[start+lengthOffset:], table))
	return b
}

var errDamaged = errors.New("damaged record")

// parse reads the record at the start of b. ok is false where b ends within it; more is the length it then needs.
func parse(b []byte) (r Record, n int, more int64, err error) {
	if len(b) < dataOffset {
		return r, 0, dataOffset, nil
	}
	size := recordSize(binary.LittleEndian.Uint32(b[lengthOffset:]))
	if int64(len(b)) < size {
		return r, 0, size, nil
	}
	b = b[:size]
	if crc32.Checksum(b[lengthOffset:], table) != binary.LittleEndian.Uint32(b) {
		return r, 0, 0, errDamaged
	}
	if r.State = State(b[stateOffset]); r.State > Done { // the byte has no checksum; a repeat is better than a loss
		r.State = 0
	}
	r.ID = binary.LittleEndian.Uint64(b[lengthOffset+4:])
	r.At = time.Unix(0, int64(binary.LittleEndian.Uint64(b[lengthOffset+12:])))
	r.Data = b[dataOffset:]
	return r, int(size), 0, nil
}

type segment struct {
	number uint64
	file   *os.File
	born   time.Time // of its first record

	// Guarded by Log.mu; size is changed by the goroutine that appends.
	size    int64
	newest  time.Time
	waiting int
	dirty   bool
}

func fileName(number uint64) string { return fmt.Sprintf("%016x%s", number, suffix) }

func createSegment(path string, number uint64) (*segment, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt([]byte(magic), 0); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return &segment{number: number, file: f, size: headerSize}, nil
}

// openSegment opens a segment of an earlier process. A header that is missing or strange makes it empty.
func openSegment(path string, number uint64) (*segment, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	s := &segment{number: number, file: f}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	header := make([]byte, headerSize)
	if n, _ := f.ReadAt(header, 0); string(header[:n]) == magic {
		s.size = info.Size()
	}
	return s, nil
}

func (s *segment) begin() Pos { return Pos{s.number, headerSize} }

// scan visits all records from a place up to size, whatever their state; visit returns true.
func (s *segment) scan(from Pos, size int64, buf []byte, visit func(Pos, Record) bool) (Pos, error) {
	for from.offset < size {
		next, err := s.scanSome(from, size, buf, visit)
		if err != nil {
			return next, err
		}
		if next == from {
			return next, nil // the last record was cut off
		}
		from = next
	}
	return from, nil
}

// scanSome visits records until visit returns false, at least as many as buf holds where there are so many. It returns
// the place behind them, which is from where there is none that is whole.
func (s *segment) scanSome(from Pos, size int64, buf []byte, visit func(Pos, Record) bool) (Pos, error) {
	for from.offset < size {
		piece := buf[:min(int64(len(buf)), size-from.offset)]
		n, err := s.file.ReadAt(piece, from.offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return from, err
		}
		piece = piece[:n]
		visited := false
		for {
			r, n, more, err := parse(piece)
			if err != nil {
				return from, fmt.Errorf("%s at %d: %w", s.file.Name(), from.offset, err)
			}
			if n == 0 {
				if more > int64(len(buf)) && more <= size-from.offset && !visited {
					buf = make([]byte, more)
					break
				}
				return from, nil
			}
			from.offset += int64(n)
			if !visit(Pos{from.segment, from.offset - int64(n)}, r) {
				return from, nil
			}
			visited = true
			piece = piece[n:]
		}
	}
	return from, nil
}
