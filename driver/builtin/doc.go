// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package builtin holds the detector drivers that come with this module. A blank import registers all of them:
//
//	import _ "github.com/kubeedge/edge-anomaly/driver/builtin"
//
//	auto    finds and names what is unusual, by what the stream shows; the default
//	novelty what is stranger than anything before, by several views of the stream at once
//	range   fixed limits, from the configuration or the DeviceModel
//	ewma    spikes and new levels, against an exponentially weighted mean and variance
//	mad     the same against median and median absolute deviation: slower, and unmoved by outliers
//	jump    steps larger than the stream usually makes
//	freeze  rests longer than the stream ever made
//	cusum   drifts too slow to see in a single reading
//
//	forecast     spikes and new levels, against exponential smoothing; patterns that fail to come, against a season it finds
//	spot         extreme values, by the tails of the stream's own distribution (SPOT; with a depth, DSPOT)
//	pagehinkley  departures from the mean since the last change; starts anew at each
//	adwin        changes of the mean in a window that grows as long as there are none
//	knn          shapes not met before, by the distance to remembered windows; takes groups
//	rrcf         unusual runs of readings, isolated by random cuts
//	states       unseen states, improbable transitions, dwells too long or too short, and flapping, of switches and modes
//
// For groups of properties there are:
//
//	autogroup    members that depart from the level they held; the default
//	pca          members that break their linear relations, by principal components
//	mset         the same for curved relations and several modes, by remembered states
//	mahalanobis  the same for few members, whatever outliers there are among the training rows
//	iforest      rows that random splits isolate early
//	bayesnet     improbable combinations of numbers and categories, and which member contradicts the others
//
// All but these and knn watch one property, learn its level and scale from the readings themselves, and stay Unknown while they
// warm up. They skip what is no new reading of its own (not a number, a duplicate, out of order, held), and answer
// Unknown to it.
//
// # Scores
//
// Scores are calibrated for independent readings with normal noise: at threshold 0.95, ewma, mad and jump cry falsely
// about once in 8,000 readings, cusum more rarely. Noise with heavier tails is unusual more often: readings
// that follow Student's t with 5 degrees of freedom reach 0.95 once in 200 with ewma, in 150 with mad and in 360 with
// jump; cusum winsorises them and stays below the nominal rate. Raise the threshold for such streams.
// Readings that depend on each other, as those of slow processes do, are unusual less often to ewma, jump and cusum, and
// up to eight times more often to mad.
//
// ewma, mad and cusum judge a level, so a setpoint that is moved is a finding to them, and so is a counter's reset to
// ewma, mad and jump.
//
// # auto
//
// auto asks three questions of every reading, all of them about the stream's own past, so that a·x + b is judged as x is
// and the speed of the clock does not matter:
//
//   - How strange is it? This is the score of novelty. It is the larger the longer nothing as strange has been, and
//     comes once: 64 readings around a stranger one score 0.
//   - Does it make an incident with a name (package incident)? Structure is taken out first, as far as the stream shows
//     any: the moves of a counter, a season that is found or given (period), modes, the states of a switch. A spike is
//     told at once, and becomes a level after 5 readings; a level that leaves slowly is a drift, or a pattern where it
//     changes as fast as the season; more scatter is noise; states that last too long, too short or were never met are
//     state, and the first new value of a stream that rested for 4,000 readings is a spike, a level or a drift.
//   - Does it stand still (freeze)? A stream with two values or fewer, or that rests on 9 of 10 readings, is never
//     frozen; how long a switch rests is a matter of state.
//
// One incident is one alert: it is told in the few readings that bring news of it (its beginning, a better name), not in
// every reading that it lasts, and the level before is kept for 720 readings to tell its end by.
//
// Measured from the 2,000th reading on, 232,000 readings each, auto reaches 0.90 in 1.8 of 10,000 readings of white noise
// (nominally 10), 0.95 in 0.7 (1.25) and 0.98 in 0.04 (0.08); of noise autocorrelated by 0.9 in 1.6, 0.5 and 0.2; of
// Student's t with 3 degrees of freedom in 3.9, 2.0 and 0.5. Before, such scores are up to 2,000/n times as frequent
// after n readings: the threshold of the verdict is raised as much, and Confidence is the share of 2,000 that is known.
//
// forecast, spot, knn and rrcf are calibrated by each stream's own past: the tail of its errors, values, distances or
// isolation is fitted and extrapolated, so that heavy tails raise the bar of their own accord. On noise, slow noise and
// seasons they cry falsely less than once in 10,000 readings. The first cycle of a season, the first pass of a mode are
// news to knn and rrcf, and to spot where they are extreme. pagehinkley and adwin take a rhythm of sudden steps, such as
// a daily peak, for changes, and pagehinkley reports each.
//
// # Groups
//
// A driver for groups is trained offline, with [driver.Trainer], and opened with the model file; or it learns from the
// first rows of the stream, as many as trainRows says, and stays Unknown until then. A model's columns are matched to
// the members by name: namespace/device/property, device/property, the device, or the property, where that is
// unambiguous. A member without a column is an error; a column without a member counts as missing, as members join a
// group one by one.
//
// In a row, a member that holds its last value counts; one that is stale, not a number or out of order is missing. A
// row with nothing new is Unknown. The causes of a verdict are the members to blame and no others: those with at least
// half of the largest contribution, or, with bayesnet, those whose wrong reports explain the row, all of them where
// they cannot be told apart.
//
// Rows that are anomalous are not learned from. A group that has changed for good is so anomalous until it is trained
// anew, except to autogroup, which takes an alarm of maxAge rows for a new normal. autogroup and bayesnet with persist
// score the strength of evidence, on a scale that has the default threshold at their start and evidence; the others
// score a tail probability that is calibrated by cross-validation on the training rows.
//
// # Streams without a scale
//
// No scale below the smallest step that a stream has ever made is believed. So the first change of a constant stream
// is no finding to them, whatever its size, for there is no telling a sensor that was still from a setpoint that was
// left alone (to auto it is one after 4,000 readings); and a stream with two values is never unusual to ewma, mad and jump. Give such streams limits.
package builtin
