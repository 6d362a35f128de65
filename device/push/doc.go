// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package push sends readings to where the pushMethod of a Device says: to an HTTP endpoint or an MQTT broker.
//
// A [Pool] keeps one lane per destination (a URL, a broker), shared by all properties that go there: a queue, a
// goroutine and a kept connection. Pushing never waits: while a destination is slow or gone, its queue holds the newest
// readings and drops the oldest; other destinations go on.
//
// The methods otel and dbMethod are not provided: [Pool.Open] says [ErrUnsupported].
package push
