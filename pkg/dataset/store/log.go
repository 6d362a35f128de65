// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
)

// A log is a sequence of frames: the length of the payload and its CRC-32C, four bytes each, little endian, then the
// payload: records one after another. A record is a string when it is first used, or a reading that refers to strings by
// number. A frame begins with a record that forgets all strings: where one is damaged, the others can be read.

const (
	frameHead     = 8
	maxPayload    = 4 << 20
	frameReadings = 128
	recString     = 1
	recReading    = 2
	recForget     = 3 // strings; logs of earlier versions do without
	recJudged     = 4 // a reading with what was expected of it
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

// frame encodes entries; it is valid until the next call.
func (e *encoder) frame(entries []Entry) []byte {
	clear(e.strings)
	e.buf = append(append(e.buf[:0], make([]byte, frameHead)...), recForget)
	for i := range entries {
		r := &entries[i]
		ids := [...]uint64{e.id(r.Device), e.id(r.Namespace), e.id(r.Property), e.id(r.Severity), e.id(r.Kind)}
		text := r.Text
		if len(text) > maxText {
			text = text[:maxText]
		}
		off := r.Band.off(r.Value)
		kind := byte(recReading)
		if off != (offsets{}) {
			kind = recJudged
		}
		e.buf = append(e.buf, kind)
		for _, id := range ids {
			e.buf = binary.AppendUvarint(e.buf, id)
		}
		e.buf = binary.LittleEndian.AppendUint64(e.buf, uint64(r.At.UnixNano()))
		e.buf = binary.LittleEndian.AppendUint64(e.buf, math.Float64bits(r.Value))
		e.buf = binary.LittleEndian.AppendUint64(e.buf, math.Float64bits(r.Score))
		e.buf = binary.AppendUvarint(e.buf, uint64(len(text)))
		e.buf = append(e.buf, text...)
		if kind == recJudged {
			for _, v := range [...]float32{off.Expected, off.Lower, off.Upper} {
				e.buf = binary.LittleEndian.AppendUint32(e.buf, math.Float32bits(v))
			}
		}
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
		case recForget:
			d.strings = d.strings[:0]
		case recString:
			s, ok := text()
			if !ok {
				return errRecord
			}
			d.strings = append(d.strings, s)
		case recReading, recJudged:
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
			r.Off = offsets{}
			if kind == recJudged {
				for _, to := range [...]*float32{&r.Off.Expected, &r.Off.Lower, &r.Off.Upper} {
					if len(p) < 4 {
						return errRecord
					}
					*to, p = math.Float32frombits(binary.LittleEndian.Uint32(p)), p[4:]
				}
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

// scanLog calls fn with each reading of the whole frames of a log, and returns how many bytes between whole frames are
// damaged. What comes after the last whole frame is a torn end, which is nothing to tell of.
func scanLog(src io.ReaderAt, size int64, fn func(*row) error) (damaged int64, err error) {
	var (
		f  = frames{src: src, size: size}
		d  decoder
		at int64
	)
	for at < size {
		payload, err := f.at(at)
		if err != nil {
			return damaged, err
		}
		if payload != nil {
			err := d.payload(payload, fn)
			if err == nil {
				at += frameHead + int64(len(payload))
				continue
			}
			if !errors.Is(err, errRecord) {
				return damaged, err
			}
		}
		next, err := f.after(at)
		if err != nil || next < 0 {
			return damaged, err
		}
		damaged += next - at
		at = next
	}
	return damaged, nil
}

// frames reads the frames of a log.
type frames struct {
	src     io.ReaderAt
	size    int64
	payload []byte
	window  []byte
}

// at returns the payload of the frame at a place, valid until the next call; nil where there is no whole one.
func (f *frames) at(place int64) ([]byte, error) {
	var head [frameHead]byte
	if place+frameHead > f.size {
		return nil, nil
	}
	if _, err := f.src.ReadAt(head[:], place); err != nil {
		return nil, torn(err)
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n == 0 || n > maxPayload || place+frameHead+n > f.size {
		return nil, nil
	}
	if int64(cap(f.payload)) < n {
		f.payload = make([]byte, n)
	}
	f.payload = f.payload[:n]
	if _, err := f.src.ReadAt(f.payload, place+frameHead); err != nil {
		return nil, torn(err)
	}
	if crc32.Checksum(f.payload, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, nil
	}
	return f.payload, nil
}

// after returns the place of the first whole frame after a damaged one, -1 where there is none.
func (f *frames) after(place int64) (int64, error) {
	var head [frameHead]byte
	if _, err := f.src.ReadAt(head[:], place); err != nil {
		return -1, torn(err)
	}
	// By its length first: what looks like a frame inside another one may be a text that a device has sent.
	next := place + frameHead + int64(binary.LittleEndian.Uint32(head[:]))
	if next < f.size {
		if payload, err := f.at(next); payload != nil || err != nil {
			return next, err
		}
	}
	if f.window == nil {
		f.window = make([]byte, 64<<10)
	}
	for from := place + 1; from+frameHead < f.size; {
		n, err := f.src.ReadAt(f.window[:min(int64(len(f.window)), f.size-from)], from)
		if err != nil && torn(err) != nil {
			return -1, err
		}
		for i := 0; i+frameHead < n; i++ {
			if f.window[i+frameHead] != recForget {
				continue
			}
			if payload, err := f.at(from + int64(i)); payload != nil || err != nil {
				return from + int64(i), err
			}
		}
		if n <= frameHead {
			break
		}
		from += int64(n - frameHead)
	}
	return -1, nil
}

// torn is nil for the end of a log that is shorter than it should be.
func torn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func scanLogFile(name string, fn func(*row) error) (damaged int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		damaged, err = scanLog(f, info.Size(), fn)
	}
	if err != nil {
		return damaged, fmt.Errorf("log %s: %w", name, err)
	}
	return damaged, nil
}
