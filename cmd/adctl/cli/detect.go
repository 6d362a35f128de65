// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/replay"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

type detectOptions struct {
	detector      string
	model         string
	trainRows     int
	set           []string
	input, output string
	format        string
	dataType      string
	in            inputOptions
	members       []string
	report, png   string
	quiet         bool
}

func newDetect() *cobra.Command {
	var o detectOptions
	cmd := &cobra.Command{
		Use:   "detect --input FILE.csv --output OUT.csv",
		Short: "Score the readings of a CSV file, of one property or of a group",
		Long: `detect streams a CSV file of readings, in its order, through the detector that a
mapper would run, and writes one row for each row that it read.

One property
------------
Input: a time and a reading in each row. Output:

  timestamp,value       as in the input, to the letter
  anomaly_score         the detector's score, 0 … 1, how unusual the reading is;
                        0 where it does not judge: while it warms up and for
                        readings that are held back
  severity              unknown, normal, warning or critical: the worse of what
                        the detector and the check of the readings themselves
                        say; it holds while an incident lasts
  kind                  what is unusual; for a reading that was held back, why:
                        duplicate, outOfOrder, or invalid where it is no number
  expected,lower,upper  the detector's forecast; empty where it makes none
  onset                 the score as news: 0 while an incident lasts
  incident              identifier of the incident that the reading is part of;
                        empty where there is none

A row that cannot be used is named on standard error and gives no row.

A group
-------
Input: a header, then a time and a reading of each member in each row. The first
column is the time; columns named anomaly, changepoint, label or is_anomaly are
truth and never members; --columns chooses among the rest. A column of texts is
a category, and left out where the detector takes numbers only. An empty cell is
a reading that was not made: the member's last one stands for it. Gaps between
rows are no anomalies unless quality.missing or quality.late are set. Output:

  timestamp             as in the input, to the letter
  anomaly_score         the detector's score, 0 … 1; 0 where it does not judge
  anomaly               1 if severity is warning or critical, else 0
  severity, kind        as above; of a row that was not judged the kind says why
  blamed                the members to blame, separated by semicolons, the first
                        one most; of a row that was not judged, those it lacks
  onset, incident       as above; of several incidents the worst
  expected,lower,upper  as above, of the member that the verdict is about

A row that cannot be used is named on standard error; its output is a row of
severity unknown and kind invalid. --format pred writes the column anomaly alone
under the header pred, for programs that score it.

A group is scored if there are several members and the detector takes several,
and always with --model, --columns, --train-rows or --format pred. Where no
detector is named, it is that of the model, or autogroup for a group without a
column named value, else auto.

Both
----
The file is CSV with any usual separator, a table of InfluxDB's or Prometheus'
exports, JSON lines, Parquet or an Excel workbook, also compressed (gzip, zstd).
The time is the column called timestamp, time, date or the like, else the first
that holds times: RFC 3339, YYYY-MM-DD hh:mm, DD.MM.YYYY hh:mm, Unix times, Excel
dates and more; times without a zone are UTC unless --timezone says where they
are. 03/04/2026 is two days: unless another row tells, --time-format has to.
Numbers may have decimal commas, thousands separators and units. A column is of
numbers if most of its cells are; the others, such as unavailable, count as
invalid. A row for each of several properties, told apart by a column such as
entity_id, makes series: each is judged alone, and named in a column series.
Rows that come newest first, or in no order, are sorted. What was made of the
file is said on standard error. Rows that cannot be used do not fail the
program; a file of which nothing can be used exits with 2.

Settings are those of a Device, under pushMethod.anomalyDetection:
  --set threshold=0.9 --set detector.window=60

A summary of the incidents goes to standard error: those that a mapper would
tell of, and how they ended.

Labels
------
A column anomaly, is_anomaly or label says what is anomalous: any text does but
an empty one, 0, false, no, none, ok, normal, benign and the like; where labels
are 1 and -1, -1 does. The summary then tells how many
of the labelled faults were found, after which delay, and how many alerts were
false. adctl label and adctl export make such a column.

--report FILE.html shows the run to a person: readings, the expected band,
incidents, labels, and what each threshold would have cost. The file needs nothing
from anywhere else. --png FILE.png is a picture of the same.`,
		Example: `  adctl detect --input boiler.csv --output verdicts.csv
  adctl detect --detector autogroup --train-rows 400 --input pump.csv --output verdicts.csv
  adctl detect --model room.model --input room.csv
  adctl detect --input week.csv --output verdicts.csv --report week.html --png week.png
  adctl detect --detector ewma --set detector.window=60 --input boiler.csv --output - | grep critical`,
		Args: wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.detector, "detector", admethod.DefaultConfig().Detector, "driver that judges the readings; adctl drivers lists them")
	f.StringVar(&o.model, "model", "", "file of a trained model that judges the rows of a group")
	f.IntVar(&o.trainRows, "train-rows", 0, "first rows of a group to learn from; the detector's own default where 0")
	f.StringArrayVar(&o.set, "set", nil, "a setting as key=value; repeatable")
	f.StringVarP(&o.input, "input", "i", "", "CSV file to read; - is standard input")
	f.StringVarP(&o.output, "output", "o", "-", "CSV file to write; - is standard output")
	f.StringVar(&o.format, "format", "full", "of the output: full, or pred for 0 and 1 alone")
	f.StringVar(&o.dataType, "type", "", "data type of the property: int, float, double, boolean, string; found from the first reading where empty")
	o.in.flags(f)
	f.StringSliceVar(&o.members, "columns", nil, "headers of the columns with the members of a group")
	f.StringVar(&o.report, "report", "", "HTML file to write with charts of the run")
	f.StringVar(&o.png, "png", "", "PNG file to write with charts of the run")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "no summary, no progress, no names of bad rows")
	return cmd
}

// config is the configuration of a property that a detector's name and settings make.
func config(detector string, set []string) (admethod.ADMethodConfig, error) {
	settings := map[string]any{"detector": detector}
	if err := parseSet(set, settings); err != nil {
		return admethod.ADMethodConfig{}, err
	}
	c, err := admethod.ParseSettings(settings)
	if err == nil && c.Group != "" {
		err = errors.New("group: want none: a file is of one property, or of one group")
	}
	return c, usage(err)
}

func (o *detectOptions) run(cmd *cobra.Command) (err error) {
	if o.input == "" {
		return usage(errors.New("--input: want a file, or - for standard input"))
	}
	if o.format != "full" && o.format != "pred" {
		return usage(fmt.Errorf("--format: got %q, want full or pred", o.format))
	}
	plan, err := o.plan(cmd.Flags().Changed("detector"))
	if err != nil {
		return err
	}
	in, err := o.open(cmd.InOrStdin())
	if err != nil {
		return usage(err)
	}
	defer in.Close()
	src, err := plan.look(in)
	if err != nil {
		return usage(fmt.Errorf("%s: %w", o.inputName(), err))
	}
	c, err := config(plan.detector, plan.settings(o.set))
	if err != nil {
		return err
	}
	out, err := o.create(in, cmd.OutOrStdout())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()

	log := io.Discard
	var bar *progress
	if !o.quiet {
		log = cmd.ErrOrStderr()
		bar = newProgress(in, out, log, "detect")
	}
	defer bar.done()
	var t *tally
	shown := o.backtest(&c, plan)
	switch {
	case plan.group:
		s := newRowScorer(c, plan, src, out, o.format == "pred")
		s.shown = shown
		s.log, s.progress = log, bar
		err, t = s.run(cmd.Context()), &s.tally
	case src.Long():
		s := &scorer{config: c, dataType: o.dataType, columns: src.Columns()}
		s.log, s.progress, s.shown = log, bar, shown
		err, t = s.each(cmd.Context(), src, out), &s.tally
	default:
		s := &scorer{
			config: c, dataType: o.dataType, columns: src.Columns(),
			in: records{src}, out: dataset.NewCSVWriter(out, outputColumns...),
		}
		s.log, s.progress, s.shown = log, bar, shown
		err, t = s.run(cmd.Context()), &s.tally
	}
	bar.done()
	for _, note := range src.Notes() {
		fmt.Fprintln(log, note)
	}
	if err == nil {
		t.labelled = src.Labelled() // a column that is empty is no truth
		summarize(log, t)
		err = shown.write()
	}
	return err
}

// inputName is what messages call the input.
func (o *detectOptions) inputName() string {
	if o.input == "-" {
		return "standard input"
	}
	return o.input
}

// open opens the input; closing it leaves standard input open.
func (o *detectOptions) open(stdin io.Reader) (io.ReadCloser, error) {
	if o.input == "-" {
		return io.NopCloser(stdin), nil
	}
	return os.Open(o.input)
}

// create creates the output. It refuses to overwrite the input, also by a report.
func (o *detectOptions) create(in io.Reader, stdout io.Writer) (io.WriteCloser, error) {
	if f, ok := in.(*os.File); ok {
		from, err := f.Stat()
		if err != nil {
			return nil, usage(err)
		}
		for flag, name := range map[string]string{"--output": o.output, "--report": o.report, "--png": o.png} {
			if to, err := os.Stat(name); err == nil && os.SameFile(from, to) {
				return nil, usage(fmt.Errorf("%s: %s is the input", flag, name))
			}
		}
	}
	if o.output == "-" {
		return keepOpen{stdout}, nil
	}
	return os.Create(o.output)
}

type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }

var outputColumns = []string{"timestamp", "value", "anomaly_score", "severity", "kind", "expected", "lower", "upper", "onset", "incident"}

// scorer streams records through a detector and counts what happens.
type scorer struct {
	config   admethod.ADMethodConfig
	dataType string
	columns  []input.Column
	in       recordReader
	out      *dataset.CSVWriter
	progress *progress // nil for none
	shown    *backtest // nil for none
	tally

	stream  *replay.Stream // nil before the first record
	numeric bool
	named   bool // rows begin with the name of their series
	waiting []record
}

// recordReader gives the records of one property.
type recordReader interface {
	Read() (record, error) // errors as those of input.Reader
	Offset() int64
	Buffered() bool
	LabelColumn() bool
}

// each scores the series of a recording one after the other, each by a detector of its own.
func (s *scorer) each(ctx context.Context, src *input.Reader, out io.Writer) error {
	names, series, err := split(src, s.skipped)
	if err != nil {
		return usage(err)
	}
	columns := outputColumns
	switch s.named = len(names) > 1; {
	case len(names) == 0:
		return usage(fmt.Errorf("none of %d rows can be used", s.bad))
	case s.named && s.shown != nil:
		return usage(fmt.Errorf("--report and --png show one property or one group, the file has %d series: choose one, or export it --format wide", len(names)))
	case s.named:
		columns = append([]string{"series"}, outputColumns...)
	}
	s.out = dataset.NewCSVWriter(out, columns...)
	dataType := s.dataType
	for _, name := range names {
		s.in = &recorded{rest: series[name], labelled: src.LabelColumn(), offset: src.Offset()}
		s.stream, s.dataType = nil, dataType
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (s *scorer) run(ctx context.Context) (err error) {
	defer func() {
		if s.stream != nil {
			err = errors.Join(err, s.stream.Close(context.WithoutCancel(ctx)))
		}
		err = errors.Join(err, s.out.Flush())
	}()
	for {
		record, err := s.in.Read()
		var bad *dataset.RowError
		switch {
		case errors.As(err, &bad):
			s.skipped(bad)
			continue
		case errors.Is(err, io.EOF):
			if s.read == 0 && s.bad > 0 {
				return usage(fmt.Errorf("none of %d rows can be used", s.bad))
			}
			return s.drain(ctx)
		case err != nil:
			return errors.Join(usage(err), s.drain(ctx))
		}
		if s.stream == nil {
			if err := s.open(ctx); err != nil {
				return err
			}
		}
		s.read++
		s.waiting = append(s.waiting, record)
		s.hand(&record)
		// Rows are judged in batches, but none waits while the input does.
		if len(s.waiting) >= replay.MaxBatch || !s.in.Buffered() {
			if err := s.drain(ctx); err != nil {
				return err
			}
		}
	}
}

// open binds the property when its first record is here.
func (s *scorer) open(ctx context.Context) error {
	if s.dataType == "" {
		if s.dataType = "double"; s.columns[0].Text {
			s.dataType = "string"
		}
	}
	s.numeric = s.dataType != "string"
	s.labelled = s.in.LabelColumn()
	s.shown.begin([]string{s.columns[0].Name}, s.labelled)
	var err error
	s.stream, err = replay.Open(ctx, replay.Options{Config: s.config, Meta: admethod.Meta{DataType: s.dataType}})
	return usage(err)
}

func (s *scorer) hand(r *record) {
	switch {
	case s.numeric && !math.IsNaN(r.Value):
		s.stream.Observe(r.At, r.Value)
	case strings.TrimSpace(r.Text) == "":
		s.stream.ObserveAny(r.At, nil)
	default:
		s.stream.ObserveAny(r.At, r.Text)
	}
}

// drain writes the rows of all records that wait.
func (s *scorer) drain(ctx context.Context) error {
	if len(s.waiting) == 0 {
		return nil
	}
	outcomes, err := s.stream.Drain(ctx)
	if err != nil {
		return err
	}
	for i := range outcomes {
		s.write(&s.waiting[i], &outcomes[i])
	}
	s.waiting = s.waiting[:0]
	s.progress.set(s.in.Offset(), s.read)
	return s.out.Flush()
}

// forecastDigits are the significant digits of a forecast: more than any sensor has.
const forecastDigits = 9

func (s *scorer) write(r *record, o *replay.Outcome) {
	score := s.count(r.At, o, r.label)
	s.shown.reading(r, o)
	w := s.out
	if s.named {
		w.Text(r.series)
	}
	w.Text(r.timestamp)
	w.Text(r.Text)
	w.Number(score)
	w.Text(o.Severity.String())
	w.Text(string(o.Kind))
	forecast(w, o.Expected, o.Lower, o.Upper)
	news(w, o.Onset, o.Incident)
	w.End()
}

func forecast(w *dataset.CSVWriter, numbers ...float64) {
	for _, v := range numbers {
		w.Rounded(v, forecastDigits)
	}
}

// news writes what may begin an incident, and the identifier of the one that is open.
func news(w *dataset.CSVWriter, onset float64, i driver.Incident) {
	if math.IsNaN(onset) {
		onset = 0
	}
	w.Number(onset)
	id := ""
	if i.Phase.Open() {
		id = verdict.ID(i.ID)
	}
	w.Text(id)
}
