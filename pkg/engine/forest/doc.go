// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package forest isolates unusual points with random trees: [Isolation] is fitted once, [RandomCut] follows a stream.
//
// For streams there are random cut trees and not half-space trees (Tan, Ting and Liu, IJCAI 2011). The latter cost a
// third, but their cuts through the middle of a fixed range see only the coarsest outliers where points have several
// dimensions: in a shape that fits 32 KiB they found less than half of the spikes of eight standard deviations in noise.
package forest
