// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"encoding"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

func TestMatchColumns(t *testing.T) {
	key := func(ns, device, property string) driver.Key {
		return driver.Key{Namespace: ns, Device: device, Property: property}
	}
	lights := []driver.Key{key("a", "light-1", "power"), key("a", "light-2", "power"), key("a", "lux", "value")}
	boiler := []driver.Key{key("a", "boiler", "flow"), key("a", "boiler", "temperature")}
	for name, c := range map[string]struct {
		columns []string
		keys    []driver.Key
		slot    []int
		absent  string
		err     string
	}{
		"full names in another order": {columns: []string{"a/lux/value", "a/light-2/power", "a/light-1/power"}, keys: lights, slot: []int{2, 1, 0}},
		"device and property":         {columns: []string{"light-1/power", "light-2/power", "lux/value"}, keys: lights, slot: []int{0, 1, 2}},
		"devices of one member":       {columns: []string{"light-2", "lux", "light-1"}, keys: lights, slot: []int{1, 2, 0}},
		"unique properties":           {columns: []string{"temperature", "flow"}, keys: boiler, slot: []int{1, 0}},
		"a property, others by device": {
			columns: []string{"light-1", "light-2", "value"}, keys: lights, slot: []int{0, 1, 2},
		},
		"a member that has not joined yet": {
			columns: []string{"light-1", "light-2", "lux"}, keys: lights[:2], slot: []int{0, 1, -1},
			absent: "the model also knows lux, not in the group",
		},
		"an ambiguous property": {
			columns: []string{"power", "light-2", "lux"}, keys: lights,
			err: `column "power" stands for 2 members, want 1; the model has power, light-2, lux, the group a/light-1/power, a/light-2/power, a/lux/value`,
		},
		"an ambiguous device": {columns: []string{"boiler", "flow"}, keys: boiler, err: `column "boiler" stands for 2 members`},
		"two names of one":    {columns: []string{"flow", "boiler/flow", "temperature"}, keys: boiler, err: `columns "flow" and "boiler/flow" both stand for a/boiler/flow`},
		"a member without a column": {
			columns: []string{"flow"}, keys: boiler, err: "no column for member a/boiler/temperature; the model has flow, the group a/boiler/flow, a/boiler/temperature",
		},
		"another name": {columns: []string{"flow", "temprature"}, keys: boiler, err: "no column for member a/boiler/temperature"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := matchColumns(c.columns, c.keys)
			switch {
			case c.err != "":
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error is %v, want one that says %s", err, c.err)
				}
			case err != nil:
				t.Error(err)
			case !slices.Equal(got.slot, c.slot) || got.absent != c.absent:
				t.Errorf("slots are %v, %q, want %v, %q", got.slot, got.absent, c.slot, c.absent)
			}
		})
	}
}

func TestLabelsAreShortAndUnderstood(t *testing.T) {
	keys := []driver.Key{
		{Namespace: "a", Device: "lux", Property: "value"}, {Namespace: "a", Device: "boiler", Property: "flow"},
		{Namespace: "a", Device: "boiler", Property: "power"}, {Namespace: "a", Device: "lamp", Property: "power"},
		{Namespace: "b", Device: "boiler", Property: "power"},
	}
	got := labels(keys)
	if want := []string{"lux", "flow", "a/boiler/power", "lamp", "b/boiler/power"}; !slices.Equal(got, want) {
		t.Errorf("labels are %q, want %q", got, want)
	}
	for i, name := range got {
		if at, hits := findMember(name, keys); at != i || hits != 1 {
			t.Errorf("%q is found %d times, at %d, want once at %d", name, hits, at, i)
		}
	}
}

// A model that was trained offline, on columns in another order, judges from the first row on, and as the detector that
// was trained does.
func TestModelFile(t *testing.T) {
	const n = 6
	members := plantMembers(n)
	reversed := slices.Clone(members)
	slices.Reverse(reversed)
	columns := make([]string, n)
	for i, m := range reversed {
		columns[i] = m.Key.Property
	}
	for _, name := range groupDrivers() {
		t.Run(name, func(t *testing.T) {
			rows := plant(1, n)
			data := trainModel(t, name, reversed, columns, rowsOf(reversed, 1500, func() []float64 {
				row := rows()
				slices.Reverse(row)
				return row
			}))
			g := openGroup(t, name, driver.Settings{Members: members, Model: data, ModelName: "plant@1"}, nil)
			alarms := 0
			for range 300 {
				r := g.feed(rows()...)
				if r.Severity == driver.Unknown {
					t.Fatal("a detector with a model is unknown")
				}
				if r.Severity.Anomalous() {
					alarms++
				}
			}
			if alarms > 3 {
				t.Errorf("%d alarms in 300 normal rows", alarms)
			}
			row := rows()
			row[2] += 200
			var r *driver.Result
			for range 20 { // some look at more than one row
				r = g.feed(row...)
			}
			if name != bayesnetName && (!r.Severity.Anomalous() || r.Causes[0].Key != members[2].Key) {
				t.Errorf("p2 is off by 200: %v, causes %v", r.Severity, r.Causes)
			}

			_, err := driver.Open(name, driver.Settings{Members: members[:3], Model: data}, nil)
			if err != nil {
				t.Errorf("a group that is not complete yet is refused: %v", err)
			}
			for want, s := range map[string]driver.Settings{
				fmt.Sprintf("no column for member default/plant/p%d", n): {Members: plantMembers(n + 1), Model: data},
				"corrupt frame":  {Members: members, Model: data[:len(data)-1], ModelName: "cut@1"},
				`no EADM header`: {Members: members, Model: []byte{}, ModelName: "empty@1"},
			} {
				if _, err := driver.Open(name, s, nil); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error is %v, want one that says %s", err, want)
				}
			}
		})
	}
}

func TestModelOfAnotherDriverIsRefused(t *testing.T) {
	members := plantMembers(2)
	rows := plant(2, 2)
	data := trainModel(t, pcaName, members, []string{"p0", "p1"}, rowsOf(members, 100, rows))
	_, err := driver.Open(iforestName, driver.Settings{Members: members, Model: data, ModelName: "x@1"}, nil)
	if want := `model "x@1" was trained for detector "pca", want "iforest"`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want one that says %s", err, want)
	}
}

// The payload of a detector that has seen nothing is no model.
func TestUntrainedModelIsRefused(t *testing.T) {
	members := plantMembers(2)
	for _, name := range groupDrivers() {
		d, err := driver.Open(name, driver.Settings{Members: members}, nil)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := d.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		m := model.Trained{Facts: model.Facts{Driver: name, Members: []string{"p0", "p1"}}, Payload: payload}
		data, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := driver.Open(name, driver.Settings{Members: members, Model: data}, nil); !errors.Is(err, errUntrained) {
			t.Errorf("%s: error is %v, want that it was not trained", name, err)
		}
	}
}
