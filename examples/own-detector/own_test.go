// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/cli"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
	_ "github.com/kubeedge/edge-anomaly/examples/own-detector/swing"
)

func TestContract(t *testing.T) {
	f, err := driver.Default.Lookup("swing")
	if err != nil {
		t.Fatal(err)
	}
	drivertest.Check(t, f)
}

// The program judges by the detector that it imports, with its settings, as by any other.
func TestDetectByOnesOwn(t *testing.T) {
	const recording = "time,value\n1,20\n2,21\n3,35\n4,36\n"
	var out, log bytes.Buffer
	args := []string{"detect", "--detector", "swing", "--set", "detector.most=5", "-i", "-"}
	if code := cli.Run(t.Context(), args, strings.NewReader(recording), &out, &log); code != 0 {
		t.Fatalf("exit status %d: %s", code, log.String())
	}
	if !strings.Contains(out.String(), "3,35,1,critical,spike") {
		t.Errorf("rows:\n%s%s", out.String(), log.String())
	}
	out.Reset()
	if code := cli.Run(t.Context(), []string{"drivers"}, nil, &out, &log); code != 0 || !strings.Contains(out.String(), "swing") {
		t.Errorf("exit status %d, drivers:\n%s", code, out.String())
	}
}
