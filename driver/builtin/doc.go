// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package builtin holds the detector drivers that come with this module. A blank import registers all of them:
//
//	import _ "github.com/kubeedge/edge-anomaly/driver/builtin"
//
//	auto    finds, names and follows what is unusual until it is over, by what the stream shows; the default
//	range   fixed limits, from the configuration or the DeviceModel
//	ewma    spikes and new levels, against an exponentially weighted mean and variance
//	mad     the same against median and median absolute deviation: slower, and unmoved by outliers
//	freeze  rests longer than the stream ever made
//
//	forecast  spikes and new levels, against exponential smoothing; patterns that fail to come, against a season it finds
//	knn       shapes not met before, by the distance to remembered windows; takes groups
//	states    unseen states, improbable transitions, dwells too long or too short, and flapping, of switches and modes
//
// For groups of properties there are:
//
//	autogroup  members that depart from the level they held, or from what the others say of them; the default
//	pca        members that break their linear relations, by principal components
//	iforest    rows that random splits isolate early
//	bayesnet   improbable combinations of numbers and categories, and which member contradicts the others
//
// All but these and knn watch one property, learn its level and scale from the readings themselves, and stay Unknown while they
// warm up. They skip what is no new reading of its own (not a number, a duplicate, out of order, held), and answer
// Unknown to it.
//
// # Scores
//
// Scores are calibrated for independent readings with normal noise: at threshold 0.95, ewma and mad cry falsely about once
// in 8,000 readings. Noise with heavier tails is unusual more often: readings that follow Student's t with 5 degrees of
// freedom reach 0.95 once in 200 with ewma and in 150 with mad. Raise the threshold for such streams. Readings that depend
// on each other, as those of slow processes do, are unusual less often to ewma, and up to eight times more often to mad.
//
// ewma and mad judge a level, so a setpoint that is moved is a finding to them, and so is a counter's reset.
//
// # auto
//
// auto follows a stream (package watch): it tells when the stream leaves what was normal, for as long as it is away, and
// when it is back or where it went is the new normal. Each reading is asked how far the stream has moved within 1, 2,
// 4 … 128 readings, how much it scatters, for how long it has stood still and, where it has a season, how far it is from
// a period ago, each held against the tail of the stream's own past; and whether it departs from the structure that the
// stream shows (package regime): the moves of a counter, a season that is found or given (period), modes, the states of a
// switch. a·x + b is judged as x is.
//
// What is rarer than the threshold begins an incident. While it lasts, which Result.Ongoing tells, nothing is learned, so
// that the n-th fault is found as the first. It ends when the stream is back, when it has gone where it goes anyway in
// that time, or when it has behaved in the new way for so long that this is the new normal (Settings.Accept; by default
// when it has looked normal but for where it is for 120 readings or a twentieth of what was learned, and after 12 hours).
// What was accepted and comes again at about the same time of another day, no larger, is no incident; nor is a departure
// of the shape of one that somebody has said was normal ([driver.Learner]).
//
// Score says how unusual a reading is now, whatever came before. Onset is that of record novelty: how unusual it is as
// news; within an incident it is 0 but for readings stranger than all before. The kind is that of the incident, refined
// while it lasts: a spike becomes a level after 5 readings. 99 of 100 readings lie between Lower and Upper, whatever single
// readings did before.
//
// Until 500 readings are known, a departure must be up to a hundred times as rare to begin an incident. Confidence is the
// share of 2,000 readings that is known.
//
// forecast and knn are calibrated by each stream's own past: the tail of its errors or distances is fitted and
// extrapolated, so that heavy tails raise the bar of their own accord. On noise, slow noise and seasons they cry falsely
// less than once in 10,000 readings. The first cycle of a season, the first pass of a mode are news to knn.
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
// left alone (to auto it is one after 4,000 readings); and a stream with two values is never unusual to ewma and mad. Give such streams limits.
package builtin
