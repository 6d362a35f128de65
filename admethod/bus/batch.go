// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Batch is a message of the stream of readings: what one origin brought for one partition. One without readings only says
// that time goes by.
type Batch struct {
	Publisher string // a process
	Number    uint64 // ascending among the batches of that publisher for that partition, from 1
	Origin    string // the source
	Readings  []source.Reading
}

const (
	batchVersion = 1
	mostReadings = 512       // of a batch that is written
	mostBytes    = 512 << 10 // likewise, after which no reading is added
	mostRead     = 1 << 16   // of a batch that is read
)

// What stands before a reading.
const (
	number = iota
	text
	finding
	gone
	past = 1 << 4
)

// Partition is where the readings of a series go: of a property that is scored alone by its device, of a group by its name,
// so that rows of a group meet.
func Partition(key driver.Key, group string, partitions int) int {
	h := fnv.New64a()
	_, _ = io.WriteString(h, key.Namespace)
	if group != "" {
		_, _ = io.WriteString(h, "/group/"+group)
	} else {
		_, _ = io.WriteString(h, "/device/"+key.Device)
	}
	return int(h.Sum64() % uint64(partitions))
}

// encoder writes batches; it remembers how properties are written.
type encoder struct {
	blobs map[*source.Property]string
	index map[driver.Key]int
	keys  []byte
}

// property is what is known of a property, in JSON; "" is nothing.
func (e *encoder) property(p *source.Property) (string, error) {
	if p == nil {
		return "", nil
	}
	if blob, ok := e.blobs[p]; ok {
		return blob, nil
	}
	blob, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	if e.blobs == nil || len(e.blobs) > 100_000 {
		e.blobs = make(map[*source.Property]string)
	}
	e.blobs[p] = string(blob)
	return string(blob), nil
}

// append appends a batch to data with as many of its readings as fit, at least one; n says how many.
func (e *encoder) append(data []byte, b *Batch) (_ []byte, n int, err error) {
	clear(e.index)
	if e.index == nil {
		e.index = make(map[driver.Key]int)
	}
	e.keys = e.keys[:0]
	var body []byte
	var last int64
	var about map[driver.Key]*source.Property
	for n < len(b.Readings) && n < mostReadings && (n == 0 || len(e.keys)+len(body) < mostBytes) {
		r := &b.Readings[n]
		i, known := e.index[r.Key]
		if known && about[r.Key] != r.Property {
			break // what is known of it has changed: the next batch says so
		}
		if !known {
			blob, err := e.property(r.Property)
			if err != nil {
				return data, n, fmt.Errorf("%s: %w", r.Key, err)
			}
			i = len(e.index)
			e.index[r.Key] = i
			if about == nil {
				about = make(map[driver.Key]*source.Property)
			}
			about[r.Key] = r.Property
			for _, part := range [...]string{r.Key.Namespace, r.Key.Device, r.Key.Property, blob} {
				e.keys = appendText(e.keys, part)
			}
		}
		body = binary.AppendUvarint(body, uint64(i))
		kind := byte(number)
		switch {
		case r.Gone:
			kind = gone
		case r.Finding != nil:
			kind = finding
		case r.Text != "":
			kind = text
		}
		mark := kind
		if r.Past {
			mark |= past
		}
		body = append(body, mark)
		if kind != gone {
			at := r.At.UnixNano()
			body = binary.AppendVarint(body, at-last)
			last = at
		}
		switch kind {
		case number:
			body = binary.LittleEndian.AppendUint64(body, math.Float64bits(r.Value))
		case text:
			body = appendText(body, r.Text)
		case finding:
			body = appendText(body, string(r.Finding.Kind))
			body = binary.LittleEndian.AppendUint64(body, math.Float64bits(r.Finding.Strength))
			body = appendText(body, r.Finding.Message)
		}
		n++
	}
	data = append(data, batchVersion)
	data = appendText(data, b.Publisher)
	data = binary.AppendUvarint(data, b.Number)
	data = appendText(data, b.Origin)
	data = binary.AppendUvarint(data, uint64(len(e.index)))
	data = append(data, e.keys...)
	data = binary.AppendUvarint(data, uint64(n))
	return append(data, body...), n, nil
}

func appendText(data []byte, s string) []byte {
	return append(binary.AppendUvarint(data, uint64(len(s))), s...)
}

// subject is a property with what is known of it. Readings of one that did not change share it.
type subject struct {
	key   driver.Key
	about *source.Property
}

// decoder reads batches; properties that it has read before are the same ones again.
type decoder struct {
	known map[string]subject
	used  []subject
}

var errShort = errors.New("it ends too early")

// cursor reads a message from its front; after an error all is zero.
type cursor struct {
	data []byte
	err  error
}

func (c *cursor) uint(most uint64) uint64 {
	v, n := binary.Uvarint(c.data)
	if n <= 0 || v > most {
		c.fail(fmt.Errorf("a number: want one up to %d", most))
		return 0
	}
	c.data = c.data[n:]
	return v
}

func (c *cursor) int() int64 {
	v, n := binary.Varint(c.data)
	if n <= 0 {
		c.fail(errShort)
		return 0
	}
	c.data = c.data[n:]
	return v
}

func (c *cursor) bytes(n uint64) []byte {
	if n > uint64(len(c.data)) {
		c.fail(errShort)
		return nil
	}
	taken := c.data[:n]
	c.data = c.data[n:]
	return taken
}

func (c *cursor) text() string { return string(c.bytes(c.uint(math.MaxInt32))) }

func (c *cursor) float() float64 {
	b := c.bytes(8)
	if len(b) < 8 {
		return 0
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(b))
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.data = nil
}

// decode reads a message. The batch shares no memory with it.
func (d *decoder) decode(data []byte, b *Batch) error {
	c := cursor{data: data}
	if version := c.bytes(1); c.err == nil && version[0] != batchVersion {
		return fmt.Errorf("batch of readings: version %d: want %d", version[0], batchVersion)
	}
	b.Publisher, b.Number, b.Origin = c.text(), c.uint(math.MaxUint64), c.text()
	d.used = d.used[:0]
	for range c.uint(mostRead) {
		if c.err != nil {
			break
		}
		s, err := d.subject(&c)
		if err != nil {
			return fmt.Errorf("batch of readings: %w", err)
		}
		d.used = append(d.used, s)
	}
	b.Readings = b.Readings[:0]
	var last int64
	for range c.uint(mostRead) {
		i := c.uint(uint64(max(len(d.used), 1) - 1))
		mark := c.bytes(1)
		if c.err != nil || len(d.used) == 0 {
			c.fail(errShort)
			break
		}
		r := source.Reading{Key: d.used[i].key, Property: d.used[i].about, Past: mark[0]&past != 0}
		kind := mark[0] &^ past
		if kind != gone {
			last += c.int()
			r.At = time.Unix(0, last).UTC()
		}
		switch kind {
		case number:
			r.Value = c.float()
		case text:
			r.Text = c.text()
		case finding:
			r.Finding = &source.Finding{Kind: driver.Kind(c.text()), Strength: c.float(), Message: c.text()}
		case gone:
			r.Gone, r.Property = true, nil
		default:
			c.fail(fmt.Errorf("a reading of kind %d", kind))
		}
		b.Readings = append(b.Readings, r)
	}
	if c.err == nil && len(c.data) > 0 {
		c.fail(fmt.Errorf("%d bytes are left over", len(c.data)))
	}
	if c.err != nil {
		return fmt.Errorf("batch of readings: %w", c.err)
	}
	return nil
}

// subject reads a property, or finds it among those that were read before.
func (d *decoder) subject(c *cursor) (s subject, err error) {
	before := c.data
	key := driver.Key{Namespace: c.text(), Device: c.text(), Property: c.text()}
	blob := c.bytes(c.uint(math.MaxInt32))
	if c.err != nil {
		return s, c.err
	}
	name := string(before[:len(before)-len(c.data)])
	if known, ok := d.known[name]; ok {
		return known, nil
	}
	s.key = driver.Key{Namespace: strings.Clone(key.Namespace), Device: strings.Clone(key.Device), Property: strings.Clone(key.Property)}
	if len(blob) > 0 {
		s.about = new(source.Property)
		if err := json.Unmarshal(blob, s.about); err != nil {
			return s, fmt.Errorf("%s: %w", key, err)
		}
	}
	if d.known == nil || len(d.known) > 1<<18 {
		d.known = make(map[string]subject)
	}
	d.known[name] = s
	return s, nil
}
