// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package device_test

import "testing"

// watchOpens sees nothing where there is no inotify.
func watchOpens(*testing.T, string) func() []string { return func() []string { return nil } }

// watchedApart watches nothing there either.
func watchedApart(*testing.T, func(*rig)) bool { return false }
