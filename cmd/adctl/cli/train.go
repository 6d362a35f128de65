// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/training"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

type trainOptions struct {
	detector      string
	set           []string
	input, output string
	format        string // of the report
	as            formatFlag
	in            inputOptions
	members       []string
	holdOut       float64
	structure     string
	pictures      []string
	bif           string
	quiet         bool
}

func newTrain() *cobra.Command {
	var o trainOptions
	cmd := &cobra.Command{
		Use:   "train --detector NAME --input FILE.csv|DIR --output room.model",
		Short: "Train a detector on recorded readings of a group",
		Long: `train learns from the rows of a group and writes a model file, which mappers take
up by the key model of a Device, also while they run, and adctl detect by --model.

Input: a file of any kind that detect reads, or all such files of a directory in
the order of their names; a time and a reading of each member in each row. The names of the columns are those of the members: in a mapper each stands for
the member whose namespace/device/property, device/property, device or property
it is. It is read several times, so it cannot be a pipe.

The last part of the rows is held out: the model is not trained on it, but tried
on it, and the report tells how many of its rows it finds anomalous. These are
false alarms if the recording is of a healthy time.

The report also tells the model's size and, of a Bayesian network, the mean log-
likelihood of a row in nats and the structure: a line a member, with its states
and the members that it depends on. --picture draws it.`,
		Example: `  adctl train --detector bayesnet --input room.csv --output room.model --picture room.svg
  adctl train --detector pca --input recordings/ --columns flow,pressure,current --output pump.model
  adctl train --detector bayesnet --set detector.structure=chowliu --input room.csv --output room.model`,
		Args: wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.detector, "detector", groupDetector, "driver to train; adctl drivers lists them")
	f.StringArrayVar(&o.set, "set", nil, "a setting as key=value, as for detect; repeatable")
	f.StringVarP(&o.input, "input", "i", "", "CSV file or directory to read")
	f.StringVar(&o.output, "output", "", "model file to write")
	o.format = "table"
	o.as = formatFlag{format: &o.format, known: []string{"table", "json", "yaml"}}
	f.VarP(&o.as, "format", "o", "of the report: table, json or yaml")
	o.in.times(f)
	f.StringSliceVar(&o.members, "columns", nil, "headers of the columns with the members; all but truth where empty")
	f.Float64Var(&o.holdOut, "hold-out", 0.2, "share of the input that is held out, 0 … 0.9")
	f.StringVar(&o.structure, "structure", "", "BIF file whose structure a Bayesian network takes; its tables are learned")
	f.StringArrayVar(&o.pictures, "picture", nil, "file .svg or .dot that shows the structure of a Bayesian network; repeatable")
	f.StringVar(&o.bif, "bif", "", "BIF file to write a Bayesian network to, for other programs")
	complete(cmd)
	f.BoolVarP(&o.quiet, "quiet", "q", false, "no report, no progress, no names of bad rows")
	return cmd
}

func (o *trainOptions) check() error {
	switch {
	case o.input == "":
		return errors.New("--input: want a CSV file or a directory")
	case o.output == "":
		return errors.New("--output: want the name of the model file")
	case !(o.holdOut >= 0 && o.holdOut <= 0.9):
		return fmt.Errorf("--hold-out: got %v, want 0 to 0.9", o.holdOut)
	}
	if o.detector != training.NetworkDriver && (o.pictures != nil || o.bif != "" || o.structure != "") {
		return fmt.Errorf("--picture, --bif and --structure want --detector %s, got %q", training.NetworkDriver, o.detector)
	}
	for _, name := range o.pictures {
		if !strings.HasSuffix(name, ".svg") && !strings.HasSuffix(name, ".dot") {
			return fmt.Errorf("--picture: got %q, want a name that ends in .svg or .dot", name)
		}
	}
	return nil
}

func (o *trainOptions) run(cmd *cobra.Command) error {
	o.as.old(cmd.ErrOrStderr(), &o.output)
	if err := o.check(); err != nil {
		return usage(err)
	}
	set := o.set
	if o.structure != "" {
		arcs, err := readStructure(o.structure)
		if err != nil {
			return usage(err)
		}
		set = append([]string{"detector.structure=given", "detector.edges=" + arcs}, set...)
	}
	c, err := config(o.detector, set)
	if err != nil {
		return err
	}
	if err := o.in.settle(); err != nil {
		return usage(err)
	}
	o.in.Columns = o.members
	src, err := training.Open(cmd.Context(), o.input, training.Options{Input: o.in.Options, Text: takesText(&c), HoldOut: o.holdOut})
	if err != nil {
		return usage(err)
	}
	log := cmd.ErrOrStderr()
	if o.quiet {
		log = io.Discard
	}
	for _, note := range src.Notes {
		fmt.Fprintln(log, note)
	}
	if src.Left != nil {
		fmt.Fprintf(log, "detector %s takes numbers, not the texts of %s: left out\n", c.Detector, strings.Join(src.Left, ", "))
	}
	t := &trainer{config: c, source: src, set: set, log: log, bar: newBar(src.Size(), log, "train")}
	defer t.bar.done()
	if err := t.run(cmd.Context()); err != nil {
		return err
	}
	t.bar.done()
	data, err := t.model.Encode()
	if err != nil {
		return err
	}
	err = writeFile(o.output, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	if err := o.draw(t); err != nil {
		return err
	}
	if o.quiet {
		return nil
	}
	if o.format != "table" {
		return encode(cmd.OutOrStdout(), o.format, &t.model.Facts)
	}
	return t.report(cmd.OutOrStdout(), o.output, len(data))
}

// trainer trains one model.
type trainer struct {
	config admethod.ADMethodConfig
	source *training.Source
	set    []string
	log    io.Writer
	bar    *progress

	model     model.Trained
	network   *training.Network // nil for other drivers
	part      training.Part     // trained on
	held      training.Part
	anomalous int // of the rows held out
	judged    int
}

// maxLikelihoodRows bounds the rows whose likelihood is looked at.
const maxLikelihoodRows = 100_000

func (t *trainer) run(ctx context.Context) error {
	c := &t.config
	d, err := driver.Default.Open(c.Detector, driver.Settings{Members: t.source.Members, Threshold: c.Threshold}, c.Options["detector"])
	if err != nil {
		return usage(err)
	}
	learner, ok := d.(driver.Trainer)
	saver, saves := d.(encoding.BinaryMarshaler)
	if !ok || !saves {
		return usage(fmt.Errorf("--detector: %q cannot be trained, want one of %s", c.Detector, strings.Join(trainable(), ", ")))
	}
	t.source.Progress = func(bytes int64) { t.bar.set(bytes, t.part.Rows) }
	err = learner.Train(ctx, t.source.Train(ctx, &t.part))
	for _, bad := range t.part.Bad {
		fmt.Fprintf(t.log, "%v: skipped\n", bad)
	}
	if n := t.part.Skipped - len(t.part.Bad); n > 0 {
		fmt.Fprintf(t.log, "and %d rows more: skipped\n", n)
	}
	if failed := t.source.Err(); failed != nil {
		return usage(failed)
	}
	if err != nil {
		return fmt.Errorf("%w (%d rows)", err, t.part.Rows)
	}
	t.model.Facts = model.Facts{
		Driver: c.Detector, Members: t.source.Columns(), Rows: t.part.Rows, From: t.part.From, To: t.part.To,
		Metrics: map[string]float64{"skippedRows": float64(t.part.Skipped)},
	}
	for _, pair := range t.set {
		if t.model.Settings == nil {
			t.model.Settings = make(map[string]string)
		}
		key, value, _ := strings.Cut(pair, "=")
		t.model.Settings[strings.TrimSpace(key)] = value
	}
	if t.model.Payload, err = saver.MarshalBinary(); err != nil {
		return err
	}
	if c.Detector == training.NetworkDriver {
		if t.network, err = training.ReadNetwork(&t.model); err != nil {
			return err
		}
		likelihood, err := t.likelihood(ctx)
		if err != nil {
			return err
		}
		t.metric("logLikelihood", likelihood)
	}
	return t.tryHeldOut(ctx)
}

// likelihood is the mean log-likelihood of the rows trained on, of the first of them if there are many.
func (t *trainer) likelihood(ctx context.Context) (float64, error) {
	var part training.Part
	sum := 0.0
	for row := range t.source.Train(ctx, &part) {
		sum += t.network.LogProb(row)
		if part.Rows == maxLikelihoodRows {
			break
		}
	}
	return sum / float64(max(part.Rows, 1)), t.source.Err()
}

// tryHeldOut lets the model, as the file will have it, judge the rows that are held out.
func (t *trainer) tryHeldOut(ctx context.Context) error {
	data, err := t.model.Encode()
	if err != nil {
		return err
	}
	c := &t.config
	d, err := driver.Default.Open(c.Detector, driver.Settings{
		Members: t.source.Members, Threshold: c.Threshold, Model: data, ModelName: "trained",
	}, c.Options["detector"])
	if err != nil {
		return fmt.Errorf("the trained model cannot be used: %w", err)
	}
	var out driver.Result
	score, likelihood := 0.0, 0.0
	for row := range t.source.HeldOut(ctx, &t.held) {
		out.Reset(row)
		out.Threshold = c.Threshold
		if d.Detect(row, &out); out.Severity != driver.Unknown {
			t.judged++
			score += out.Score
		}
		if out.Severity.Anomalous() {
			t.anomalous++
		}
		if t.network != nil {
			likelihood += t.network.LogProb(row)
		}
	}
	if err := t.source.Err(); err != nil {
		return err
	}
	t.metric("heldOutRows", float64(t.held.Rows))
	t.metric("heldOutAnomalous", float64(t.anomalous)/float64(t.judged))
	t.metric("heldOutScore", score/float64(t.judged))
	if t.network != nil {
		t.metric("heldOutLogLikelihood", likelihood/float64(t.held.Rows))
	}
	return nil
}

// metric keeps a measure, unless there was nothing to measure, or an impossible row made it infinite.
func (t *trainer) metric(name string, v float64) {
	if !math.IsNaN(v) && !math.IsInf(v, 0) {
		t.model.Metrics[name] = v
	}
}

// trainable are the names of the drivers that can be trained.
func trainable() []string {
	var names []string
	for _, f := range driver.Default.Factories() {
		d, err := f.Open(driver.Settings{Members: []driver.Member{{Key: training.Key("value"), DataType: "double"}}}, nil)
		if err != nil {
			continue
		}
		if _, ok := d.(driver.Trainer); ok {
			names = append(names, f.Info().Name)
		}
	}
	slices.Sort(names)
	return names
}
