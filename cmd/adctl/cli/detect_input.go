// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/formats"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// inputOptions say how a recording is read.
type inputOptions struct {
	input.Options
	timezone string
}

// times are the flags that say which column is the time, and how it is written.
func (o *inputOptions) times(f *pflag.FlagSet) {
	f.StringVar(&o.Time, "time-column", "", "header of the column with the times; none where there is none: the rows are counted")
	f.StringVar(&o.TimeFormat, "time-format", "", "how times are written: DD.MM.YYYY hh:mm:ss, %d.%m.%Y %H:%M:%S, or 02.01.2006 15:04:05; found where empty")
	f.StringVar(&o.timezone, "timezone", "", "of times without a zone, an IANA name such as Europe/Berlin; UTC where empty")
}

func (o *inputOptions) flags(f *pflag.FlagSet) {
	o.times(f)
	f.StringVar(&o.Decimal, "decimal", "", "mark before the fraction of numbers, point or comma; found out from all of the file where empty")
	f.StringVar(&o.Value, "value-column", "", "header of the column with the readings of one property")
	f.StringSliceVar(&o.Series, "series-columns", nil, "headers of the columns that tell series apart; found by their names where empty")
}

// settle takes the formats of this program and the time zone.
func (o *inputOptions) settle() (err error) {
	o.Formats = formats.All()
	if o.timezone == "" {
		return nil
	}
	if o.Location, err = time.LoadLocation(o.timezone); err != nil {
		return fmt.Errorf("--timezone: got %q, want an IANA name such as Europe/Berlin", o.timezone)
	}
	return nil
}

// open finds out what a file is.
func (o *inputOptions) open(src io.Reader) (*input.Reader, error) {
	if err := o.settle(); err != nil {
		return nil, err
	}
	return input.NewReader(src, o.Options)
}

// columnNames are the headers of the columns of readings.
func columnNames(r *input.Reader) []string {
	var names []string
	for _, c := range r.Columns() {
		names = append(names, c.Name)
	}
	return slices.Clip(names)
}
