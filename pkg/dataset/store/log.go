// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
)

// A log is a sequence of frames: the length of the payload and its CRC-32C, four bytes each, little endian, then the
// payload: records one after another. A record is the number of a string and the string when it is first used, or a
// reading that refers to strings by number. A frame is whole or is not there: reading ends at the first that is not.

const (
	frameHead     = 8
	maxPayload    = 4 << 20
	frameReadings = 128
	recString     = 1
	recReading    = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errRecord = errors.New("a record is damaged")

// encoder makes frames of one log.
type encoder struct {
	strings map[string]uint64
	buf     []byte
}

func newEncoder() *encoder { return &encoder{strings: make(map[string]uint64)} }

// maxText is the length at which a text is cut, so that a frame of frameReadings stays below maxPayload.
const maxText = 4 << 10

func (e *encoder) id(s string) uint64 {
	if len(s) > maxText {
		s = s[:maxText]
	}
	id, ok := e.strings[s]
	if !ok {
		id = uint64(len(e.strings))
		e.strings[s] = id
		e.buf = append(e.buf, recString)
		e.buf = binary.AppendUvarint(e.buf, uint64(len(s)))
		e.buf = append(e.buf, s...)
	}
	return id
}

// frame encodes entries; it is valid until the next call. Strings that were first used in a frame that could not be
// written are lost, so the caller makes a new encoder and a new log then.
func (e *encoder) frame(entries []Entry) []byte {
	e.buf = append(e.buf[:0], make([]byte, frameHead)...)
	for i := range entries {
		r := &entries[i]
		ids := [...]uint64{e.id(r.Device), e.id(r.Namespace), e.id(r.Property), e.id(r.Severity), e.id(r.Kind)}
		text := r.Text
		if len(text) > maxText {
			text = text[:maxText]
		}
		e.buf = append(e.buf, recReading)
		for _, id := range ids {
			e.buf = binary.AppendUvarint(e.buf, id)
		}
		e.buf = binary.LittleEndian.AppendUint64(e.buf, uint64(r.At.UnixNano()))
		e.buf = binary.LittleEndian.AppendUint64(e.buf, math.Float64bits(r.Value))
		e.buf = binary.LittleEndian.AppendUint64(e.buf, math.Float64bits(r.Score))
		e.buf = binary.AppendUvarint(e.buf, uint64(len(text)))
		e.buf = append(e.buf, text...)
	}
	payload := e.buf[frameHead:]
	binary.LittleEndian.PutUint32(e.buf, uint32(len(payload)))
	binary.LittleEndian.PutUint32(e.buf[4:], crc32.Checksum(payload, castagnoli))
	return e.buf
}

// decoder reads frames of one log.
type decoder struct{ strings []string }

// payload calls fn with each reading of a payload.
func (d *decoder) payload(p []byte, fn func(*row) error) error {
	text := func() (string, bool) {
		n, k := binary.Uvarint(p)
		if k <= 0 || n > uint64(len(p)-k) {
			return "", false
		}
		s := string(p[k : k+int(n)])
		p = p[k+int(n):]
		return s, true
	}
	var r row
	for len(p) > 0 {
		kind := p[0]
		p = p[1:]
		switch kind {
		case recString:
			s, ok := text()
			if !ok {
				return errRecord
			}
			d.strings = append(d.strings, s)
		case recReading:
			for _, to := range [...]*string{&r.Device, &r.Namespace, &r.Property, &r.Severity, &r.Kind} {
				id, k := binary.Uvarint(p)
				if k <= 0 || id >= uint64(len(d.strings)) {
					return errRecord
				}
				*to, p = d.strings[id], p[k:]
			}
			if len(p) < 24 {
				return errRecord
			}
			r.At = int64(binary.LittleEndian.Uint64(p))
			r.Value = math.Float64frombits(binary.LittleEndian.Uint64(p[8:]))
			r.Score = math.Float64frombits(binary.LittleEndian.Uint64(p[16:]))
			p = p[24:]
			var ok bool
			if r.Text, ok = text(); !ok {
				return errRecord
			}
			if err := fn(&r); err != nil {
				return err
			}
		default:
			return errRecord
		}
	}
	return nil
}

// scanLog calls fn with each reading of the whole frames at the beginning of a log; what comes after is a torn end.
func scanLog(src io.Reader, fn func(*row) error) error {
	in := bufio.NewReaderSize(src, 64<<10)
	var (
		head    [frameHead]byte
		payload []byte
		d       decoder
	)
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return torn(err)
		}
		n := binary.LittleEndian.Uint32(head[:])
		if n > maxPayload {
			return nil
		}
		if uint32(cap(payload)) < n {
			payload = make([]byte, n)
		}
		payload = payload[:n]
		if _, err := io.ReadFull(in, payload); err != nil {
			return torn(err)
		}
		if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
			return nil
		}
		if err := d.payload(payload, fn); err != nil {
			if errors.Is(err, errRecord) {
				return nil
			}
			return err
		}
	}
}

func torn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func scanLogFile(name string, fn func(*row) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := scanLog(f, fn); err != nil {
		return fmt.Errorf("log %s: %w", name, err)
	}
	return nil
}
