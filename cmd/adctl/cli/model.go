// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/training"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/bayes"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

func newModel() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "model",
		Short: "Look into files of trained models",
		Args:  wrongArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newModelShow(), newModelVerify())
	return cmd
}

func newModelShow() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Tell what a model file holds",
		Long: `show tells what a model file says of itself: detector, members, the rows that it
was trained on, settings, measures of the training and of the held-out check;
and its size and version, the name and checksum by which verdicts refer to it.`,
		Example: `  adctl model show room.model
  adctl model show room.model -o json | jq .metrics`,
		Args: wrongArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(cmd); err != nil {
				return err
			}
			f, err := openModelFile(args[0])
			if err != nil {
				return usage(err)
			}
			return out.show(cmd, f, f.table())
		},
		ValidArgsFunction: filesOnly("model"),
	}
	out.flags(cmd)
	return cmd
}

func newModelVerify() *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE...",
		Short: "Check that model files are whole and that their detectors take them",
		Long: `verify checks magic, format, length and checksum of each file, and opens the
detector that the model is for with it, as a mapper would. It exits with 1 if
one of the files is not fit for use, and says what is wrong.`,
		Example: `  adctl model verify /etc/edge-anomaly/models/*.model`,
		Args:    wrongArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			bad := 0
			for _, path := range args {
				f, err := openModelFile(path)
				if err == nil {
					err = f.verify()
				}
				if err != nil {
					bad++
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %v\n", path, withoutPath(err, path))
					continue
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: ok, %s, %s of %d members\n", path, f.Version, f.Driver, len(f.Members))
			}
			if bad > 0 {
				return fmt.Errorf("%d of %d files cannot be used", bad, len(args))
			}
			return nil
		},
	}
}

func withoutPath(err error, path string) string {
	return strings.TrimPrefix(err.Error(), path+": ")
}

// modelFile is a model and its file.
type modelFile struct {
	Path    string `json:"path"`
	Bytes   int    `json:"bytes"`
	Version string `json:"version"` // as in verdicts: name and checksum
	model.Facts

	data  []byte
	model *model.Trained
}

func openModelFile(path string) (*modelFile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := model.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &modelFile{Path: path, Bytes: len(data), Version: model.Version(path, data), Facts: m.Facts, data: data, model: m}, nil
}

// verify opens the detector with the model.
func (f *modelFile) verify() error {
	c, err := config(f.Driver, settingsOf(&f.Facts))
	if err != nil {
		return err
	}
	s := driver.Settings{Threshold: c.Threshold, Model: f.data, ModelName: f.Version}
	for _, name := range f.Members {
		s.Members = append(s.Members, driver.Member{Key: training.Key(name)})
	}
	d, err := driver.Default.Open(f.Driver, s, c.Options["detector"])
	if err != nil {
		return err
	}
	if _, ok := d.(driver.Trainer); !ok {
		return fmt.Errorf("detector %q takes no model", f.Driver)
	}
	return nil
}

// settingsOf are the settings that a model was trained with, as --set takes them.
func settingsOf(f *model.Facts) []string {
	pairs := make([]string, 0, len(f.Settings))
	for _, key := range slices.Sorted(maps.Keys(f.Settings)) {
		pairs = append(pairs, key+"="+f.Settings[key])
	}
	return pairs
}

func (f *modelFile) table() *grid {
	g := new(grid)
	g.add("version", f.Version)
	g.add("bytes", strconv.Itoa(f.Bytes))
	g.add("detector", f.Driver)
	g.add("members", strings.Join(f.Members, ", "))
	g.add("rows", strconv.Itoa(f.Rows))
	if !f.From.IsZero() || !f.To.IsZero() {
		g.add("from", stamp(f.From))
		g.add("to", stamp(f.To))
	}
	for _, pair := range settingsOf(&f.Facts) {
		key, value, _ := strings.Cut(pair, "=")
		g.add(key, value)
	}
	for _, key := range slices.Sorted(maps.Keys(f.Metrics)) {
		g.add(key, strconv.FormatFloat(f.Metrics[key], 'g', 6, 64))
	}
	if f.Driver == training.NetworkDriver {
		g.tail = f.structure
	}
	return g
}

func (f *modelFile) structure(w io.Writer) error {
	n, err := training.ReadNetwork(f.model)
	if err != nil {
		return errors.Join(errors.New("the file is whole, the network in it is not"), err)
	}
	fmt.Fprint(w, "\nstructure\n")
	return bayes.WriteText(w, n.Network)
}
