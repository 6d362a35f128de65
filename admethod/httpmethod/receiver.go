// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpmethod

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/internal/httpserver"
	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

// receivers are the listeners of one adapter. Targets with the same callback share one.
type receivers struct {
	mu   sync.Mutex
	open map[Callback]*receiver
}

// receiver takes verdicts that detectors post.
type receiver struct {
	config    Callback
	maxAnswer int64
	token     *tlsfiles.Token // nil where certificates tell who may post
	server    *httpserver.Server
	done      sync.WaitGroup
	refs      int // guarded by receivers.mu

	mu       sync.Mutex
	sessions map[string]*session // by stream ID
}

func (rs *receivers) acquire(ctx context.Context, c Callback, maxAnswer int) (*receiver, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r := rs.open[c]; r != nil {
		r.refs++
		return r, nil
	}
	r := &receiver{config: c, maxAnswer: int64(maxAnswer), refs: 1, sessions: make(map[string]*session)}
	if err := r.listen(ctx); err != nil {
		return nil, fmt.Errorf("callback: %w", err)
	}
	rs.open[c] = r
	return r, nil
}

func (rs *receivers) release(r *receiver) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r.refs--; r.refs > 0 {
		return nil
	}
	delete(rs.open, r.config)
	err := r.server.Close() // no session is left that a post could be for
	r.done.Wait()
	return err
}

func (r *receiver) listen(ctx context.Context) error {
	trouble := func(err error) { logs.Warningf("http: callback: %v", err) }
	detached := context.WithoutCancel(ctx) // the listener outlives the session that is begun
	r.server = httpserver.New("a post of verdicts", r, 30*time.Second, time.Minute, 128)
	r.server.BaseContext = func(net.Listener) context.Context { return detached }
	var err error
	if r.token, err = tlsfiles.NewToken(r.config.Token, trouble); err != nil {
		return err
	}
	if !r.config.Insecure {
		loader, err := tlsfiles.New(r.config.TLS, trouble)
		if err != nil {
			return err
		}
		if r.server.TLSConfig, err = loader.Server("h2", "http/1.1"); err != nil {
			return err
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", r.config.Listen)
	if err != nil {
		return err
	}
	r.done.Go(func() {
		if err := r.server.Serve(l); err != nil {
			logs.ErrorS(err, "No verdicts are taken any more", "callback.listen", r.config.Listen)
		}
	})
	return nil
}

// register makes a session the one that verdicts of a stream are for; nil takes the stream out.
func (r *receiver) register(streamID string, s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s == nil {
		delete(r.sessions, streamID)
		return
	}
	r.sessions[streamID] = s
}

// ServeHTTP answers at the path of callback.url, which is the user's text: it is compared, and never a pattern.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case req.URL.Path != r.config.path():
		http.NotFound(w, req)
	case req.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "want POST", http.StatusMethodNotAllowed)
	default:
		r.take(w, req)
	}
}

// take hands posted verdicts to the session of their stream.
func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	if r.token != nil && !tlsfiles.Authorizes(req.Header.Get("Authorization"), r.token.Get()) {
		http.Error(w, "want the token of callback.token", http.StatusUnauthorized)
		return
	}
	format, err := batch.FormatOf(req.Header.Get("Content-Type"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
		return
	}
	body, err := batch.ReadBody(req.Body, req.Header.Get("Content-Encoding"), r.maxAnswer)
	switch {
	case errors.Is(err, batch.ErrTooLarge):
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	case errors.Is(err, batch.ErrMediaType):
		http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m, err := format.DecodeResponse(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	s := r.sessions[m.GetStreamId()]
	r.mu.Unlock()
	if s == nil {
		http.Error(w, "no such stream is open here", http.StatusNotFound)
		return
	}
	select {
	case s.posted <- m:
		w.WriteHeader(http.StatusNoContent)
	case <-s.ctx.Done(): // there will be another session
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the stream is being opened anew", http.StatusServiceUnavailable)
	case <-req.Context().Done():
	}
}
