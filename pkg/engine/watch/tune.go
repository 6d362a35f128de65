// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

// What figures on recorded streams depend on. All are round; u is −log10 of a tail probability.
const (
	beginU      = 5    // from which an incident begins, at the default threshold
	awayU       = 2    // from which a reading is part of it
	acceptedU   = 2.5  // what is accepted is learned as no rarer
	peakU       = 4    // nor is its beginning
	youngU      = 2    // that an incident needs more at first
	grownUp     = 500  // readings until it does not
	littleKnown = 1500 // and until a fault may be accepted sooner than [Config] says
	rareMore    = 0.3  // log10 by which what is learned may be rarer than all before
	coarse      = 0.5  // of the least step of the sensor is no move
	leastTail   = 4    // values that make a tail
	leastFill   = 120  // readings that looked normal but for where they are until an incident is accepted,
	fillShare   = 0.05 // or that share of the readings learned, if it is more
	fillLess    = 0.5  // readings that an unusual one counts against that
	lagsLearned = 4    // lags that must be learned before moves over one are held against each other
	youngNoise  = 16   // how uncertain the usual scatter is, in readings of it
	rareRepeat  = 0.1  // share of readings that repeat the one before where that is chance, and so is the next repeat
	sameSize    = 1    // a habit is at most that many times as large as it was
)
