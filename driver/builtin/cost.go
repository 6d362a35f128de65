// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/bayes"
)

// Upper bounds of what a stream takes, as driver.Coster has them. They were fitted to the live heap and are held by
// drivertest; what has no bound here fits in driver.UsualCost.

// small is the cost of a detector that keeps a few numbers.
var small = driver.Cost{Bytes: 2 << 10}

// Cost implements driver.Coster.
func (c *ewmaConfig) Cost(driver.Settings) driver.Cost { return small }

// Cost implements driver.Coster.
func (c *freezeConfig) Cost(driver.Settings) driver.Cost { return small }

// Cost implements driver.Coster.
func (c *rangeConfig) Cost(driver.Settings) driver.Cost { return small }

// Cost implements driver.Coster.
func (c *autoConfig) Cost(driver.Settings) driver.Cost { return driver.Cost{Bytes: 40 << 10} }

// Cost implements driver.Coster.
func (c *autogroupConfig) Cost(s driver.Settings) driver.Cost {
	n := len(s.Members)
	shapes, learning := driver.Product(n, 24<<10)+min(driver.Product(n, 28<<10), 224<<10), driver.Product(n, c.TrainRows, 32)
	relations := driver.Product(n, n, 24)
	return driver.Cost{Bytes: 16<<10 + shapes + relations + learning, By: larger(shapes+relations, "", learning, "trainRows")}
}

// Cost implements driver.Coster.
func (c *madConfig) Cost(driver.Settings) driver.Cost {
	return driver.Cost{Bytes: 4<<10 + driver.Product(c.Window, 24), By: "window"}
}

// Cost implements driver.Coster.
func (c *knnConfig) Cost(s driver.Settings) driver.Cost {
	by := "windows"
	if c.Lag > c.Windows {
		by = "lag"
	}
	return driver.Cost{Bytes: 16<<10 + driver.Product(c.Windows, c.Lag, len(s.Members), 10) + driver.Product(c.Windows, 32), By: by}
}

// cost is of the rows that are learned from; a copy of them is fitted to.
func (c *fitConfig) cost(s driver.Settings) int64 {
	return 32<<10 + driver.Product(c.TrainRows, 96+16*len(s.Members)) + driver.Product(len(s.Members), len(s.Members), 64)
}

// Cost implements driver.Coster.
func (c *pcaConfig) Cost(s driver.Settings) driver.Cost {
	return driver.Cost{Bytes: c.cost(s), By: "trainRows"}
}

// Cost implements driver.Coster.
func (c *iforestConfig) Cost(s driver.Settings) driver.Cost {
	fit := fitConfig{TrainRows: c.TrainRows}
	rows, trees := fit.cost(s), driver.Product(c.Trees, min(c.Sample, c.TrainRows), 40)
	return driver.Cost{Bytes: rows + trees, By: larger(rows, "trainRows", trees, "trees")}
}

// Cost implements driver.Coster. What is learned of the arcs decides how large tables are; only their bounds are known
// before.
func (c *bayesnetConfig) Cost(s driver.Settings) driver.Cost {
	states := max(c.Bins, c.Levels)
	for i := range s.Members {
		if t := s.Members[i].DataType; t == "" || t == "string" || len(s.Members[i].Categories) > 0 {
			states = max(states, 65)
		}
	}
	parents := c.MaxParents
	if c.Structure == "chowliu" {
		parents = 1
	}
	table := driver.Product(states)
	for range min(parents, max(len(s.Members)-1, 0)) {
		table = min(driver.Product(int(table), states), bayes.MaxTable)
	}
	tables := min(driver.Product(len(s.Members), int(table)), bayes.MaxCells)
	tree := tables // of a forest the junction tree has the cells of its tables
	if parents > 1 {
		tree = bayes.MaxCells
		if all := driver.Product(states); len(s.Members) < 8 { // all members in one clique is the most there is
			for range len(s.Members) - 1 {
				all = min(driver.Product(int(all), states), bayes.MaxCells)
			}
			tree = all
		}
	}
	rows := driver.Product(c.TrainRows, 48+9*len(s.Members))
	return driver.Cost{Bytes: 64<<10 + rows + tables*24 + tree*8, By: larger(rows, "trainRows", tables*24+tree*8, "maxParents")}
}

func larger(a int64, nameA string, b int64, nameB string) string {
	if a >= b {
		return nameA
	}
	return nameB
}
