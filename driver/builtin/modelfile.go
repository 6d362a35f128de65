// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"encoding"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

var errUntrained = errors.New("its detector was not trained")

// openModel reads the model file in the settings, if there is one, for the named driver. It returns what the driver
// learned, nil without a model, and where each column of what is learned is found in a row.
func openModel(name string, s driver.Settings) (payload []byte, c columns, err error) {
	keys := make([]driver.Key, len(s.Members))
	for i, m := range s.Members {
		keys[i] = m.Key
	}
	if s.Model == nil {
		return nil, newColumns(keys), nil
	}
	m, err := model.Decode(s.Model)
	if err != nil {
		return nil, c, fmt.Errorf("model %q: %w", s.ModelName, err)
	}
	if m.Driver != name {
		return nil, c, fmt.Errorf("model %q was trained for detector %q, want %q", s.ModelName, m.Driver, name)
	}
	if c, err = matchColumns(m.Members, keys); err != nil {
		return nil, c, fmt.Errorf("model %q: %w", s.ModelName, err)
	}
	return m.Payload, c, nil
}

// columns says where the columns of a model are found in the rows of a group.
type columns struct {
	width  int          // samples of a row
	keys   []driver.Key // of the member behind each column; of an absent one only the name, as Property
	slot   []int        // of each column in a row; -1 where the group has no such member, or not yet
	absent string       // a sentence that names the absent columns; "" where there are none
}

// newColumns has a column for each member, in order.
func newColumns(keys []driver.Key) columns {
	c := columns{width: len(keys), keys: keys, slot: make([]int, len(keys))}
	for i := range c.slot {
		c.slot[i] = i
	}
	return c
}

// matchColumns finds the column of each member. A model's column may be absent from the group: members join one by one,
// and what is absent counts as missing. A member without a column of its own is an error.
func matchColumns(names []string, keys []driver.Key) (columns, error) {
	c := columns{width: len(keys), keys: make([]driver.Key, len(names)), slot: make([]int, len(names))}
	columnOf := make([]int, len(keys))
	for i := range columnOf {
		columnOf[i] = -1
	}
	fail := func(format string, args ...any) (columns, error) {
		return columns{}, fmt.Errorf("%s; the model has %s, the group %s",
			fmt.Sprintf(format, args...), strings.Join(names, ", "), joinKeys(keys))
	}
	var absent []string
	for j, name := range names {
		i, hits := findMember(name, keys)
		switch {
		case hits > 1:
			return fail("column %q stands for %d members, want 1", name, hits)
		case hits == 0:
			c.slot[j], c.keys[j] = -1, driver.Key{Property: name}
			absent = append(absent, name)
			continue
		case columnOf[i] >= 0:
			return fail("columns %q and %q both stand for %v", names[columnOf[i]], name, keys[i])
		}
		columnOf[i] = j
		c.slot[j], c.keys[j] = i, keys[i]
	}
	if i := slices.Index(columnOf, -1); i >= 0 {
		return fail("no column for member %v", keys[i])
	}
	if absent != nil {
		c.absent = "the model also knows " + strings.Join(absent, ", ") + ", not in the group"
	}
	return c, nil
}

// findMember finds the one member that a name means: namespace/device/property, device/property, device or property,
// the first of these that fits exactly one. hits is 0 where none fits at all, and more than 1 where the name is
// ambiguous.
func findMember(name string, keys []driver.Key) (index, hits int) {
	forms := [...]func(driver.Key) string{
		driver.Key.String,
		func(k driver.Key) string { return k.Device + "/" + k.Property },
		func(k driver.Key) string { return k.Device },
		func(k driver.Key) string { return k.Property },
	}
	for _, form := range forms {
		n, at := 0, -1
		for i, k := range keys {
			if form(k) == name {
				n++
				at = i
			}
		}
		if n == 1 {
			return at, 1
		}
		hits = max(hits, n)
	}
	return -1, hits
}

func joinKeys(keys []driver.Key) string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.String()
	}
	return strings.Join(names, ", ")
}

// labels are short names of the members: the first of device, property and both that tells each from the others.
func labels(keys []driver.Key) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.String()
		for _, name := range []string{k.Device, k.Property, k.Device + "/" + k.Property} {
			if at, hits := findMember(name, keys); name != "" && hits == 1 && at == i {
				names[i] = name
				break
			}
		}
	}
	return names
}

// takeModel gives a detector the payload of the model in its settings; trained tells whether it is fit to judge then.
func takeModel(d encoding.BinaryUnmarshaler, trained func() bool, payload []byte, s driver.Settings) error {
	if err := d.UnmarshalBinary(payload); err != nil {
		return fmt.Errorf("model %q: %w", s.ModelName, err)
	}
	if !trained() {
		return fmt.Errorf("model %q: %w", s.ModelName, errUntrained)
	}
	return nil
}
