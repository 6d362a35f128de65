// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Cost is what a stream takes for as long as it is open, as an upper bound.
type Cost struct {
	Bytes int64  // of memory
	By    string // the parameter that most of it is for, "" where it is the same for all
}

// Coster is implemented by configurations whose detectors do not fit in [UsualCost], most often because of a window or
// a number of trees. Package drivertest compares it with the memory that is used.
type Coster interface {
	// Cost bounds the memory of a detector that is opened with these settings, whatever readings it gets. What a
	// detector takes for a moment, while it learns, does not count.
	Cost(s Settings) Cost
}

// UsualCost bounds the memory of a detector, for each of its members, whose configuration is no [Coster]: 32 KiB.
const UsualCost = 32 << 10

// modelFactor is how much more memory a model takes than its file.
const modelFactor = 4

// Cost bounds the memory of a detector that Open would open. It fails where the configuration is wrong.
func (f Factory) Cost(s Settings, raw map[string]any) (Cost, error) {
	c, err := f.cost(s, raw)
	if err != nil {
		return Cost{}, params.Prefix("detector.", err)
	}
	c.Bytes = max(c.Bytes, 0)
	if model := modelFactor * int64(len(s.Model)); model > c.Bytes {
		c.By = "model"
		c.Bytes += model
	} else {
		c.Bytes += model
	}
	return c, nil
}

// costOf is the cost of a configuration that is valid.
func costOf(config any, s Settings) Cost {
	if c, ok := config.(Coster); ok {
		return c.Cost(s)
	}
	return Cost{Bytes: UsualCost * int64(max(len(s.Members), 1))}
}

// Product multiplies sizes, for the costs of configurations; it does not overflow.
func Product(factors ...int) int64 {
	p := int64(1)
	for _, f := range factors {
		if f > 0 && p > math.MaxInt64/4/int64(f) {
			return math.MaxInt64 / 4
		}
		p *= int64(f)
	}
	return p
}
