// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package release checks what is released against the types of GoReleaser, which it reads its configuration into. It is
// a module of its own, so that they do not get into the library's.
package release
