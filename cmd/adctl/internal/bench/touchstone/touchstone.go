// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package touchstone scores detectors by the protocol of the Touchstone leaderboard of streaming detectors
// (wenig/touchstone-rs): rows that were not judged are left out, scores are scaled to 0..1 in float32, and how well
// they rank the labelled rows is measured without a threshold.
package touchstone

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/rank"
)

// Figures are those of the board that rank detectors, 0..1.
type Figures struct {
	ROC       float64 `json:"rocAUC"`
	Precision float64 `json:"averagePrecision"`
	PRVolume  float64 `json:"vusPR"`
	ROCVolume float64 `json:"vusROC"`
}

// Score ranks the rows by their scores; NaN is a row that was not judged.
func Score(truth []bool, scores []float32) Figures {
	var judged []float32
	var labels []bool
	for i, s := range scores {
		if s == s {
			judged, labels = append(judged, s), append(labels, truth[i])
		}
	}
	nan := math.NaN()
	if len(judged) == 0 {
		return Figures{nan, nan, nan, nan}
	}
	scale(judged)
	order := rank.By(judged)
	f := Figures{ROC: order.ROC(labels), Precision: order.AveragePrecisionInOrder(labels)}
	f.PRVolume, f.ROCVolume = volumes(spansWhere(len(labels), func(i int) bool { return labels[i] }), judged, order)
	return f
}

// scale moves scores to 0..1.
func scale(scores []float32) {
	low, high := slices.Min(scores), slices.Max(scores)
	for i, s := range scores {
		if high-low < tiny {
			scores[i] = 0
		} else {
			scores[i] = (s - low) / (high - low)
		}
	}
}

// Mean is the mean of each figure, where a NaN counts as 0, as on the board.
func Mean(all []Figures) (m Figures) {
	for _, f := range all {
		for _, v := range [...]struct{ to, from *float64 }{
			{&m.ROC, &f.ROC}, {&m.Precision, &f.Precision}, {&m.PRVolume, &f.PRVolume}, {&m.ROCVolume, &f.ROCVolume},
		} {
			if !math.IsNaN(*v.from) {
				*v.to += *v.from / float64(len(all))
			}
		}
	}
	return m
}

// Set is one data set.
type Set struct {
	Name    string
	Columns []string
	Rows    [][]float32 // NaN where there is no reading
	Truth   []bool
}

// List finds the data sets of a directory, sorted by name.
func List(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.parquet"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s: no data set: want files *.parquet", dir)
	}
	return files, err
}

// Load reads a data set. The first column of its file is the time, which the board ignores, the last one the label.
func Load(path string) (*Set, error) {
	s, err := load(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func load(path string) (*Set, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		return nil, err
	}
	columns := file.Root().Columns()
	if len(columns) < 3 {
		return nil, fmt.Errorf("%d columns, want a time, readings and a label", len(columns))
	}
	s := &Set{Name: strings.TrimSuffix(filepath.Base(path), ".parquet")}
	for _, c := range columns[1 : len(columns)-1] {
		s.Columns = append(s.Columns, c.Name())
	}
	for _, group := range file.RowGroups() {
		rows := group.Rows()
		err := s.read(rows, len(columns))
		if err = errors.Join(err, rows.Close()); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Set) read(rows parquet.Rows, columns int) error {
	buffer := make([]parquet.Row, 256)
	for {
		n, err := rows.ReadRows(buffer)
		for _, row := range buffer[:n] {
			readings := make([]float32, columns-2)
			label := false
			for _, v := range row {
				switch c := v.Column(); c {
				case 0:
				case columns - 1:
					label = number(v) >= 1
				default:
					readings[c-1] = float32(number(v))
				}
			}
			s.Rows, s.Truth = append(s.Rows, readings), append(s.Truth, label)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// number is NaN for what is none.
func number(v parquet.Value) float64 {
	if v.IsNull() {
		return math.NaN()
	}
	switch v.Kind() {
	case parquet.Boolean:
		if v.Boolean() {
			return 1
		}
		return 0
	case parquet.Int32:
		return float64(v.Int32())
	case parquet.Int64:
		return float64(v.Int64())
	case parquet.Float:
		return float64(v.Float())
	case parquet.Double:
		return v.Double()
	}
	return math.NaN()
}

// Recorded are the board's own figures: of each detector, by data set.
func Recorded(path string) (map[string]map[string]Figures, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	all := make(map[string]map[string]Figures)
	for _, line := range lines[1:] {
		at := func(column string) float64 {
			i := slices.Index(lines[0], column)
			if i < 0 {
				return math.NaN()
			}
			v, err := strconv.ParseFloat(line[i], 64)
			if err != nil {
				return math.NaN()
			}
			return v
		}
		if all[line[1]] == nil {
			all[line[1]] = make(map[string]Figures)
		}
		all[line[1]][line[0]] = Figures{at("ROC-AUC"), at("AvgPrec"), at("RangePR-VUS"), at("RangeROC-VUS")}
	}
	return all, nil
}
