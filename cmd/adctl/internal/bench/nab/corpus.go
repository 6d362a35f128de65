// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package nab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// File is a file of the corpus.
type File struct {
	Name     string // category/file.csv
	Readings []dataset.Reading
	Windows  []Window
}

// Category is the first part of the name.
func (f *File) Category() string { return path.Dir(f.Name) }

// Times are the times of reading.
func (f *File) Times() []time.Time {
	times := make([]time.Time, len(f.Readings))
	for i := range f.Readings {
		times[i] = f.Readings[i].At
	}
	return times
}

// Corpus is a directory with files and their labels.
type Corpus struct {
	Names   []string // of the files, sorted
	dir     string
	windows map[string][]Window
}

// layouts are where labels and files are: a selection of files with its labels, and the benchmark's repository.
var layouts = [...]struct{ labels, data string }{
	{"windows.json", "."},
	{"labels/combined_windows.json", "data"},
}

// OpenCorpus finds the files and labels in a directory: the benchmark's repository, or categories of files beside
// windows.json, where files.txt may name the files that count.
func OpenCorpus(dir string) (*Corpus, error) {
	for _, l := range layouts {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(l.labels)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		c := &Corpus{dir: filepath.Join(dir, l.data)}
		if c.windows, err = parseWindows(data); err != nil {
			return nil, fmt.Errorf("%s: %w", l.labels, err)
		}
		if c.Names, err = listed(filepath.Join(dir, "files.txt")); err != nil {
			return nil, err
		}
		if c.Names == nil {
			c.Names = slices.Collect(maps.Keys(c.windows))
		}
		slices.Sort(c.Names)
		for _, name := range c.Names {
			if _, ok := c.windows[name]; !ok {
				return nil, fmt.Errorf("files.txt: %s has no entry in %s", name, l.labels)
			}
		}
		return c, nil
	}
	return nil, fmt.Errorf("%s: neither windows.json nor labels/combined_windows.json: not a copy of the benchmark", dir)
}

// listed reads the lines of a file; nil if there is no such file.
func listed(file string) ([]string, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var names []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); name != "" {
			names = append(names, name)
		}
	}
	return names, lines.Err()
}

// parseWindows reads labels: pairs of times by file.
func parseWindows(data []byte) (map[string][]Window, error) {
	var texts map[string][][2]string
	if err := json.Unmarshal(data, &texts); err != nil {
		return nil, err
	}
	all := make(map[string][]Window, len(texts))
	for name, pairs := range texts {
		windows := make([]Window, len(pairs))
		for i, pair := range pairs {
			var errs [2]error
			windows[i].Begin, errs[0] = time.Parse(time.DateTime, pair[0])
			windows[i].End, errs[1] = time.Parse(time.DateTime, pair[1])
			if err := errors.Join(errs[:]...); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		all[name] = windows
	}
	return all, nil
}

// Load reads one of the files.
func (c *Corpus) Load(name string) (*File, error) {
	file := filepath.Join(c.dir, filepath.FromSlash(name))
	src, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	f := &File{Name: name, Windows: c.windows[name]}
	r, err := input.NewReader(src, input.Options{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		f.Readings = append(f.Readings, dataset.Reading{At: row.At, Value: row.Cells[0].Value, Text: row.Cells[0].Text})
	}
}
