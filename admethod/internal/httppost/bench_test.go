// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httppost

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

// BenchmarkPost measures an exchange of 16 KiB each way beside the same one with net/http alone.
func BenchmarkPost(b *testing.B) {
	s := serve(b, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	body := bytes.Repeat([]byte("0123456789abcdef"), 1024)
	b.Run("client", func(b *testing.B) {
		c := newClient(b, Options{URL: s.URL, Insecure: true})
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Post(b.Context(), "application/json", body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		c := s.Client()
		b.ReportAllocs()
		for b.Loop() {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, s.URL, bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			resp, err := c.Do(req)
			if err != nil {
				b.Fatal(err)
			}
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
