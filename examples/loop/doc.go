// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package loop is a guide: README.md takes readings from a recording to a trained model in a mapper that runs. Its test
// executes the commands as they are printed there.
package loop
