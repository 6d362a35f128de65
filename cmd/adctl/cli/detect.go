// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

type detectOptions struct {
	detector    string
	model       string
	trainRows   int
	set         []string
	input       string // the old spelling of a file to read
	files       []string
	output      string
	format      string
	as          formatFlag
	failOn      string
	alarms      string
	dataType    string
	series      string // "" for all
	in          inputOptions
	members     []string
	report, png string
	quiet       bool
}

func newDetect() *cobra.Command {
	var o detectOptions
	cmd := &cobra.Command{
		Use:   "detect FILE…",
		Short: "Judge the readings of recordings: of one property, of several, or of a group",
		Long: `detect runs recordings, each in its order, through the detectors that a mapper would
run. It tells what was judged by what, and the incidents that a mapper would tell of.

A summary goes to standard error, and to a terminal alone: the rows, one for each
row that was read, go to --output FILE, or to standard output where that is no
terminal or -o csv is given. -o json and -o yaml write the summary for programs,
-o table writes it to standard output.

Exit status: 0 fine; 1 anomalies were found, with --fail-on warning or critical
(and for what else did not succeed); 2 wrong arguments, or a file that cannot be
used; 3 nothing could be judged, for example since there are too few rows.

What is judged by what
----------------------
Where no detector is named, each column of numbers is judged alone by auto; of a
table with several, all of them together by autogroup as well, and incidents that
overlap are one account, which names the columns to blame. A detector of single
properties that is named judges each column alone; one of groups, all together.
A column named value is judged alone, whatever is beside it. Rows that tell of
several series, such as by entity_id, are split: each series is judged alone, and
named in a column series.

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
truth and never members; --columns chooses among the rest (one alone is judged
alone). A column of texts is a category, and left out where the detector takes
numbers only. An empty cell is a reading that was not made: the member's last one
stands for it. Gaps between rows are no anomalies unless quality.missing or
quality.late are set. Output:

  timestamp             as in the input, to the letter
  anomaly_score         the detector's score, 0 … 1; 0 where it does not judge
  anomaly               1 if severity is warning or critical, else 0
  severity, kind        as above; of a row that was not judged the kind says why
  blamed                the members to blame, separated by semicolons, the first
                        one most; of a row that was not judged, those it lacks
  onset, incident       as above; of several incidents the worst
  expected,lower,upper  as above, of the member that the verdict is about

A row that cannot be used is named on standard error; its output is a row of
severity unknown and kind invalid. -o pred writes the column anomaly alone under
the header pred, for programs that score it.

A table is judged as a group alone by --model, --train-rows and -o pred, or a
detector of groups. Its output is that of a group also where columns are judged
alone; of several files a column file comes first.

Both
----
The file is CSV with any usual separator, a table of InfluxDB's or Prometheus'
exports, JSON, Parquet or an Excel workbook, also compressed (gzip, zstd).
The time is the column called timestamp, time, date or the like, else the first
that holds times: RFC 3339, YYYY-MM-DD hh:mm, DD.MM.YYYY hh:mm, Unix times, Excel
dates and more. Times without a zone are of a clock that --timezone says the
place of; without it the summary and the report show them as they are written.
In -o json such times end in Z, and timesAsWritten is true. 03/04/2026 is two
days: unless another row tells, --time-format has to. Where no column is a time,
numbers that go on stand for it: seconds from a start (time (ms): milliseconds),
or the number of the row. That is said, and in -o json timesCount is second or row.

Numbers may have decimal commas, thousands separators and units. 1.234 is one and
a bit or over a thousand: what any column of the file tells decides for all, and
where nothing does, the choice is said, and --decimal makes the other. A column is
of numbers if most of its cells are; the others, such as unavailable, count as
invalid. So do readings beside which a column Quality, Status or StatusCode says
Bad, or what else is not good, and a number that loggers write for no reading,
such as -9999 or 32767, where it is far from all others. A column of qualities is
never judged itself; --columns makes it a reading. Where clocks are set for the
summer, local times without a zone are followed by their steps, and said;
--timezone is exact, and lets auto expect a rhythm by the clock of the place an
hour sooner or later. Rows that come newest first, or in no order, are sorted.
What was made of the file is said on standard error. Rows that cannot be used do
not fail the program.

Settings are those of a Device, under pushMethod.anomalyDetection:
  --set threshold=0.9 --set detector.window=60

--alarms 1/week sets how many false alarms a property may give, as the key alarms
does in a Device: the threshold follows from the time between the readings.

Labels
------
A column anomaly, is_anomaly or label says what is anomalous: any text does but
an empty one, 0, false, no, none, ok, normal, benign and the like; where labels
are 1 and -1, -1 does. The summary then tells how many
of the labelled faults were found, after which delay, and how many alerts were
false. Of what a mapper recorded, adctl label and adctl export make such a column;
in another file it is made by whoever has the file.

--report FILE.html shows the run to a person: readings, the expected band,
incidents and why, labels, and what each threshold costs: the rows are judged at
each of eleven, after 250,000 readings at four of them. The file needs nothing
from anywhere else. --png FILE.png is a picture of the same. Why an incident is
one is said in English; --set language=zh says it in Chinese.`,
		Example: `  adctl detect boiler.csv
  adctl detect boiler.csv --output verdicts.csv --report boiler.html
  adctl detect --fail-on critical *.csv
  adctl detect pump.csv --detector autogroup --train-rows 400 --output verdicts.csv
  adctl detect room.csv --model room.model -o json
  adctl detect boiler.csv --detector ewma --set detector.window=60 -o csv | grep critical`,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
		ValidArgsFunction: filesOnly("csv", "tsv", "jsonl", "ndjson", "json", "parquet", "xlsx", "gz", "zst"),
	}
	f := cmd.Flags()
	f.StringVar(&o.detector, "detector", admethod.DefaultConfig().Detector, "driver that judges the readings; adctl drivers lists them")
	f.StringVar(&o.model, "model", "", "file of a trained model that judges the rows of a group")
	f.IntVar(&o.trainRows, "train-rows", 0, "first rows of a group to learn from; the detector's own default where 0")
	f.StringArrayVar(&o.set, "set", nil, "a setting as key=value; repeatable")
	f.StringVarP(&o.input, "input", "i", "", "file to read; the old spelling of FILE")
	f.StringVar(&o.output, "output", "", "file to write the rows to, as CSV; - is standard output")
	o.as = formatFlag{format: &o.format, known: []string{"table", "csv", "json", "yaml", "pred", "full"}}
	f.VarP(&o.as, "format", "o", "what to write to standard output: table, csv, json, yaml, or pred for 0 and 1 alone")
	f.StringVar(&o.failOn, "fail-on", "", "exit with 1 if there are anomalies of this severity or worse: warning or critical")
	f.StringVar(&o.alarms, "alarms", "", "false alarms of a property in a time, such as 1/week; sets the threshold by the time between readings")
	f.StringVar(&o.dataType, "type", "", "data type of the property: int, float, double, boolean, string; found from the first reading where empty")
	o.in.flags(f)
	f.StringSliceVar(&o.members, "columns", nil, "headers of the columns to judge, each alone and together; without them all columns of numbers")
	f.StringVar(&o.series, "series", "", "the one series of the file to judge; all of them where empty")
	f.StringVar(&o.report, "report", "", "HTML file to write with charts of the run")
	f.StringVar(&o.png, "png", "", "PNG file to write with charts of the run")
	complete(cmd)
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

// run judges one file after the other. The exit status is the worst: a file that cannot be used, anomalies, nothing judged.
func (o *detectOptions) run(cmd *cobra.Command, args []string) (err error) {
	log := io.Discard
	if !o.quiet {
		log = cmd.ErrOrStderr()
	}
	worst, err := o.settle(args, log)
	if err != nil {
		return usage(err)
	}
	named := cmd.Flags().Changed("detector")
	first, err := o.plan(named) // what is wrong with the arguments, before anything is created
	if err != nil {
		return err
	}
	rows, err := o.create(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var all []*summary
	var header []string
	unusable := 0
	for _, name := range o.files {
		var bar *progress
		p := *first // each file makes its own of it
		r := &detection{detectOptions: o, plan: &p, name: name, log: log, rows: rows, header: &header}
		in, err := o.open(name, cmd.InOrStdin())
		if err == nil {
			if !o.quiet {
				bar = newProgress(in, rows, log, "detect")
			}
			r.progress = bar
			err = r.run(cmd.Context(), in)
			bar.done()
			err = errors.Join(err, in.Close())
		} else {
			err = usage(err)
		}
		var u *usageError
		switch {
		case err == nil:
			all = append(all, r.summary())
			all[len(all)-1].manyFiles = len(o.files) > 1
		case len(o.files) > 1 && errors.As(err, &u): // the others may be fine
			fmt.Fprintf(log, "adctl: %v\n", err)
			unusable++
			continue
		default:
			return err
		}
		if o.format == "table" {
			all[len(all)-1].text(cmd.OutOrStdout())
		} else {
			all[len(all)-1].text(log)
		}
	}
	if err := o.write(cmd.OutOrStdout(), all); err != nil {
		return err
	}
	if unusable > 0 {
		return usage(fmt.Errorf("%d of %d files cannot be used", unusable, len(o.files)))
	}
	return statusOf(all, worst)
}

// statusOf is the exit status that is not 0, as an error.
func statusOf(all []*summary, worst driver.Severity) error {
	status := exitOK
	for _, s := range all {
		switch {
		case s.Judged == 0: // whatever the check of the readings found, such as that none is a number
			if status == exitOK {
				status = exitNothing
			}
		case worst != driver.Unknown && s.worst >= worst:
			status = exitFailed
		}
	}
	if status != exitOK {
		return exitStatus(status)
	}
	return nil
}

// settle checks the arguments, old spellings among them. It returns the severity from which to fail, Unknown for none.
func (o *detectOptions) settle(args []string, log io.Writer) (worst driver.Severity, err error) {
	o.files = args
	if o.input != "" {
		fmt.Fprintln(log, "--input is deprecated: adctl detect FILE…")
		o.files = append([]string{o.input}, o.files...)
	}
	if len(o.files) == 0 {
		return 0, errors.New("want a file to read, or - for standard input")
	}
	o.as.old(log, &o.output)
	if o.format == "full" {
		fmt.Fprintln(log, "--format full is deprecated: -o csv")
		o.format = "csv"
	}
	if len(o.files) > 1 && (o.report != "" || o.png != "" || o.format == "pred") {
		return 0, fmt.Errorf("--report, --png and -o pred are for one file, got %d", len(o.files))
	}
	if o.failOn == "" {
		return 0, nil
	}
	if err := worst.UnmarshalText([]byte(o.failOn)); err != nil || !worst.Anomalous() {
		return 0, fmt.Errorf("--fail-on: got %q, want warning or critical", o.failOn)
	}
	return worst, nil
}

// open opens a file; closing it leaves standard input open.
func (o *detectOptions) open(name string, stdin io.Reader) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(stdin), nil
	}
	return os.Open(name)
}

// create creates what rows are written to. It refuses to overwrite an input, also by a report.
func (o *detectOptions) create(stdout io.Writer) (io.WriteCloser, error) {
	for _, name := range o.files {
		from, err := os.Stat(name)
		if err != nil {
			continue
		}
		for flag, name := range map[string]string{"--output": o.output, "--report": o.report, "--png": o.png} {
			if to, err := os.Stat(name); err == nil && os.SameFile(from, to) {
				return nil, usage(fmt.Errorf("%s: %s is the input", flag, name))
			}
		}
	}
	switch {
	case o.output != "" && o.output != "-":
		return os.Create(o.output)
	case o.output == "-" || o.format == "csv" || o.format == "pred" || o.format == "" && !terminal(stdout):
		return keepOpen{stdout}, nil
	}
	return keepOpen{io.Discard}, nil
}

type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }

var (
	rowColumns  = []string{"timestamp", "anomaly_score", "anomaly", "severity", "kind", "blamed", "onset", "incident", "expected", "lower", "upper"}
	predColumns = []string{"pred"}
)

var outputColumns = []string{"timestamp", "value", "anomaly_score", "severity", "kind", "expected", "lower", "upper", "onset", "incident"}

// forecastDigits are the significant digits of a forecast: more than any sensor has.
const forecastDigits = 9

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
