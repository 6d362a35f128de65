// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package speed

import "time"

var programStart = time.Now()

// processorTime is by the clock, for want of better: on a busy machine it is too much.
func processorTime() time.Duration { return time.Since(programStart) }
