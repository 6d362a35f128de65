// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package dataset has what recordings are made of: a reading, fields of CSV, labels. It depends on nothing else of the
// module. Package input reads recordings of all kinds, package store keeps them.
package dataset
