// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/internal/httppost"
	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

const (
	mostPosts   = 8 // batches whose verdicts wait to be posted to one URL
	postTimeout = 10 * time.Second
	postAge     = time.Minute // after which verdicts are not worth another try
	firstDelay  = 100 * time.Millisecond
	lastDelay   = 5 * time.Second
)

// Callback is where a client may have verdicts posted to later, instead of in the response to a batch.
type Callback struct {
	Client   string         // name of the client; in plaintext "anybody", else "anonymous" stands for those who are none
	URL      string         // exactly as the client names it: verdicts are posted to no other
	Token    string         // file with the bearer token for it, which is read again when it changes; "" sends none
	TLS      tlsfiles.Files // the authority of the receiver, and the certificate to show it
	Insecure bool           // plaintext
}

// posters post verdicts.
type posters struct {
	byURL   map[[2]string]*poster // by client and URL
	closing chan struct{}
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// poster posts verdicts to one URL, in order.
type poster struct {
	server *Server
	name   string // for the log
	client *httppost.Client
	slots  chan struct{} // one for each batch that is judged or waits
	queue  chan post
}

type post struct {
	format batch.Format
	body   *pb.DetectResponse
	since  time.Time
}

// newPosters starts a poster for each callback that is configured. They end by close.
func newPosters(ctx context.Context, s *Server) (*posters, error) {
	ps := &posters{byURL: make(map[[2]string]*poster), closing: make(chan struct{})}
	var errs []error
	for i, c := range s.config.Callbacks {
		p, err := newPoster(s, c)
		if err == nil && !s.hasClient(c.Client) {
			err = fmt.Errorf("there is no client %q", c.Client)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("callbacks[%d]: %w", i, err))
			continue
		}
		ps.byURL[[2]string{c.Client, c.URL}] = p
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("detector server: %w", err)
	}
	ctx, ps.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for p := range maps.Values(ps.byURL) {
		ps.done.Go(func() { guard.Loop(ctx, "a poster of verdicts", func(ctx context.Context) { p.run(ctx, ps.closing) }) })
	}
	return ps, nil
}

func (s *Server) hasClient(name string) bool {
	return s.anybody != nil && s.anybody.Name == name || slices.ContainsFunc(s.clients, func(c *client) bool { return c.Name == name })
}

func newPoster(s *Server, c Callback) (*poster, error) {
	p := &poster{
		server: s, name: c.Client, slots: make(chan struct{}, mostPosts), queue: make(chan post, mostPosts),
	}
	trouble := func(err error) {
		s.log.ErrorS("callback of "+c.Client, err, "Detector server keeps the files of a callback")
	}
	o := httppost.Options{URL: c.URL, Insecure: c.Insecure, MaxReply: 64 << 10}
	var err error
	switch {
	case c.Insecure && (c.Token != "" || c.TLS != (tlsfiles.Files{})):
		return nil, errors.New("insecure: want no token and no tls.* beside it")
	case !c.Insecure:
		if o.TLS, err = tlsfiles.New(c.TLS, trouble); err != nil {
			return nil, err
		}
	}
	if o.Token, err = tlsfiles.NewToken(c.Token, trouble); err != nil {
		return nil, err
	}
	if p.client, err = httppost.New(o); err != nil {
		return nil, err
	}
	return p, nil
}

// find returns the poster for a URL that a client named, nil where it may not name it.
func (ps *posters) find(c *client, url string) *poster { return ps.byURL[[2]string{c.Name, url}] }

// close posts what waits, within some seconds, and joins the posters. No batch is judged any more.
func (ps *posters) close() {
	close(ps.closing)
	late := time.AfterFunc(shutdown, ps.cancel)
	ps.done.Wait()
	late.Stop()
	ps.cancel()
}

// reserve takes a place for the verdicts on a batch, which must let them be told apart.
func (p *poster) reserve(m *pb.DetectRequest) error {
	if m.GetStream().GetStreamId() == "" || slices.ContainsFunc(m.Readings, func(r *pb.DevicePropertyData) bool { return r.GetSequence() == 0 }) {
		return status.Error(codes.InvalidArgument, "verdicts that are posted later need a streamId and sequences")
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
		return intake.Exhausted(time.Second, "the verdicts on %d batches wait to be posted", mostPosts)
	}
}

// unreserve gives a place back.
func (p *poster) unreserve() { <-p.slots }

// post queues verdicts, and passes the place on to them that the caller has reserved.
func (p *poster) post(format batch.Format, m *pb.DetectResponse) {
	p.queue <- post{format, m, time.Now()} // there is room for as many as there are places
}

// run posts until closing is closed and nothing waits.
func (p *poster) run(ctx context.Context, closing <-chan struct{}) {
	defer p.client.Close()
	for {
		select {
		case next := <-p.queue:
			p.deliver(ctx, next)
			continue
		case <-closing:
		}
		select {
		case next := <-p.queue:
			p.deliver(ctx, next)
		default:
			return
		}
	}
}

// deliver posts verdicts until they are taken, refused or too old.
func (p *poster) deliver(ctx context.Context, next post) {
	defer p.unreserve()
	body, err := next.format.EncodeResponse(next.body)
	if err != nil {
		p.lose(next, err)
		return
	}
	for backoff := (wait.Backoff{First: firstDelay, Longest: lastDelay}); ; {
		err := guard.Call("a post of verdicts", func() error { return p.once(ctx, next.format, body) })
		if err == nil {
			return
		}
		pause, retry := admethod.RetryAfter(err)
		pause = max(pause, backoff.Next())
		if !retry || time.Since(next.since)+pause > postAge || wait.Sleep(ctx, pause) != nil {
			p.lose(next, err)
			return
		}
	}
}

func (p *poster) once(ctx context.Context, format batch.Format, body []byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, postTimeout, fmt.Errorf("no answer within %v", postTimeout))
	defer cancel()
	_, err := p.client.Post(ctx, format.ContentType(), body)
	return err
}

// lose gives verdicts up. A client that keeps its readings sends them again, and gets the same verdicts then.
func (p *poster) lose(lost post, err error) {
	p.server.log.ErrorS("callback "+p.name, err, "Detector server cannot post verdicts", "client", p.name, "verdicts", len(lost.body.GetAnswers()))
}
