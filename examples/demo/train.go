// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	modelName     = "room.model"
	recordingName = "room.csv"
)

// switched are the texts of the simulator for the values of powerstatus.
var switched = map[string]string{"ON": "1", "OFF": "0"}

// simulated is the name of a device in the simulator.
func simulated(s stream) string { return strings.ReplaceAll(s.device, "-", "") }

// train records the room while it is in good order, has adctl learn from the recording what its devices report together,
// and leaves the model where the mapper looks for it.
func (s *stage) train(ctx context.Context) error {
	recording := filepath.Join(s.logs, recordingName)
	rows, err := s.tool(ctx, "record", "--url", s.room.url)
	if err != nil {
		return err
	}
	if err := os.WriteFile(recording, rows, 0o644); err != nil {
		return err
	}
	report, err := s.tool(ctx, "adctl", "train", "--detector", "bayesnet", "--input", recording,
		"--output", filepath.Join(s.logs, modelName))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(report)) {
		if line = strings.TrimSpace(line); line != "" {
			s.say(faint, "adctl     %s", line)
		}
	}
	return nil
}

// tool runs a program that was built and returns its output.
func (s *stage) tool(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.dir, name), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", name, err, stderr.Bytes())
	}
	return out, nil
}
