// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package driver_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

type band struct {
	Lower float64 `param:"lower" doc:"least normal value"`
	Upper float64 `param:"upper" min:"-100" max:"100" doc:"largest normal value"`
}

func (b *band) Validate() error {
	var errs []error
	if b.Lower > b.Upper {
		errs = append(errs, &params.Error{Key: "lower", Value: b.Lower, Want: "at most upper"})
	}
	if b.Lower == 13 {
		errs = append(errs, errors.New("13 is unlucky"))
	}
	return errors.Join(errs...)
}

type detector struct {
	settings driver.Settings
	band     band
}

func (d *detector) Detect(driver.Row, *driver.Result) {}

func factory(name string, members int) driver.Factory {
	return driver.NewFactory(driver.Info{Name: name, Members: members},
		func() band { return band{Lower: -1, Upper: 1} },
		func(s driver.Settings, b band) (driver.Detector, error) {
			if b.Upper == 99 {
				return nil, fmt.Errorf("two causes: %w and %w", errors.New("one"), errors.New("two"))
			}
			return &detector{s, b}, nil
		})
}

var one = driver.Settings{Members: make([]driver.Member, 1)}

func TestFactoryOpen(t *testing.T) {
	for name, c := range map[string]struct {
		settings driver.Settings
		config   map[string]any
		want     band
		errs     []string // parts of the message
	}{
		"defaults":               {settings: one, want: band{-1, 1}},
		"over the defaults":      {settings: one, config: map[string]any{"upper": "5"}, want: band{-1, 5}},
		"no members":             {errs: []string{"band", "1 to 2 members", "got 0"}},
		"too many members":       {settings: driver.Settings{Members: make([]driver.Member, 3)}, errs: []string{"got 3"}},
		"threshold of 1":         {settings: driver.Settings{Members: one.Members, Threshold: 1}, errs: []string{"threshold: got 1, want"}},
		"negative threshold":     {settings: driver.Settings{Members: one.Members, Threshold: -0.5}, errs: []string{"got -0.5"}},
		"unknown key":            {settings: one, config: map[string]any{"uper": 1}, errs: []string{`detector.uper: unknown key; did you mean "upper"?`}},
		"all faults of decoding": {settings: one, config: map[string]any{"upper": 101, "lower": "x"}, errs: []string{"detector.lower: got", "detector.upper: got 101, want at most 100"}},
		"rule over two keys":     {settings: one, config: map[string]any{"lower": 7}, errs: []string{"detector.lower: got 7, want at most upper"}},
		"all faults of rules":    {settings: one, config: map[string]any{"lower": 13}, errs: []string{"detector.lower: got 13", "13 is unlucky"}},
		"sentence with causes":   {settings: one, config: map[string]any{"upper": 99}, errs: []string{"two causes: one and two"}},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := factory("band", 2).Open(c.settings, c.config)
			if len(c.errs) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				got := d.(*detector)
				if diff := cmp.Diff(c.want, got.band); diff != "" {
					t.Errorf("config (-want +got):\n%s", diff)
				}
				if got.settings.Threshold != driver.DefaultThreshold {
					t.Errorf("threshold is %v, want the default", got.settings.Threshold)
				}
				return
			}
			if err == nil {
				t.Fatalf("no error, want one with %q", c.errs)
			}
			for _, part := range append(c.errs, `detector "band"`) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}

func TestFactoryDescribesItself(t *testing.T) {
	f := factory("band", 0)
	if got := f.Info().Members; got != 1 {
		t.Errorf("a driver that does not say takes %d members, want 1", got)
	}
	want := []params.Param{
		{Key: "lower", Type: "number", Default: "-1", Doc: "least normal value", Scope: params.Device},
		{Key: "upper", Type: "number", Default: "1", Bounds: "-100 … 100", Doc: "largest normal value", Scope: params.Device},
	}
	if diff := cmp.Diff(want, f.Params()); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
}

func TestRegistryLookup(t *testing.T) {
	r := driver.NewRegistry(factory("zscore", 1), factory("band", 1))
	if _, err := r.Open("band", one, nil); err != nil {
		t.Error(err)
	}
	for name, parts := range map[string][]string{
		"bnad": {`unknown detector "bnad"`, `did you mean "band"?`, "registered: band, zscore"},
		"pca":  {`unknown detector "pca"`, "registered: band, zscore"},
	} {
		_, err := r.Open(name, one, nil)
		for _, part := range parts {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("error is %v, want one that says %s", err, part)
			}
		}
	}
	if _, err := new(driver.Registry).Open("band", one, nil); err == nil || !strings.Contains(err.Error(), "import") {
		t.Errorf("error of an empty registry is %v, want one that speaks of imports", err)
	}
	var names []string
	for _, f := range r.Factories() {
		names = append(names, f.Info().Name)
	}
	if diff := cmp.Diff([]string{"band", "zscore"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestRegisterPanicsOnMistakes(t *testing.T) {
	for name, f := range map[string]driver.Factory{
		"zero factory": {},
		"no name":      factory("", 1),
		"name taken":   factory("band", 1),
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			driver.NewRegistry(factory("band", 1), f)
		})
	}
}
