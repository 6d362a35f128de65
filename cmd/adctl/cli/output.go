// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

// output is where and how a command writes what it found: -o table|csv|json|yaml, --output FILE.
type output struct {
	format, file string
	others       []string // formats of this command alone
	json         bool     // the old spelling of -o json
}

// listFormats of what a command lists.
var listFormats = []string{"table", "csv", "json", "yaml"}

// flags adds -o and --output, with the formats that only this command has.
func (o *output) flags(cmd *cobra.Command, others ...string) {
	o.others = others
	cmd.Flags().StringVarP(&o.format, "format", "o", listFormats[0], o.formats())
	cmd.Flags().StringVar(&o.file, "output", "", "file to write; standard output where empty")
	_ = cmd.RegisterFlagCompletionFunc("format", words(slices.Concat(listFormats, others)...)) // fails for a flag that is not there
	complete(cmd)
}

// reportFlags adds them to a command that had --json once.
func (o *output) reportFlags(cmd *cobra.Command) {
	o.flags(cmd)
	cmd.Flags().BoolVar(&o.json, "json", false, "write JSON")
	_ = cmd.Flags().MarkHidden("json") // fails for a flag that is not there
}

// formats names what -o takes.
func (o *output) formats() string {
	all := slices.Concat(listFormats, o.others)
	return strings.Join(all[:len(all)-1], ", ") + " or " + all[len(all)-1]
}

// check takes the old spelling --output FORMAT, and refuses other formats.
func (o *output) check(cmd *cobra.Command) error {
	if o.format == "text" || o.file == "text" {
		fmt.Fprintln(cmd.ErrOrStderr(), "the format text is deprecated: -o table")
		o.format, o.file = "table", ""
	}
	if o.json {
		fmt.Fprintln(cmd.ErrOrStderr(), "--json is deprecated: -o json")
		o.format = "json"
	}
	if slices.Contains(listFormats, o.file) {
		fmt.Fprintf(cmd.ErrOrStderr(), "--output %s is deprecated: -o %s\n", o.file, o.file)
		o.format, o.file = o.file, ""
	}
	if !slices.Contains(listFormats, o.format) && !slices.Contains(o.others, o.format) {
		return usage(fmt.Errorf("--format: got %q, want %s", o.format, o.formats()))
	}
	return nil
}

// formatFlag is -o FORMAT of a command that writes a file. It also takes -o FILE, as it was spelled once, beside --format.
type formatFlag struct {
	format *string
	known  []string
	file   string // of the old spelling
}

// Set implements pflag.Value.
func (f *formatFlag) Set(v string) error {
	switch {
	case slices.Contains(f.known, v):
		*f.format = v
	case strings.ContainsAny(v, "./\\-"):
		f.file = v
	default:
		return fmt.Errorf("want one of %s", strings.Join(f.known, ", "))
	}
	return nil
}

func (f *formatFlag) String() string { return *f.format }

// Type implements pflag.Value.
func (f *formatFlag) Type() string { return "string" }

// old takes the file of the old spelling.
func (f *formatFlag) old(log io.Writer, file *string) {
	if f.file != "" && *file == "" {
		fmt.Fprintln(log, "-o FILE is deprecated: --output FILE")
		*file = f.file
	}
}

// show writes what a command found, v for programs and the same as a table.
func (o *output) show(cmd *cobra.Command, v any, g *grid) error {
	return o.showTo(cmd.OutOrStdout(), v, g)
}

func (o *output) showTo(w io.Writer, v any, g *grid) error {
	if o.file == "" || o.file == "-" {
		return o.encode(w, v, g)
	}
	return writeFile(o.file, func(w io.Writer) error { return o.encode(w, v, g) })
}

// writeFile writes a file, or the one that a link leads to, as a whole or not at all. What is no regular file, such as a
// pipe or /dev/null, is written to instead of replaced.
func writeFile(name string, write func(io.Writer) error) error {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	if info, err := os.Stat(name); err != nil || info.Mode().IsRegular() || info.IsDir() {
		return atomicfile.Write(name, 0o644, write)
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// report writes v: for people as table does, for spreadsheets each figure with its name.
func (o *output) report(cmd *cobra.Command, v any, table func(w io.Writer) error) error {
	g := &grid{all: table}
	if o.format == "csv" {
		data, err := json.Marshal(v)
		if err != nil {
			return err
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if err := g.figures("", d); err != nil {
			return err
		}
	}
	return o.show(cmd, v, g)
}

func (o *output) encode(w io.Writer, v any, g *grid) error {
	if write := g.others[o.format]; write != nil {
		return write(w)
	}
	switch o.format {
	case "table":
		return g.text(w)
	case "csv":
		return g.csv(w)
	}
	return encode(w, o.format, v)
}

// grid is a table of texts.
type grid struct {
	head []string
	rows [][]string
	tail func(w io.Writer) error // what follows a table for people; nil for nothing
	all  func(w io.Writer) error // what people see instead of the table; nil for the table

	others map[string]func(w io.Writer) error // by the format that only this command has
}

// add adds a row.
func (g *grid) add(cells ...string) { g.rows = append(g.rows, cells) }

// figures adds a row for each leaf of a JSON value, in its order: its path, such as sets.0.hit, and the leaf.
func (g *grid) figures(path string, d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := token.(json.Delim)
	if !ok {
		if token == nil {
			token = ""
		}
		g.add(path, fmt.Sprint(token))
		return nil
	}
	if path != "" {
		path += "."
	}
	for i := 0; d.More(); i++ {
		name := any(i)
		if open == '{' {
			if name, err = d.Token(); err != nil {
				return err
			}
		}
		if err := g.figures(path+fmt.Sprint(name), d); err != nil {
			return err
		}
	}
	_, err = d.Token() // the end of it
	return err
}

// text writes the table for people.
func (g *grid) text(w io.Writer) error {
	if g.all != nil {
		return g.all(w)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if g.head != nil {
		fmt.Fprintln(t, strings.ToUpper(strings.Join(g.head, "\t")))
	}
	for _, row := range g.rows {
		for i, c := range row {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, cell(c))
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil || g.tail == nil {
		return err
	}
	return g.tail(w)
}

// csv writes the table for spreadsheets.
func (g *grid) csv(w io.Writer) error {
	if g.head == nil {
		g.head = []string{"name", "value"}
	}
	return g.csvRows(w, true)
}

func (g *grid) csvRows(w io.Writer, head bool) error {
	out := dataset.NewCSVRows(w)
	if head {
		out = dataset.NewCSVWriter(w, g.head...)
	}
	for _, row := range g.rows {
		for _, c := range row {
			out.Text(c)
		}
		out.End()
	}
	return out.Flush()
}

// encode writes a value as JSON or YAML.
func encode(w io.Writer, format string, v any) error {
	if format != "yaml" {
		return writeJSON(w, v)
	}
	data, err := yaml.Marshal(v)
	if err == nil {
		_, err = w.Write(data)
	}
	return err
}

func jsonLines(w io.Writer) *json.Encoder { return json.NewEncoder(w) }

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// rough shows a number to two digits.
func rough(v float64) string {
	if v >= 100 {
		digits := math.Pow(10, math.Floor(math.Log10(v))-1)
		return strconv.FormatFloat(math.Round(v/digits)*digits, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// counted is a number of things.
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprint(n, " ", thing)
}

// lasting is a duration for people.
func lasting(d time.Duration) string {
	switch {
	case d >= time.Hour:
		d = d.Round(time.Minute)
	case d >= time.Minute:
		d = d.Round(time.Second)
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}
