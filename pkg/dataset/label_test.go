// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package dataset_test

import (
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

func TestAnomalous(t *testing.T) {
	for label, want := range map[string]bool{
		"": false, " ": false, "0": false, "0.0": false, "NaN": false, "False": false, "no": false, "none": false, "OK": false, "normal": false,
		"1": true, "1.0": true, "true": true, "anomaly": true, "valve stuck": true, "-1": true,
	} {
		if got := dataset.Anomalous(label); got != want {
			t.Errorf("%q: %v, want %v", label, got, want)
		}
	}
}
