// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"github.com/kubeedge/mapper-framework/pkg/common"
	"golang.org/x/time/rate"

	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// EdgeCore's limiter, for all mappers of a node together.
const (
	NodeRate  = rate.Limit(1) // calls per second
	NodeBurst = 100
)

// ReportClient carries reports to EdgeCore. [DMIClient] is one.
type ReportClient interface {
	ReportTwins(ctx context.Context, namespace, device string, twins []*dmiapi.Twin) error
	ReportState(ctx context.Context, namespace, device, state string) error
}

// ReporterOptions configure a [Reporter]. Zero durations mean the default.
type ReporterOptions struct {
	Client ReportClient // required

	// Share is the part of the node's limiter that this mapper takes, 0 < Share <= 1. Default 1: a node with several
	// mappers should divide it between them.
	Share float64
	// Limiter, when set, is used instead of one made from Share; it may be shared.
	Limiter *rate.Limiter

	Linger time.Duration // how long a twin waits for others of its device. Default 100 ms
	// Heartbeat is how often every value and state is reported that did not change, submitted again or not: EdgeCore
	// loses what it accepts while the cloud is away. Default 5 min. It takes half of the limiter at most, so that it takes
	// longer for more than 75 devices with state and twins. Negative: a value is reported each time that it is submitted,
	// and never otherwise.
	Heartbeat time.Duration
	RetryMin  time.Duration // first pause after a failed call. Default 500 ms
	RetryMax  time.Duration // longest pause, reached by doubling. Default 10 s
}

// ReporterStats are totals since the reporter was made.
type ReporterStats struct {
	Calls, Twins, States uint64 // accepted by EdgeCore
	Retried              uint64 // calls that failed and are tried again
	Throttled            uint64 // those of them that the node's limiter refused
	Dropped              uint64 // twins and states that EdgeCore refused for good
	Coalesced            uint64 // twins and states that gave way to a later one before they were sent
	Unchanged            uint64 // twins and states left out because EdgeCore has the value
	Rewritten, Truncated uint64 // values that had to change to become legal, see [LegalTwinValue]
	Illegal              uint64 // values without a legal form, sent empty; names and states that EdgeCore ignores
	Pending              int    // twins and states that wait now
	// Longest is the longest time that a device waited for its turn while EdgeCore answered.
	Longest time.Duration
}

// Reporter carries twins and states to EdgeCore within what its limiter allows. Of each twin it keeps the latest value
// only, so that its memory is bounded by the number of twins however long EdgeCore is away. One call carries all twins
// that wait of one device, the one before it its state, and devices take turns, in which both go. Those whose state or
// verdict got worse have seven of eight turns while there are any, the others one.
//
// With the limiter of a node n devices that all change take 2n seconds: 200 devices whose verdicts all get worse at once
// are known to the cloud after 400 s, each by state and twin together, or 100 s earlier if the burst is unused, and one
// that gets worse while 199 others merely change after 4. The sink devicestatus does not pass the limiter.
//
// The first value of a twin goes out twice, in two calls, because EdgeCore loses the first. All values are sent again
// now and then, and soon after EdgeCore was away. Submitting never waits for the network. Safe for concurrent use.
type Reporter struct {
	opts    ReporterOptions
	limiter *rate.Limiter

	mu       sync.Mutex
	devices  map[string]*deviceReports // by resource ID
	lanes    [lanes][]*deviceReports   // those with something to send, in turn
	inARow   int                       // turns of those that got worse while others waited
	half     *deviceReports            // whose state is sent and whose twins are next
	away     bool                      // the last call got no answer
	failed   time.Time                 // when a call last failed
	lapsed   time.Time                 // when all was due again after EdgeCore was away
	toldLate bool
	again    *rate.Limiter // of reports of what did not change
	stats    ReporterStats
	said     logs.Limiter
	started  bool
	draining bool
	wake     chan struct{} // one token: the queue has changed

	cancel context.CancelFunc
	drain  chan struct{} // closed by Shutdown: send what is there without lingering
	done   chan struct{} // closed when the sending goroutine has ended
}

var _ TwinReporter = (*Reporter)(nil)

// NewReporter makes a reporter. It accepts reports at once and sends them after Start.
func NewReporter(opts ReporterOptions) (*Reporter, error) {
	if opts.Client == nil {
		return nil, errors.New("reporter: no client")
	}
	if opts.Share == 0 {
		opts.Share = 1
	}
	if !(opts.Share > 0 && opts.Share <= 1) {
		return nil, fmt.Errorf("reporter: share of the node's limiter is %v, want more than 0 and at most 1", opts.Share)
	}
	if opts.Limiter == nil {
		opts.Limiter = rate.NewLimiter(NodeRate*rate.Limit(opts.Share), max(1, int(NodeBurst*opts.Share)))
	}
	if opts.Limiter.Burst() < 1 && opts.Limiter.Limit() != rate.Inf {
		return nil, errors.New("reporter: a limiter without burst lets nothing through")
	}
	unlessPositive(&opts.Linger, 100*time.Millisecond)
	unlessPositive(&opts.RetryMin, 500*time.Millisecond)
	unlessPositive(&opts.RetryMax, 10*time.Second)
	if opts.Heartbeat == 0 {
		opts.Heartbeat = 5 * time.Minute
	}
	return &Reporter{
		opts:    opts,
		limiter: opts.Limiter,
		again:   refreshLimiter(opts.Limiter),
		devices: make(map[string]*deviceReports),
		wake:    make(chan struct{}, 1),
		drain:   make(chan struct{}),
		done:    make(chan struct{}),
	}, nil
}

// Start begins to send. ctx gives its values only: sending ends with [Reporter.Shutdown], which has to flush when the
// context of the program has ended.
func (r *Reporter) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started || r.draining {
		return errors.New("reporter: started already")
	}
	r.started = true
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go r.run(ctx)
	return nil
}

// Shutdown refuses new reports, sends what waits until ctx ends, and joins the sender. It may be called twice. The
// error tells what could not be sent.
func (r *Reporter) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	if !r.draining {
		r.draining = true
		close(r.drain)
	}
	started := r.started
	r.mu.Unlock()
	if started {
		stop := context.AfterFunc(ctx, r.cancel)
		<-r.done
		stop()
		r.cancel()
	}
	if n := r.Stats().Pending; n > 0 {
		err := context.Cause(ctx)
		if err == nil {
			err = errors.New("never started or cut off earlier")
		}
		return fmt.Errorf("reporter: %d twins and states were not sent: %w", n, err)
	}
	return nil
}

// Stats returns the totals so far.
func (r *Reporter) Stats() ReporterStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	for _, d := range r.devices {
		s.Pending += d.waiting()
	}
	return s
}

// Report submits the latest value of a twin. Its Reported and ObservedDesired values are made legal as
// [LegalTwinValue] says; metadata that is missing is added: the type from the model and the time in milliseconds.
func (r *Reporter) Report(namespace, device string, twin common.Twin) {
	now := time.Now()
	reported, how := legalTwinValue(twin.Reported.Value)
	desired, howDesired := legalTwinValue(twin.ObservedDesired.Value)

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return
	}
	if twin.PropertyName == "" || len(twin.PropertyName) > maxTwinName || !isLegalTwinText(twin.PropertyName) {
		r.stats.Illegal++
		r.complain("EdgeCore ignores a property of this name", namespace, device, twin.PropertyName)
		return
	}
	for _, l := range []legality{how, howDesired} {
		switch l {
		case legalRewritten:
			r.stats.Rewritten++
		case legalTruncated:
			r.stats.Truncated++
		case legalNoForm:
			r.stats.Illegal++
			r.complain("A value has no form that EdgeCore accepts and is reported empty", namespace, device, twin.PropertyName)
		}
	}
	d := r.device(namespace, device)
	t := d.twins[twin.PropertyName]
	if t == nil {
		t = &twinReport{}
		if strings.HasSuffix(twin.PropertyName, verdictSuffix) {
			t.rank = rankVerdict
		}
		d.twins[twin.PropertyName] = t
	}
	r.submit(d, &t.report, value{reported, desired}, now)
	if t.pending {
		twin.Reported.Value, twin.ObservedDesired.Value = reported, desired
		completeMetadata(&twin, now)
		t.message = twin
	}
}

// maxTwinName is the longest property name that EdgeCore accepts.
const maxTwinName = 128

func completeMetadata(twin *common.Twin, now time.Time) {
	dataType := twin.Reported.Metadata.Type
	if dataType == "" && twin.Property != nil {
		dataType = strings.ToLower(twin.Property.PProperty.DataType)
	}
	if dataType == "" {
		dataType = "string"
	}
	timestamp := strconv.FormatInt(now.UnixMilli(), 10)
	for _, m := range []*common.Metadata{&twin.Reported.Metadata, &twin.ObservedDesired.Metadata} {
		if m.Type == "" {
			m.Type = dataType
		}
		if m.Timestamp == "" {
			m.Timestamp = timestamp
		}
	}
}

// ReportState submits the latest state of a device. A state that EdgeCore does not know is counted and ignored.
func (r *Reporter) ReportState(namespace, device, state string) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return
	}
	if knownState(state) != state {
		r.stats.Illegal++
		r.complain("EdgeCore does not know this state", namespace, device, state)
		return
	}
	d := r.device(namespace, device)
	r.submit(d, &d.state, value{reported: state}, now)
}

// Forget drops what waits of a device and what is known of it: should it come again, its twins are fresh.
func (r *Reporter) Forget(namespace, device string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := ResourceID(namespace, device)
	if d := r.devices[id]; d != nil {
		d.gone = true
		delete(r.devices, id)
	}
}

// Renew says that EdgeCore may have forgotten what was reported of a device, as when it registers the device anew: the
// latest values are sent again, twice.
func (r *Reporter) Renew(namespace, device string) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.devices[ResourceID(namespace, device)]
	if d == nil || r.draining {
		return
	}
	for _, t := range d.twins {
		t.accepted, t.pending = 0, true
	}
	if d.state.value.reported != "" {
		d.state.accepted, d.state.pending = 0, true
	}
	r.enqueue(d, now)
}

// complain logs at most once a minute. The caller holds mu.
func (r *Reporter) complain(message, namespace, device, what string) {
	if _, ok := r.said.Allow(""); ok {
		logs.InfoS(message, "device", ResourceID(namespace, device), "name", what, "illegalSoFar", r.stats.Illegal)
	}
}
