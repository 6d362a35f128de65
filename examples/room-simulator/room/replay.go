// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package room

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ReadCSV returns the readings of a CSV file in the order of its rows. A header
// is optional. The readings are in the column that the header names "value",
// else in the last one. Errors name the line.
func ReadCSV(r io.Reader) ([]float64, error) {
	reader := csv.NewReader(r)
	reader.ReuseRecord = true
	var values []float64
	column := -1
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err // names the line itself
		}
		header := column < 0 && !isNumber(record[len(record)-1])
		if column < 0 {
			column = len(record) - 1
		}
		if header {
			if i := slices.IndexFunc(record, func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), "value") }); i >= 0 {
				column = i
			}
			continue
		}
		text := strings.TrimSpace(record[column])
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			line, _ := reader.FieldPos(column)
			return nil, fmt.Errorf("line %d, column %d: %q, want a finite number", line, column+1, text)
		}
		values = append(values, v)
	}
	if len(values) == 0 {
		return nil, errors.New("no readings: want rows of timestamp,value")
	}
	return values, nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return err == nil
}

// deviation is the standard deviation of values, or 1 if they are all equal.
func deviation(values []float64) float64 {
	// Welford's method: the square of a large value does not overflow here
	// where the difference between values is moderate.
	var mean, m2 float64
	for i, v := range values {
		d := v - mean
		mean += d / float64(i+1)
		m2 += d * (v - mean)
	}
	if sd := math.Sqrt(m2 / float64(len(values))); sd > 0 && !math.IsInf(sd, 0) {
		return sd
	}
	return 1
}
