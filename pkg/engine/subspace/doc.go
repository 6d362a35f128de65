// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package subspace judges rows of numeric members by the relations the members had while all was well.
//
// [PCA] splits a row into the part that common causes explain, judged by Hotelling's T², and the rest, judged by Q, the
// squared prediction error.
//
// It is a [Model]: fitted on rows, a score from 0 with 1 at the limit, contributions that name the members to
// blame, and a centre that follows slow change of normal rows within bounds. Rows are slices with one value a member, in
// a fixed order; NaN or an infinity is a member that is missing. Members are standardised by median and robust scale,
// so units do not matter. A member that never moved in training has no relation to the others and is left out.
//
// Models are not safe for concurrent use: they hold the scratch memory that lets them score without allocating.
package subspace

import (
	"errors"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// Model is what the models of this package have in common.
type Model interface {
	// Members is the length of a row.
	Members() int
	// ScoreTo judges a row: 0 is usual, above 1 is beyond the limit, +Inf is possible. It is NaN where the row has the
	// wrong length or more than half of its active members are missing. dst, if not nil, has a value a member and
	// receives what each contributes: shares that sum to 1, or zeros where there is nothing to share.
	ScoreTo(dst, row []float64) float64
	// ExpectedTo writes to dst the values the model expects in place of those of row, in their units; NaN for members
	// that are left out and for rows that cannot be judged.
	ExpectedTo(dst, row []float64)
	// Adapt moves the centre a little towards the row that ScoreTo judged last, and reports whether it did: only a row
	// within the limit is followed, and never further than Options.Reach from where training left the centre.
	Adapt() bool

	state.Part
}

// Options is how models are fitted. Zero values stand for the defaults.
type Options struct {
	Confidence float64 // share of normal rows within the limit, in [0.5, 1). Default 0.99
	Rate       float64 // weight of a row in the centre when adapting, in (0, 0.1]. Default 0.001
	Reach      float64 // furthest that adapting moves the centre, in scales of the member, up to 100. Default 1
}

// Limits on what is fitted and decoded.
const (
	MaxMembers = 512
	minRows    = 20
)

// ErrTooFew is wrapped when there are too few rows, or none of their members ever moved.
var ErrTooFew = errors.New("too little to learn from")
