// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package doctor

func clock() Line {
	return Line{Check: "clock", State: Unknown, Found: "is looked at on Linux only"}
}
