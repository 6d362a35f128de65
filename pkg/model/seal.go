// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package model frames trained models and snapshots of learned state for keeping in files: magic, format version,
// schema, schema version, length and checksum. What fails one of them is refused whole.
package model

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A frame is, little-endian:
//
//	magic "EADM" | format uint16 | schema version uint16 | schema length uint16 | payload length uint32 |
//	schema | payload | CRC-32C (Castagnoli) of everything before it, uint32
const (
	magic      = "EADM"
	format     = 1
	headerSize = len(magic) + 2 + 2 + 2 + 4
	sumSize    = 4
	maxSchema  = 256

	// MaxPayload bounds a frame, so that a corrupt length cannot exhaust memory.
	MaxPayload = 256 << 20
)

// The reasons for which a frame is refused.
var (
	ErrCorrupt = errors.New("corrupt frame")
	ErrSchema  = errors.New("frame of another schema")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seal frames a payload. schema names what the payload is, for example "detector/ewma"; version counts its layouts.
func Seal(schema string, version uint16, payload []byte) ([]byte, error) {
	if len(schema) > maxSchema || len(payload) > MaxPayload {
		return nil, fmt.Errorf("seal %q: schema of %d and payload of %d bytes, want at most %d and %d",
			schema, len(schema), len(payload), maxSchema, MaxPayload)
	}
	b := make([]byte, 0, headerSize+len(schema)+len(payload)+sumSize)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, format)
	b = binary.LittleEndian.AppendUint16(b, version)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(schema)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, schema...)
	b = append(b, payload...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// Unseal checks a frame and returns its payload, which aliases data.
func Unseal(schema string, version uint16, data []byte) ([]byte, error) {
	if len(data) < headerSize+sumSize || !bytes.HasPrefix(data, []byte(magic)) {
		return nil, fmt.Errorf("%w: no %s header", ErrCorrupt, magic)
	}
	head := data[len(magic):]
	if f := binary.LittleEndian.Uint16(head); f != format {
		return nil, fmt.Errorf("%w: format %d, want %d", ErrSchema, f, format)
	}
	gotVersion := binary.LittleEndian.Uint16(head[2:])
	schemaSize, size := sizes(data)
	if size != int64(len(data)) {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrCorrupt, len(data), size)
	}
	body, sum := data[:len(data)-sumSize], binary.LittleEndian.Uint32(data[len(data)-sumSize:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return nil, fmt.Errorf("%w: checksum %08x, want %08x", ErrCorrupt, got, sum)
	}
	if got := string(data[headerSize : headerSize+schemaSize]); got != schema || gotVersion != version {
		return nil, fmt.Errorf("%w: %q version %d, want %q version %d", ErrSchema, got, gotVersion, schema, version)
	}
	return data[headerSize+schemaSize : len(data)-sumSize], nil
}

// sizes reads the size of the schema and of the whole frame from a header; a frame over the caps has size 0.
func sizes(header []byte) (schema int, frame int64) {
	head := header[len(magic):]
	schema = int(binary.LittleEndian.Uint16(head[4:]))
	payload := int64(binary.LittleEndian.Uint32(head[6:]))
	if schema > maxSchema || payload > MaxPayload {
		return schema, 0
	}
	return schema, int64(headerSize+schema+sumSize) + payload
}

// Next splits the first frame off data, by its header alone: Unseal checks it. Where no frame begins, or it does not
// end in data, it returns no frame and data from the next place on at which one may begin.
func Next(data []byte) (frame, rest []byte) {
	if len(data) >= headerSize && bytes.HasPrefix(data, []byte(magic)) {
		if _, size := sizes(data); size > 0 && size <= int64(len(data)) {
			return data[:size], data[size:]
		}
	}
	return nil, Resume(data)
}

// Resume returns data from the first place after its beginning at which a frame may begin; nil where there is none.
func Resume(data []byte) []byte {
	if len(data) == 0 {
		return nil
	}
	if i := bytes.Index(data[1:], []byte(magic)); i >= 0 {
		return data[1+i:]
	}
	return nil
}
