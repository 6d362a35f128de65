// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package jsonlines appends values to files of one JSON value a line, and reads them. A line that was torn by a crash costs no
// other: it is passed over.
package jsonlines

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Append appends values to a file, which it makes with mode where there is none. Sync has them on the disk when it returns.
func Append[T any](path string, mode fs.FileMode, sync bool, values ...T) (err error) {
	var text bytes.Buffer
	text.WriteByte('\n') // ends a line that was torn
	lines := json.NewEncoder(&text)
	for i := range values {
		if err := lines.Encode(&values[i]); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(text.Bytes()); err != nil || !sync {
		return err
	}
	return f.Sync()
}

// Read hands over the values of a file, of lines of at most so many bytes. A file that is not there has none.
func Read[T any](path string, longest int, each func(*T)) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, longest)
	for lines.Scan() {
		var v T
		if len(lines.Bytes()) > 0 && json.Unmarshal(lines.Bytes(), &v) == nil {
			each(&v)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
