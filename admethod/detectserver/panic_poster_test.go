// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod/internal/httppost"
	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// A poster of verdicts that panics loses the batch that it panicked on, and goes on with the next; the places of both are
// free again.
func TestPanicOfAPoster(t *testing.T) {
	posted := make(chan struct{}, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); !strings.Contains(string(body), "good") {
			http.Error(w, "no such stream", http.StatusNotFound)
			return
		}
		posted <- struct{}{}
	}))
	defer receiver.Close()
	client, err := httppost.New(httppost.Options{URL: receiver.URL, Insecure: true, MaxReply: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	// Without a server, which it tells of what is refused.
	p := &poster{client: client, name: "c", slots: make(chan struct{}, mostPosts), queue: make(chan post, mostPosts)}
	closing, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		guard.Loop(t.Context(), "a poster of verdicts", func(ctx context.Context) { p.run(ctx, closing) })
	}()
	for _, stream := range []string{"bad", "bad", "good"} {
		p.slots <- struct{}{}
		p.post(batch.JSON, &pb.DetectResponse{StreamId: stream})
	}
	<-posted
	waittest.Eventually(t, "all places are free", func() bool { return len(p.slots) == 0 })
	close(closing)
	<-done
}
