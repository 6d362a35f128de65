// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package embedded runs a NATS server with JetStream in the process, on disk, which nobody else can reach: a bus without a
// cluster. It is a package of its own as it links the server.
package embedded

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// startIn is how long the server may take, with all that is on the disk.
const startIn = time.Minute

// Server is a NATS server in the process.
type Server struct{ server *server.Server }

// Start starts a server that keeps everything below a directory, which belongs to one process at a time.
func Start(dir string) (*Server, error) {
	if dir == "" {
		return nil, errors.New("bus: an embedded server wants a directory")
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "edge-anomaly", DontListen: true, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
		DisableJetStreamBanner: true, SyncInterval: 10 * time.Second, MaxPayload: 8 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("bus: embedded server: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(startIn) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("bus: embedded server: JetStream does not start in %s", dir)
	}
	return &Server{s}, nil
}

// Option connects to the server.
func (s *Server) Option() nats.Option { return nats.InProcessServer(s.server) }

// Stop ends the server once all connections are closed.
func (s *Server) Stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}
