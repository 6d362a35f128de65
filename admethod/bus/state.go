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
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/driver"
)

// point is a checkpoint of a partition: what whoever goes on with it begins with.
type point struct {
	Seq        uint64            `json:"seq"`     // of the last message of readings that is in it
	Objects    []object          `json:"objects"` // with the state of all series, later ones over earlier ones
	Now        int64             `json:"now"`     // by the stream's clock, Unix ns
	Resumed    int64             `json:"resumed"`
	Publishers map[string]uint64 `json:"publishers"` // number of the last batch of each
	Owner      string            `json:"owner"`
	Epoch      uint64            `json:"epoch"` // of owners, ascending
	Written    int               `json:"written"`
}

type object struct {
	Name   string `json:"name"`
	Size   int    `json:"size"` // unpacked
	Pieces int    `json:"pieces"`
}

// mostObjects is after how many parts of a checkpoint it is written as a whole.
const mostObjects = 24

const forEver = 1<<63 - 1

// fedRecord is the ID of the record that has the series which are open.
const fedRecord = "\x00fed"

// checkpoints are those of one partition. It is an [inprocess.Store]: what the adapter saves is kept with the next
// checkpoint, as far as it changed since the last one.
type checkpoints struct {
	bus       *Bus
	partition int
	owner     string

	point    point
	revision uint64 // of the point in its bucket; 0 where there is none
	parked   map[string]inprocess.Record
	fed      map[string][]intake.Fed // by origin

	sums   map[string]uint64 // what is kept of each stream
	sizes  map[string]int
	staged []inprocess.Record
	swept  bool
}

func (c *checkpoints) key() string { return "p." + strconv.Itoa(c.partition) }

// claim reads the last checkpoint and writes it anew as the owner's, so that no other owner writes one.
func (c *checkpoints) claim(ctx context.Context) error {
	return patiently(ctx, func(ctx context.Context) error {
		c.point, c.revision = point{}, 0
		entry, err := c.bus.points.Get(ctx, c.key())
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
		case err != nil:
			return err
		default:
			if err := json.Unmarshal(entry.Value(), &c.point); err != nil {
				return stop{fmt.Errorf("checkpoint %s: %w", c.key(), err)}
			}
			c.revision = entry.Revision()
		}
		next := c.point
		next.Owner = c.owner
		next.Epoch++
		next.Written = 0
		return c.put(ctx, next)
	})
}

// put writes the point, if nobody has since this owner did.
func (c *checkpoints) put(ctx context.Context, next point) error {
	data, err := json.Marshal(next)
	if err != nil {
		return err
	}
	revision, err := c.bus.points.Update(ctx, c.key(), data, c.revision) // revision 0: there is none
	if err != nil {
		return err
	}
	c.point, c.revision = next, revision
	return nil
}

// load reads the state that the checkpoint consists of.
func (c *checkpoints) load(ctx context.Context) error {
	c.parked, c.sums, c.sizes = make(map[string]inprocess.Record), make(map[string]uint64), make(map[string]int)
	for _, o := range c.point.Objects {
		var packed []byte
		err := patiently(ctx, func(ctx context.Context) (err error) {
			packed, err = c.bus.kept(ctx, o.Name, o.Pieces)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return stop{err}
			}
			return err
		})
		if err != nil {
			return err
		}
		data, err := s2.Decode(nil, packed)
		if err != nil {
			return fmt.Errorf("state %s: %w", o.Name, err)
		}
		records, err := inprocess.DecodeRecords(data, time.Now(), forEver)
		if err != nil {
			return fmt.Errorf("state %s: %w", o.Name, err)
		}
		maps.Copy(c.parked, records)
	}
	for id, rec := range c.parked {
		c.sums[id] = sum(&rec)
		c.sizes[id] = len(rec.State) + len(rec.Stages)
	}
	if rec, ok := c.parked[fedRecord]; ok {
		delete(c.parked, fedRecord)
		if err := json.Unmarshal(rec.State, &c.fed); err != nil {
			return fmt.Errorf("state of %s: %w", c.key(), err)
		}
	}
	return nil
}

// sum tells states apart.
func sum(rec *inprocess.Record) uint64 {
	h := fnv.New64a()
	for _, part := range [][]byte{[]byte(rec.Detector), {0}, []byte(rec.Model), {0}, rec.State, {0}, rec.Stages} {
		_, _ = h.Write(part)
	}
	return h.Sum64()
}

// Open implements [inprocess.Store].
func (c *checkpoints) Open() {}

// Close implements [inprocess.Store].
func (c *checkpoints) Close() error { return nil }

// String says where the state is.
func (c *checkpoints) String() string {
	return "stream " + StateStream + ", partition " + strconv.Itoa(c.partition)
}

// Load implements [inprocess.Store].
func (c *checkpoints) Load(time.Duration) (map[string]inprocess.Record, int64, error) {
	records := c.parked
	c.parked = nil
	if records == nil {
		records = make(map[string]inprocess.Record)
	}
	return records, int64(c.point.Epoch), nil
}

// Save implements [inprocess.Store]: it stages records for the next checkpoint.
func (c *checkpoints) Save(records []inprocess.Record, missing map[string]struct{}, _ time.Time, _ time.Duration) error {
	c.staged = nil
	if len(missing) > 0 {
		return fmt.Errorf("checkpoint: the state of %d streams was not to be had", len(missing))
	}
	c.staged = records
	return nil
}

// write makes a checkpoint of what is staged and next, which says all but the objects. It returns the bytes that it wrote.
func (c *checkpoints) write(ctx context.Context, next point, fed map[string][]intake.Fed) (written int, err error) {
	records := c.staged
	c.staged = nil
	open, err := json.Marshal(fed)
	if err != nil {
		return 0, err
	}
	records = append(records, inprocess.Record{ID: fedRecord, State: open})
	size, kept := 0, 0
	var changed []inprocess.Record
	for i := range records {
		rec := &records[i]
		size += len(rec.State) + len(rec.Stages)
		if s, ok := c.sums[rec.ID]; !ok || s != sum(rec) {
			changed = append(changed, *rec)
		}
	}
	for _, n := range c.sizes {
		kept += n
	}
	// What is no more, and what was written over, is left behind when all is written anew.
	whole := len(c.point.Objects) >= mostObjects || kept > 2*size+1<<16
	total := 0
	for _, o := range c.point.Objects {
		total += o.Size
	}
	if whole = whole || total > 3*size+1<<16; whole {
		changed = records
	}
	next.Objects = slices.Clone(c.point.Objects)
	if whole {
		next.Objects = nil
	}
	next.Owner, next.Epoch, next.Written = c.owner, c.point.Epoch, c.point.Written+1
	if len(changed) > 0 {
		slices.SortFunc(changed, func(x, y inprocess.Record) int { return cmp.Compare(x.ID, y.ID) })
		var data []byte
		now := time.Now()
		for i := range changed {
			if data, err = inprocess.AppendRecord(data, &changed[i], now); err != nil {
				return 0, err
			}
		}
		packed := s2.Encode(nil, data)
		// Another name for each try: one that failed may have been taken all the same.
		name := strconv.Itoa(c.partition) + "." + strconv.FormatUint(next.Epoch, 10) + "-" + nuid.Next()
		pieces, err := c.bus.keep(ctx, name, packed)
		if err != nil {
			return 0, err
		}
		written = len(packed)
		next.Objects = append(next.Objects, object{name, len(data), pieces})
	}
	before := c.point.Objects
	if err := c.put(ctx, next); err != nil {
		return written, fmt.Errorf("checkpoint %s: %w", c.key(), err)
	}
	if whole {
		clear(c.sums)
		clear(c.sizes)
	}
	for i := range changed {
		c.sums[changed[i].ID] = sum(&changed[i])
		c.sizes[changed[i].ID] = len(changed[i].State) + len(changed[i].Stages)
	}
	return written, c.sweep(ctx, before)
}

// sweep deletes objects that no checkpoint has any more. An owner looks once for those that others left.
func (c *checkpoints) sweep(ctx context.Context, before []object) error {
	keep := make(map[string]bool)
	for _, o := range c.point.Objects {
		keep[o.Name] = true
	}
	var errs []error
	drop := func(name string) {
		if keep[name] {
			return
		}
		errs = append(errs, c.bus.drop(ctx, name))
	}
	for _, o := range before {
		drop(o.Name)
	}
	if !c.swept {
		c.swept = true
		all, err := c.bus.objects(ctx, c.partition)
		errs = append(errs, err)
		for name := range all {
			drop(name)
		}
	}
	return errors.Join(errs...)
}

// known are the properties that are open, for the decoder: readings of them are to have the same ones.
func (c *checkpoints) known(d *decoder) {
	var e encoder
	d.known = make(map[string]subject)
	for _, fed := range c.fed {
		for _, f := range fed {
			blob, err := e.property(f.Property)
			if err != nil {
				continue
			}
			var name []byte
			for _, part := range [...]string{f.Key.Namespace, f.Key.Device, f.Key.Property, blob} {
				name = appendText(name, part)
			}
			d.known[string(name)] = subject{driver.Key{Namespace: f.Key.Namespace, Device: f.Key.Device, Property: f.Key.Property}, f.Property}
		}
	}
}
