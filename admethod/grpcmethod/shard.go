// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package grpcmethod

import (
	"github.com/kubeedge/edge-anomaly/admethod/remote"
	"github.com/kubeedge/edge-anomaly/admethod/remote/shard"
)

// newTransports spreads streams over the detectors of a list of addresses.
func newTransports(c Config, id remote.Identity) (remote.Transport, error) {
	return shard.Open(c.Address, shard.Options{Timeout: c.Timeout, Backoff: c.Backoff}, func(address string) (remote.Transport, error) {
		one := c
		one.Address = address
		return newTransport(one, id)
	})
}
