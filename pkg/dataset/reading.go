// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package dataset

import "time"

// Reading is one reading of one property.
type Reading struct {
	At    time.Time
	Value float64 // NaN where Text is no number
	Text  string  // as it was recorded; may be "" for a number
}
