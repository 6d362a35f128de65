// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"testing"

	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

func TestContract(t *testing.T) {
	for _, f := range univariate() {
		t.Run(f.Info().Name, func(t *testing.T) { drivertest.Check(t, f) })
	}
}
