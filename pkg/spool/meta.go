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
	"path/filepath"
	"time"
)

// meta is a small file of fixed size that is written in place, so that it can be written on a full disk: magic, mark,
// length of the label, label, zeroes, age of records, clock, checksum. It is well below a sector, which disks write as one.
type meta struct {
	file  *os.File
	label string
	mark  uint64
	age   time.Duration // after which records are given up
	clock time.Duration // of the log, when it was last written
}

const (
	metaMagic = "EASPMTA\x01"
	metaSize  = 256
	labelAt   = len(metaMagic) + 8 + 1
	clockAt   = metaSize - 4 - 8
	ageAt     = clockAt - 8
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
	known := n == metaSize && m.decode(b)
	if m.age = o.MaxAge; known {
		return m.set(m.mark, m.clock)
	}
	if n > 0 {
		o.Damaged(errors.New("spool: meta is damaged: records get a new label"))
	}
	m.label = o.Label
	return m.set(0, 0)
}

func (m *meta) decode(b []byte) bool {
	sum := binary.LittleEndian.Uint32(b[metaSize-4:])
	length := int(b[labelAt-1])
	if string(b[:len(metaMagic)]) != metaMagic || crc32.Checksum(b[:metaSize-4], table) != sum || length > maxLabel {
		return false
	}
	m.mark = binary.LittleEndian.Uint64(b[len(metaMagic):])
	m.age = time.Duration(binary.LittleEndian.Uint64(b[ageAt:]))
	m.clock = time.Duration(binary.LittleEndian.Uint64(b[clockAt:]))
	m.label = string(b[labelAt : labelAt+length])
	return true
}

func (m *meta) set(mark uint64, clock time.Duration) error {
	clock = max(clock, m.clock)
	b := make([]byte, metaSize)
	copy(b, metaMagic)
	binary.LittleEndian.PutUint64(b[len(metaMagic):], mark)
	b[labelAt-1] = byte(copy(b[labelAt:], m.label))
	binary.LittleEndian.PutUint64(b[ageAt:], uint64(m.age))
	binary.LittleEndian.PutUint64(b[clockAt:], uint64(clock))
	binary.LittleEndian.PutUint32(b[metaSize-4:], crc32.Checksum(b[:metaSize-4], table))
	if _, err := m.file.WriteAt(b, 0); err != nil {
		return err
	}
	m.mark, m.clock = mark, clock
	return m.file.Sync()
}

func (m *meta) close() error {
	if m.file == nil {
		return nil
	}
	return m.file.Close()
}

// Age is the limit of age that the log in a directory was opened with last, whether or not it is open.
func Age(dir string) (time.Duration, error) {
	b, err := os.ReadFile(filepath.Join(dir, "meta"))
	var m meta
	if err == nil && (len(b) != metaSize || !m.decode(b) || m.age <= 0) {
		err = errors.New("no age is known of it")
	}
	if err != nil {
		return 0, fmt.Errorf("spool %s: %w", dir, err)
	}
	return m.age, nil
}
