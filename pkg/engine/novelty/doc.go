// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package novelty scores a univariate stream by record novelty: how long ago was the stream last as strange as now,
// judged by several views of it at once.
//
// Each view, a channel, turns the past into one number and asks how far that number lies from everything the channel
// has met: the distance to the nearest of a bounded set of stored values. The distance is ranked among the largest of
// the channel's own past; that rank is the evidence: 1 for a record, 1/2 for the second largest and so on, 0 for the
// ordinary. Ranks make channels comparable with each other and between streams, and leave no scale to choose: the score
// of a·x + b is that of x, for any a but 0. No clock is read.
//
// The evidence of the channels is averaged and weighted by its return period R, the number of readings since the
// average was last as large, as evidence · R^(1/4). A reading within 64 of a stranger one scores 0, so that one
// incident is one alert.
//
// The idea is that of record statistics (B. C. Arnold, N. Balakrishnan, H. N. Nagaraja, Records, Wiley, 1998, section
// 2.5): in an exchangeable stream the n-th value is a record with probability 1/n whatever its law, so ranks among the
// past need no model of the values. Novelty as the distance to stored prototypes is that of S. Marsland, J. Shapiro and
// U. Nehmzow, A self-organising network that grows when required, Neural Networks 15, 2002.
package novelty
