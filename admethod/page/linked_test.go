// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"os/exec"
	"strings"
	"testing"
)

// A mapper that does not link the sink "api", nor what adds to it, links nothing of the page and of what stands behind it.
func TestOnlyLinkedWithTheAPI(t *testing.T) {
	const module = "github.com/kubeedge/edge-anomaly/"
	args := []string{"list", "-deps"}
	for _, name := range []string{
		"admethod", "admethod/inprocess", "admethod/grpcmethod", "admethod/httpmethod", "admethod/mapper", "admethod/sink/log", "admethod/sink/metrics",
		"admethod/sink/devicestatus", "admethod/sink/webhook", "admethod/sink/mqtt", "driver/builtin", "device",
	} {
		args = append(args, module+name)
	}
	out, err := exec.CommandContext(t.Context(), "go", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"page", "httpapi", "replay"} {
		if strings.Contains(string(out), module+"admethod/"+name+"\n") {
			t.Errorf("it links admethod/%s", name)
		}
	}
	if n := strings.Count(string(out), module); n < 20 {
		t.Errorf("%d packages are looked at", n)
	}
}
