// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package skab scores predictions by the outlier protocol of the Skoltech Anomaly Benchmark: the first rows of each
// file are for training, all others are scored, and the counts of all files are added up.
package skab

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// TrainRows is how many rows of a file the protocol gives for training.
const TrainRows = 400

// Count is a confusion matrix.
type Count struct {
	TP int `json:"tp"`
	TN int `json:"tn"`
	FP int `json:"fp"`
	FN int `json:"fn"`
}

// Add adds the counts of another file.
func (c *Count) Add(o Count) {
	c.TP += o.TP
	c.TN += o.TN
	c.FP += o.FP
	c.FN += o.FN
}

// F1 is the harmonic mean of precision and recall, 0 where nothing is there and nothing was found.
func (c Count) F1() float64 {
	if c.TP+c.FN+c.FP == 0 {
		return 0
	}
	return float64(c.TP) / (float64(c.TP) + float64(c.FN+c.FP)/2)
}

// FAR is the rate of false alarms, in percent of the normal rows.
func (c Count) FAR() float64 { return percent(c.FP, c.FP+c.TN) }

// MAR is the rate of missed alarms, in percent of the anomalous rows.
func (c Count) MAR() float64 { return percent(c.FN, c.FN+c.TP) }

func percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// Prediction is what a detector says of a row.
type Prediction uint8

// The predictions.
const (
	Normal Prediction = iota
	Anomalous
	Unscored // the row does not count
)

// Score compares predictions with the truth, row by row.
func Score(truth []bool, predictions []Prediction) (Count, error) {
	if len(truth) != len(predictions) {
		return Count{}, fmt.Errorf("%d predictions for %d rows", len(predictions), len(truth))
	}
	var c Count
	for i, p := range predictions {
		switch {
		case p == Unscored:
		case p == Anomalous && truth[i]:
			c.TP++
		case p == Anomalous:
			c.FP++
		case truth[i]:
			c.FN++
		default:
			c.TN++
		}
	}
	return c, nil
}

// ReadPredictions reads a file of predictions: a header, then 0 or 1 a row, or nothing or na for a row that does not
// count. It returns those of the rows after the training rows; a file may leave the training rows out.
func ReadPredictions(path string, rows int) ([]Prediction, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []Prediction
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		if n == 1 {
			continue
		}
		text := strings.TrimSpace(lines.Text())
		if text == "" || text == "na" {
			all = append(all, Unscored)
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || v != 0 && v != 1 {
			return nil, fmt.Errorf("%s: line %d: got %q, want 0 or 1", path, n, text)
		}
		all = append(all, Prediction(v))
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	scored := rows - min(TrainRows, rows)
	if len(all) != rows && len(all) != scored {
		return nil, fmt.Errorf("%s: %d predictions, want %d or %d", path, len(all), rows, scored)
	}
	return all[len(all)-scored:], nil
}

// File is one file of the benchmark.
type File struct {
	Name    string // slash-separated, below the benchmark
	Columns []string
	Rows    []input.Row
	Truth   []bool // of each row
}

// Corpus is a copy of the benchmark, or a selection.
type Corpus struct {
	dir   string
	Names []string
}

// groups of files that have labels.
var groups = [...]string{"valve1", "valve2", "other"}

// OpenCorpus finds the files: those named in files.txt, else all that have labels.
func OpenCorpus(dir string) (*Corpus, error) {
	c := &Corpus{dir: dir}
	list, err := os.ReadFile(filepath.Join(dir, "files.txt"))
	switch {
	case err == nil:
		c.Names = strings.Fields(string(list))
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	default:
		for _, g := range groups {
			paths, err := filepath.Glob(filepath.Join(dir, g, "*.csv"))
			if err != nil {
				return nil, err
			}
			for _, p := range paths {
				c.Names = append(c.Names, g+"/"+filepath.Base(p))
			}
		}
	}
	if len(c.Names) == 0 {
		return nil, fmt.Errorf("%s: not a copy of the benchmark: want files.txt, or %s with files *.csv", dir, strings.Join(groups[:], ", "))
	}
	return c, nil
}

// Load reads a file.
func (c *Corpus) Load(name string) (*File, error) {
	f := &File{Name: name}
	path := filepath.Join(c.dir, filepath.FromSlash(name))
	src, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	table, err := input.NewReader(src, input.Options{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !table.LabelColumn() {
		return nil, fmt.Errorf("%s: want a column anomaly of 0 and 1", path)
	}
	for _, c := range table.Columns() {
		f.Columns = append(f.Columns, c.Name)
	}
	for {
		row, err := table.Read()
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		row.Cells = slices.Clone(row.Cells)
		f.Rows, f.Truth = append(f.Rows, row), append(f.Truth, row.Label)
	}
}
