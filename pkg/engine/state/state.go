// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package state writes and reads the learned state of engine types as compact little-endian binary.
//
// A type with learned state has two methods, and is then a [Part] of a detector's snapshot:
//
//	func (e *EWMA) EncodeState(w *state.Writer) { w.Float(e.mean); w.Float(e.variance) }
//	func (e *EWMA) DecodeState(r *state.Reader) { e.mean = r.Finite("mean"); e.variance = r.Min("variance", 0) }
//
// A Reader keeps the first error, so that decoding reads straight through and is checked once at its end. Lengths are
// checked against the bytes that are left before anything is allocated.
package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Part is a piece of learned state.
type Part interface {
	EncodeState(w *Writer)
	DecodeState(r *Reader)
}

// Bytes is what p has learned.
func Bytes(p Part) []byte {
	var w Writer
	p.EncodeState(&w)
	return w.Bytes
}

// Restore gives p what Bytes returned. After an error, p is of no use.
func Restore(p Part, data []byte) error {
	r := NewReader(data)
	p.DecodeState(r)
	return r.Close()
}

// Parts are several, one after the other.
type Parts []Part

// EncodeState implements Part.
func (p Parts) EncodeState(w *Writer) {
	for _, one := range p {
		one.EncodeState(w)
	}
}

// DecodeState implements Part.
func (p Parts) DecodeState(r *Reader) {
	for _, one := range p {
		one.DecodeState(r)
	}
}

// Readings is a count of readings, see [Reader.Readings].
type Readings uint64

// EncodeState implements Part.
func (n *Readings) EncodeState(w *Writer) { w.Uint(uint64(*n)) }

// DecodeState implements Part.
func (n *Readings) DecodeState(r *Reader) { *n = Readings(r.Readings()) }

// Writer appends values to Bytes. The zero value is ready for use.
type Writer struct{ Bytes []byte }

// Uint appends v in 8 bytes.
func (w *Writer) Uint(v uint64) { w.Bytes = binary.LittleEndian.AppendUint64(w.Bytes, v) }

// Int appends v in 8 bytes.
func (w *Writer) Int(v int64) { w.Uint(uint64(v)) }

// Bool appends v in one byte.
func (w *Writer) Bool(v bool) {
	b := byte(0)
	if v {
		b = 1
	}
	w.Bytes = append(w.Bytes, b)
}

// Float appends v in 8 bytes, NaN and infinities included.
func (w *Writer) Float(v float64) { w.Uint(math.Float64bits(v)) }

// Floats appends the length of v and its values.
func (w *Writer) Floats(v []float64) {
	w.Uint(uint64(len(v)))
	for _, x := range v {
		w.Float(x)
	}
}

// Floats32 appends the length of v and its values, in 4 bytes each.
func (w *Writer) Floats32(v []float32) {
	w.Uint(uint64(len(v)))
	for _, x := range v {
		w.Bytes = binary.LittleEndian.AppendUint32(w.Bytes, math.Float32bits(x))
	}
}

// Text appends the length of v and its bytes.
func (w *Writer) Text(v string) {
	w.Uint(uint64(len(v)))
	w.Bytes = append(w.Bytes, v...)
}

// Reader takes values from the front of a byte slice. After an error every method returns a zero value.
type Reader struct {
	data []byte
	err  error
}

// NewReader reads what a Writer wrote to data.
func NewReader(data []byte) *Reader { return &Reader{data: data} }

// ErrCorrupt is wrapped by every error of a Reader.
var ErrCorrupt = errors.New("corrupt state")

// Fail records an error, unless there is one already.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
	}
}

// Err is the first error so far.
func (r *Reader) Err() error { return r.err }

// More reports whether there is more to read.
func (r *Reader) More() bool { return r.err == nil && len(r.data) > 0 }

// Close returns the first error; bytes left over are one.
func (r *Reader) Close() error {
	if len(r.data) > 0 {
		r.Fail("%d bytes left over", len(r.data))
	}
	return r.err
}

func (r *Reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.data) {
		r.Fail("ends %d bytes early", n-len(r.data))
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

// Uint reads what Writer.Uint wrote.
func (r *Reader) Uint() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// Readings reads a count of readings. It is refused from where going on counting could overflow, and only damage gets
// there.
func (r *Reader) Readings() uint64 {
	n := r.Uint()
	if n > 1<<53 {
		r.Fail("%d readings, want at most %d", n, uint64(1<<53))
		return 0
	}
	return n
}

// Int reads what Writer.Int wrote.
func (r *Reader) Int() int64 { return int64(r.Uint()) }

// Count reads an int that must lie in 0..most.
func (r *Reader) Count(name string, most int) int {
	n := r.Int()
	if n < 0 || n > int64(most) {
		r.Fail("%s is %d, want 0 to %d", name, n, most)
		return 0
	}
	return int(n)
}

// Bool reads what Writer.Bool wrote.
func (r *Reader) Bool() bool {
	b := r.take(1)
	if b == nil {
		return false
	}
	if b[0] > 1 {
		r.Fail("a boolean is %d", b[0])
	}
	return b[0] == 1
}

// Float reads what Writer.Float wrote, whatever the value.
func (r *Reader) Float() float64 { return math.Float64frombits(r.Uint()) }

// Finite reads a float that must be neither NaN nor infinite.
func (r *Reader) Finite(name string) float64 {
	v := r.Float()
	if math.IsNaN(v) || math.IsInf(v, 0) {
		r.Fail("%s is %v, want a finite number", name, v)
		return 0
	}
	return v
}

// Min reads a finite float that must not be less than least.
func (r *Reader) Min(name string, least float64) float64 {
	v := r.Finite(name)
	if r.err == nil && v < least {
		r.Fail("%s is %v, want at least %v", name, v, least)
	}
	return v
}

// Floats reads at most `most` floats, whatever their values.
func (r *Reader) Floats(name string, most int) []float64 {
	n := r.Count(name+" length", most)
	if left := len(r.data) / 8; n > left && r.err == nil { // 8*n may be more than an int of 32 bits holds
		r.Fail("%s ends %d values early", name, n-left)
	}
	b := r.take(8 * n)
	if b == nil {
		return nil
	}
	v := make([]float64, n)
	for i := range v {
		v[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return v
}

// FloatsTo reads floats into dst, which must have exactly the length that was written.
func (r *Reader) FloatsTo(name string, dst []float64) {
	if n := r.Uint(); r.err == nil && n != uint64(len(dst)) {
		r.Fail("%s has %d values, want %d", name, n, len(dst))
		return
	}
	b := r.take(8 * len(dst))
	if b == nil {
		return
	}
	for i := range dst {
		dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
}

// Floats32 reads at most `most` floats of 4 bytes, whatever their values, into memory that has room for `most`.
func (r *Reader) Floats32(name string, most int) []float32 {
	n := r.Count(name+" length", most)
	if left := len(r.data) / 4; n > left && r.err == nil {
		r.Fail("%s ends %d values early", name, n-left)
	}
	b := r.take(4 * n)
	if b == nil {
		return nil
	}
	v := make([]float32, n, most)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

// Text reads text of at most `most` bytes.
func (r *Reader) Text(name string, most int) string {
	n := r.Count(name+" length", most)
	return string(r.take(n))
}
