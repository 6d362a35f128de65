// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package tlsfiles

import "time"

const (
	LookEvery = lookEvery
	TellEvery = tellEvery
)

func (l *Loader) SetClock(now func() time.Time) { l.watch.now = now }

func (t *Token) SetClock(now func() time.Time) { t.watch.now = now }
