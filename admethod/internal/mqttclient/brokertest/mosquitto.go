// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/proctest"
)

// Mosquitto is Debian's broker, which keeps what it has over restarts. Start starts it, on the same address each time;
// where it is not installed the test is skipped.
func Mosquitto(tb testing.TB) (address string, start func() *proctest.Process) {
	tb.Helper()
	path, dir := proctest.Program(tb, "mosquitto"), tb.TempDir()
	address = proctest.FreeAddress(tb)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		tb.Fatal(err)
	}
	config := filepath.Join(dir, "mosquitto.conf")
	text := fmt.Sprintf("user root\nallow_anonymous true\nlistener %s %s\npersistence true\npersistence_location %s/\nmax_queued_messages 0\nmax_inflight_messages 1000\n", port, host, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return address, func() *proctest.Process { return proctest.Start(tb, path, "-c", config) }
}
