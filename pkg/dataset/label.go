// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"slices"
	"strconv"
	"strings"
)

// truths are the names of columns that tell what is anomalous. They are never members.
var truths = [...]string{"anomaly", "changepoint", "label", "is_anomaly"}

// Truth reports whether a column of that name, in capitals or not, tells what is anomalous.
func Truth(column string) bool {
	return slices.ContainsFunc(truths[:], func(t string) bool { return strings.EqualFold(strings.TrimSpace(column), t) })
}

// normal are the labels of what is not anomalous, beside zero and an empty one.
var normal = [...]string{
	"", "false", "f", "no", "n", "none", "null", "na", "n/a", "ok", "okay", "normal", "nominal", "benign", "good", "healthy", "negative", "off", "inlier", "regular", "-", "gut", "i.o.", "in ordnung",
	"nein", "falsch", "non", "faux", "nej", "nee", "falso", "否", "正常",
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
