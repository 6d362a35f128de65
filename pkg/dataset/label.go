// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"slices"
	"strconv"
	"strings"
)

// labelColumns are the columns of [Truth] that hold labels of readings, in order of precedence. A change point labels
// no reading.
var labelColumns = [...]string{"anomaly", "is_anomaly", "label"}

// labelColumn finds the column with the labels, -1 for none.
func labelColumn(names []string) int {
	for _, want := range labelColumns {
		if i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(strings.TrimSpace(n), want) }); i >= 0 {
			return i
		}
	}
	return -1
}

// normal are the labels of what is not anomalous, beside zero and an empty one.
var normal = [...]string{
	"", "false", "f", "no", "n", "none", "null", "na", "n/a", "ok", "okay", "normal", "nominal", "benign", "good", "healthy", "negative", "off", "inlier", "regular", "-",
}

// Anomalous reports whether a label says that a reading is anomalous: any text does but an empty one, zero, and words
// for what is in order (false, n, no, none, ok, normal, benign, healthy and the like), in capitals or not.
func Anomalous(label string) bool {
	label = strings.TrimSpace(label)
	if v, err := strconv.ParseFloat(label, 64); err == nil {
		return v != 0 && v == v
	}
	for _, word := range normal {
		if strings.EqualFold(label, word) {
			return false
		}
	}
	return true
}
