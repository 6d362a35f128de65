// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqttclient

import "net"

// SessionOver is a session on a connection, without a client, and what the client would write to.
func SessionOver(c net.Conn) (*Session, net.Conn) {
	s, b := new(Session), newBuffered(c)
	s.conn.Store(b)
	return s, b
}
