// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
)

// meta is a small file of fixed size that is written in place, so that it can be written on a full disk: magic, mark,
// length of the label, label, zeroes, checksum. It is well below a sector, which disks write as one.
type meta struct {
	file  *os.File
	label string
	mark  uint64
}

const (
	metaMagic = "EASPMTA\x01"
	metaSize  = 256
	labelAt   = len(metaMagic) + 8 + 1
)

func (m *meta) open(path string, o Options) (err error) {
	if m.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	b := make([]byte, metaSize)
	n, err := m.file.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if n == metaSize && m.decode(b) {
		return nil
	}
	if n > 0 {
		o.Damaged(errors.New("spool: meta is damaged: records get a new label"))
	}
	m.label = o.Label
	return m.set(0)
}

func (m *meta) decode(b []byte) bool {
	sum := binary.LittleEndian.Uint32(b[metaSize-4:])
	length := int(b[labelAt-1])
	if string(b[:len(metaMagic)]) != metaMagic || crc32.Checksum(b[:metaSize-4], table) != sum || length > maxLabel {
		return false
	}
	m.mark = binary.LittleEndian.Uint64(b[len(metaMagic):])
	m.label = string(b[labelAt : labelAt+length])
	return true
}

func (m *meta) set(mark uint64) error {
	b := make([]byte, metaSize)
	copy(b, metaMagic)
	binary.LittleEndian.PutUint64(b[len(metaMagic):], mark)
	b[labelAt-1] = byte(copy(b[labelAt:], m.label))
	binary.LittleEndian.PutUint32(b[metaSize-4:], crc32.Checksum(b[:metaSize-4], table))
	if _, err := m.file.WriteAt(b, 0); err != nil {
		return err
	}
	m.mark = mark
	return m.file.Sync()
}

func (m *meta) close() error {
	if m.file == nil {
		return nil
	}
	return m.file.Close()
}

// syncDir makes the names of new files survive a power cut. Not every file system can.
func syncDir(path string) {
	if d, err := os.Open(path); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}
