// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpmethod

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/proctest"
)

// A panic while posted verdicts are taken ends that request, and neither the receiver nor the posts after it.
func TestPanicOfAPost(t *testing.T) {
	rs := &receivers{open: make(map[Callback]*receiver)}
	c := Callback{Listen: proctest.FreeAddress(t), URL: "http://mapper/verdicts", Insecure: true}
	r, err := rs.acquire(t.Context(), c, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := rs.release(r); err != nil {
			t.Error(err)
		}
	}()
	r.register("broken", &session{}) // without anything that a session needs: its context is nil
	client := &http.Client{Timeout: time.Minute}
	defer client.CloseIdleConnections()
	post := func(stream string) (int, error) {
		resp, err := client.Post("http://"+c.Listen+"/verdicts", "application/json", bytes.NewReader([]byte(`{"streamId":"`+stream+`","answers":[]}`)))
		if err != nil {
			return 0, err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, resp.Body.Close()
	}
	for range 3 {
		if code, err := post("broken"); err == nil || !strings.Contains(err.Error(), "EOF") {
			t.Errorf("a post that panics: %d, %v; want its connection to end", code, err)
		}
		if code, err := post("none"); err != nil || code != http.StatusNotFound {
			t.Errorf("the post after it: %d, %v", code, err)
		}
	}
}
