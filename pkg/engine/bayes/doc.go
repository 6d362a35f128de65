// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bayes learns discrete Bayesian networks, reasons with them exactly, and says which member of a group of
// readings contradicts the others.
//
// The way from readings to a verdict:
//
//	Discretizer   turns each member's values into states, as learned from its training values
//	Table         collects rows of states, equal rows once with their number
//	ChowLiu, HillClimb
//	              learn the structure; a Structure can also be given
//	Fit           learns the conditional probability tables under a Dirichlet prior
//	Compile       turns the Network into an Engine: a junction tree with all its memory allocated
//	NewLocator    judges rows: how improbable, and whose report is most probably wrong
//	Persistence   accumulates the evidence of several rows
//
// A row holds one state per node of the network in the network's order; [Missing] marks what is not known. Judging,
// querying and online learning allocate nothing. The types are not safe for concurrent use.
package bayes

// Bounds on what is learned, read or compiled.
const (
	MaxNodes  = 512
	MaxStates = 254     // of one node
	MaxTable  = 1 << 20 // cells of one conditional probability table
	MaxCells  = 1 << 22 // cells of a network's tables, and of a junction tree
	MaxName   = 256     // bytes of a name

	// Missing is the state of a member whose value is not known.
	Missing uint8 = 255
)
