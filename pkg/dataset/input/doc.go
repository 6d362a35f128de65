// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package input reads recordings as they are found in the field: what spreadsheets, historians, Home Assistant, InfluxDB
// and Prometheus export. It finds out by itself what is in a file, says what it made of it, and fails where it would
// have to guess.
//
//	bytes ─► unpack (gzip, zstd, UTF-16) ─► Grid (CSV, JSON lines, Prometheus JSON, …) ─► plan (from a sample) ─► Rows
//
// A [Grid] is a table of texts; formats that need a library of their own are added by [Options].Formats. The plan says
// which column is the time and how it is written, which columns are readings and how their numbers are written, which
// is the truth, and whether rows are of one series, of one each for the columns, or of many that are told apart by a
// column such as entity_id.
package input
