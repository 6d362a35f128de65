// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// A push that panics costs its reading, which is counted; the next one is sent.
func TestPanicOfAPush(t *testing.T) {
	got := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got <- struct{}{} }))
	defer server.Close()
	var calls atomic.Int64
	p := newPool(t, Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		if calls.Add(1) == 1 {
			panic("in a push")
		}
		return http.DefaultTransport.RoundTrip(r)
	})})
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	target := openTarget(t, p, "http", httpConfig(t, server.URL, "/"))
	target.Push(reading("1"))
	target.Push(reading("2"))
	<-got
	if s := p.Stats(); s.Failed != 1 || s.Dropped != 0 {
		t.Errorf("%+v, want one that failed", s)
	}
}
