// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

// The settings that figures on recorded streams depend on; each is round, and halving or doubling one changes little.
var tune = [24]float64{0: 0.3, 1: 0.5, 2: 0.25, 3: 0, 4: 0.5, 5: 0.05, 6: 12, 7: 5, 8: 2, 9: 4, 10: 120, 11: 2, 12: 2, 13: 1,
	14: 4, 15: 16, 16: 2.5, 17: 5, 18: 2, 19: 2000}
