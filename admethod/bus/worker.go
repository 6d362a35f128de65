// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// WorkerConfig is how a worker judges.
type WorkerConfig struct {
	Name   string        // of this process, different from all others; "" makes one
	Intake intake.Config // its settings, which are the same for all workers; what belongs to one process is not looked at

	Lease          time.Duration // after which a worker that is not heard of is gone; 0 means 2.5 s
	Checkpoint     time.Duration // between two checkpoints of a partition; 0 means 30 s
	CheckpointRate float64       // bytes a second that checkpoints of all partitions take at most, over time; 0 means 16 MiB, a negative one no bound

	_ struct{} // keyed literals only: fields may be added
}

// Worker owns some of the partitions, and judges what comes on them.
type Worker struct {
	bus    *Bus
	config WorkerConfig
	slots  chan struct{} // of atomic batches that are under way

	judged, told, refused, checkpointed atomic.Uint64

	mu      sync.Mutex
	held    map[int]*holding // by partition
	changed chan struct{}
}

// holding is a partition that the worker has, or is about to give up.
type holding struct {
	release  chan struct{}
	revision uint64 // of the lease
	began    bool
	leaving  bool
}

// slotsOfOne is how many atomic batches a worker has under way: JetStream takes 50 of a stream at a time.
const slotsOfOne = 8

// Worker makes one; [Worker.Run] works.
func (b *Bus) Worker(c WorkerConfig) *Worker {
	c.Name = cmp.Or(c.Name, nuid.Next())
	c.Lease = cmp.Or(c.Lease, 2500*time.Millisecond)
	c.Checkpoint = cmp.Or(c.Checkpoint, 30*time.Second)
	c.CheckpointRate = cmp.Or(c.CheckpointRate, 16<<20)
	return &Worker{
		bus: b, config: c, slots: make(chan struct{}, slotsOfOne), held: make(map[int]*holding), changed: make(chan struct{}, 1),
	}
}

// Stats count what a worker has done since it began.
type Stats struct {
	Judged, Told, Refused uint64 // readings; verdicts; batches with readings that were refused
	Checkpointed          uint64 // bytes
	Partitions            int    // that it judges now
}

// Stats are those of now.
func (w *Worker) Stats() Stats {
	s := Stats{Judged: w.judged.Load(), Told: w.told.Load(), Refused: w.refused.Load(), Checkpointed: w.checkpointed.Load()}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.held {
		if h.began {
			s.Partitions++
		}
	}
	return s
}

func (w *Worker) report(part, risk string, err error) { w.bus.Config.Report(part, risk, err) }

// began notes that a partition is being judged.
func (w *Worker) began(p *partition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h := w.held[p.number]; h != nil {
		h.began = true
	}
}

// lease says who owns a partition; "" is nobody. Its revision in the bucket is what an owner must know to give it up, and
// who takes it must know.
type lease struct {
	Owner string `json:"owner"`
}

// member says that a worker is there.
type member struct {
	Beat    uint64 `json:"beat"`
	Leaving bool   `json:"leaving,omitempty"`
}

// seen is what is known of a worker.
type seen struct {
	member
	at time.Time // when it was heard of last, on the clock of this process
}

// view is what the bucket of owners says.
type view struct {
	members map[string]seen
	leases  map[int]lease
	at      map[int]uint64 // revisions of the leases
	ready   bool           // all that was there is known
	began   time.Time
}

const (
	memberKey = "worker."
	leaseKey  = "p."
)

// take notes a change.
func (v *view) take(e jetstream.KeyValueEntry, now time.Time) {
	if name, ok := strings.CutPrefix(e.Key(), memberKey); ok {
		var m member
		if e.Operation() != jetstream.KeyValuePut || json.Unmarshal(e.Value(), &m) != nil {
			delete(v.members, name)
			return
		}
		v.members[name] = seen{m, now}
		return
	}
	number, ok := strings.CutPrefix(e.Key(), leaseKey)
	n, err := strconv.Atoi(number)
	if !ok || err != nil {
		return
	}
	var l lease
	if e.Operation() == jetstream.KeyValuePut {
		if json.Unmarshal(e.Value(), &l) != nil {
			l = lease{}
		}
	}
	v.leases[n], v.at[n] = l, e.Revision()
}

// alive says that a worker was heard of lately.
func (v *view) alive(name string, now time.Time, within time.Duration) bool {
	m, ok := v.members[name]
	return ok && now.Sub(m.at) < within
}

// owner is who is to have a partition, by rendezvous hashing: of all that work the one whose hash with it is the highest.
// So who comes or goes moves no partitions but its own.
func (v *view) owner(partition int, now time.Time, within time.Duration) (best string) {
	var most uint64
	for name, m := range v.members {
		if m.Leaving || now.Sub(m.at) >= within {
			continue
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(name + "/" + strconv.Itoa(partition)))
		score := h.Sum64() * 0x9e3779b97f4a7c15
		score ^= score >> 29
		if best == "" || score > most || score == most && name < best {
			best, most = name, score
		}
	}
	return best
}

// Run owns partitions and judges them until ctx ends; then it hands them over, each with a checkpoint, within ten seconds.
// What fails on the way is told and tried again.
func (w *Worker) Run(ctx context.Context) error {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var beats sync.WaitGroup
	beating, silent := context.WithCancel(working)
	var leaving atomic.Bool
	beats.Go(func() {
		guard.Loop(beating, "the heartbeat of a worker", func(ctx context.Context) { w.beat(ctx, &leaving) })
	})
	defer beats.Wait()
	defer silent()

	var parts sync.WaitGroup
	for ctx.Err() == nil {
		if err := w.follow(ctx, working, &parts); err != nil && ctx.Err() == nil {
			w.report("the owners of partitions", "partitions stay where they are", err)
			_ = wait.Sleep(ctx, 200*time.Millisecond) // ends with ctx, as the loop does
		}
	}
	leaving.Store(true)
	w.hello(working, &leaving)
	w.mu.Lock()
	for _, h := range w.held {
		h.leave()
	}
	w.mu.Unlock()
	late, cancel := context.WithTimeout(working, 10*time.Second)
	defer cancel()
	if guard.Join(late, &parts) != nil {
		stop()
		parts.Wait()
	}
	silent()
	beats.Wait()
	limited, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer done()
	_ = w.bus.owners.Delete(limited, memberKey+w.config.Name) // else it is forgotten a moment later
	return nil
}

func (h *holding) leave() {
	if !h.leaving {
		h.leaving = true
		close(h.release)
	}
}

// beat says that the worker is there, until ctx ends.
func (w *Worker) beat(ctx context.Context, leaving *atomic.Bool) {
	w.hello(ctx, leaving)
	wait.Tick(ctx, w.config.Lease/5, func(time.Time) { w.hello(ctx, leaving) })
}

func (w *Worker) hello(ctx context.Context, leaving *atomic.Bool) {
	data, err := json.Marshal(member{Beat: uint64(time.Now().UnixNano()), Leaving: leaving.Load()})
	if err != nil {
		return
	}
	limited, cancel := context.WithTimeout(ctx, w.config.Lease)
	defer cancel()
	if _, err := w.bus.owners.Put(limited, memberKey+w.config.Name, data); err != nil && ctx.Err() == nil {
		w.report("the heartbeat of this worker", "its partitions go to others", err)
		return
	}
	w.report("the heartbeat of this worker", "", nil)
}

// follow watches who owns what, and takes and gives up partitions, until ctx ends or the watch fails.
func (w *Worker) follow(ctx, working context.Context, parts *sync.WaitGroup) error {
	watch, err := w.bus.owners.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = watch.Stop() }()
	v := view{members: make(map[string]seen), leases: make(map[int]lease), at: make(map[int]uint64), began: time.Now()}
	tick := time.NewTicker(w.config.Lease / 5)
	defer tick.Stop()
	look := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-watch.Updates():
			switch {
			case !ok:
				return errors.New("the watch ended")
			case e == nil:
				v.ready = true
			default:
				v.take(e, time.Now())
				look = look || strings.HasPrefix(e.Key(), leaseKey)
			}
		case <-w.changed:
			look = true
		case <-tick.C:
			look = true
		}
		if look && v.ready {
			look = false
			w.balance(ctx, working, &v, parts)
		}
	}
}

// balance takes what is this worker's and nobody else's any more, and gives up what is another's.
func (w *Worker) balance(ctx, working context.Context, v *view, parts *sync.WaitGroup) {
	now, within := time.Now(), w.config.Lease
	for name, m := range v.members { // those that died leave their names
		if now.Sub(m.at) > 20*within && name != w.config.Name {
			delete(v.members, name)
			_ = w.bus.owners.Delete(ctx, memberKey+name)
		}
	}
	for n := range w.bus.Config.Partitions {
		want := v.owner(n, now, within)
		is := v.leases[n].Owner
		w.mu.Lock()
		h := w.held[n]
		if h != nil && want != w.config.Name && want != "" {
			h.leave()
		}
		w.mu.Unlock()
		switch {
		case h != nil || want != w.config.Name:
			continue
		case is != "" && is != w.config.Name && v.alive(is, now, within):
			continue // it is about to give it up
		case is != "" && is != w.config.Name && now.Sub(v.began) < within:
			continue // it may be there all the same: it was not listened to for long enough
		}
		w.acquire(ctx, working, v, n, parts)
	}
}

// acquire takes the lease of a partition and judges it.
func (w *Worker) acquire(ctx, working context.Context, v *view, n int, parts *sync.WaitGroup) {
	data, err := json.Marshal(lease{w.config.Name})
	if err != nil {
		return
	}
	limited, cancel := context.WithTimeout(ctx, w.config.Lease)
	defer cancel()
	revision, err := w.bus.owners.Update(limited, leaseKey+strconv.Itoa(n), data, v.at[n])
	if err != nil {
		return // another one was faster, or it is tried again
	}
	v.leases[n], v.at[n] = lease{w.config.Name}, revision
	h := &holding{release: make(chan struct{}), revision: revision}
	w.mu.Lock()
	w.held[n] = h
	w.mu.Unlock()
	parts.Go(func() {
		err := guard.Call(fmt.Sprintf("partition %d", n), func() error { return w.judge(working, n, h) })
		w.let(working, n, h, err)
	})
}

// judge judges a partition until it is released, or fails.
func (w *Worker) judge(ctx context.Context, n int, h *holding) error {
	p := &partition{
		worker: w, number: n, release: h.release, feeds: make(map[string]*intake.Feed),
		state:  &checkpoints{bus: w.bus, partition: n, owner: w.config.Name},
		teller: &teller{bus: w.bus, owner: w.config.Name, subject: subjectOf(marksSubject, n), slots: w.slots},
	}
	return p.run(ctx)
}

// let gives a lease up.
func (w *Worker) let(ctx context.Context, n int, h *holding, err error) {
	if err != nil && !errors.Is(err, errFenced) && ctx.Err() == nil {
		w.report(fmt.Sprintf("partition %d", n), "its readings wait until it is judged again, here or elsewhere", err)
		_ = wait.Sleep(ctx, time.Second) // it is given up all the same
	} else if err == nil {
		w.report(fmt.Sprintf("partition %d", n), "", nil)
	}
	if data, wrong := json.Marshal(lease{}); wrong == nil {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		_, _ = w.bus.owners.Update(limited, leaseKey+strconv.Itoa(n), data, h.revision) // it may be another's already
		cancel()
	}
	w.mu.Lock()
	delete(w.held, n)
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}
