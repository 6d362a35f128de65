// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/kubeedge/edge-anomaly/proto/sparkplug"
)

// sparkplugRoot begins the topics of Sparkplug B: spBv1.0/group/type/node, or with a device behind it.
const sparkplugRoot = "spBv1.0"

// sparkplug knows what the metrics of edge nodes are, which they say in their birth certificates alone. What it finds is
// named as in section 6.4 of the Eclipse Sparkplug Specification 3.0.0.
type sparkplug struct {
	most  int // metrics and nodes that are known at once
	known int
	nodes map[string]*edgeNode
}

// edgeNode is an edge node, with its devices.
type edgeNode struct {
	born    bool
	session uint64 // bdSeq of the birth certificate, which its death certificate repeats
	seq     uint64
	aliases map[uint64]metric            // of the node and its devices
	types   map[string]map[string]metric // by device and name, of metrics without an alias
	asked   time.Time
}

type metric struct {
	device, name string
	dataType     uint32
	unit         string
}

// rebirthEvery is how often an edge node is asked for its birth certificates.
const rebirthEvery = time.Minute

// origin is what a topic of Sparkplug B says.
type origin struct{ group, kind, node, device string }

// parse reads a topic. STATE messages of hosts are none of its business.
func (o *origin) parse(topic string) bool {
	rest, ok := strings.CutPrefix(topic, sparkplugRoot+"/")
	levels := strings.Split(rest, "/")
	if !ok || len(levels) < 3 || len(levels) > 4 {
		return false
	}
	*o = origin{group: levels[0], kind: levels[1], node: levels[2]}
	if len(levels) == 4 {
		o.device = levels[3]
	}
	device := o.device != ""
	switch o.kind {
	case "NBIRTH", "NDATA", "NDEATH":
		return !device && o.group != "" && o.node != ""
	case "DBIRTH", "DDATA", "DDEATH":
		return device && o.group != "" && o.node != ""
	}
	return false
}

// id is the name of the node.
func (o *origin) id() string { return o.group + "/" + o.node }

// decode reads a message. rebirth says that the node is to be asked for its birth certificates, as something of them was
// missed; errors are those of single metrics, the others are found all the same.
func (s *sparkplug) decode(o *origin, payload []byte, now time.Time) (found []value, rebirth bool, err error) {
	var message pb.Payload
	if err := proto.Unmarshal(payload, &message); err != nil {
		return nil, false, fmt.Errorf("want a payload of Sparkplug B: %w", err)
	}
	node := s.nodes[o.id()]
	if node == nil {
		if s.known >= s.most {
			s.forgetDead()
		}
		if s.known >= s.most {
			return nil, false, fmt.Errorf("edge node %.100s: more metrics than the key series allows, %d", o.id(), s.most)
		}
		node = &edgeNode{aliases: make(map[uint64]metric), types: make(map[string]map[string]metric)}
		if s.nodes == nil {
			s.nodes = make(map[string]*edgeNode)
		}
		s.nodes[o.id()] = node
		s.known++
	}
	switch o.kind {
	case "NDEATH":
		if node.session == session(&message) { // else of a session before this one, which the broker found dead only now
			s.forget(node)
			node.born = false
		}
		return nil, false, nil
	case "DDEATH":
		return nil, node.ask(!node.next(message.Seq), now), nil
	case "NBIRTH":
		s.forget(node)
		node.born, node.session, node.seq, node.asked = true, session(&message), message.GetSeq(), time.Time{}
	default:
		rebirth = !node.next(message.Seq)
	}
	var errs []error
	for _, m := range message.GetMetrics() {
		what, known := s.metric(node, o, m, &errs)
		if !known {
			rebirth = true
			continue
		}
		if skipped(what.name) {
			continue
		}
		v := value{name: what.name, unit: what.unit}
		switch keep, err := v.metric(m, what.dataType); {
		case err != nil:
			errs = append(errs, fmt.Errorf("metric %.100q: %w", what.name, err))
			continue
		case !keep:
			continue
		}
		stamp := m.GetTimestamp()
		if stamp == 0 {
			stamp = message.GetTimestamp()
		}
		if stamp > latestMilli {
			errs = append(errs, fmt.Errorf("metric %.100q: timestamp %d: want milliseconds since 1970", what.name, stamp))
			continue
		}
		if stamp != 0 {
			v.at = time.UnixMilli(int64(stamp)).UTC()
		}
		found = append(found, v)
	}
	return found, node.ask(rebirth, now), errors.Join(errs...)
}

// latestMilli is the end of the year 9999.
const latestMilli = 253402300799999

// skipped reports whether a metric is of the protocol itself.
func skipped(name string) bool {
	return name == "" || name == "bdSeq" || strings.HasPrefix(name, "Node Control/") || strings.HasPrefix(name, "Device Control/")
}

// next takes the sequence number of a message, and reports whether it is the one that was to come.
func (n *edgeNode) next(seq *uint64) bool {
	if !n.born {
		return false
	}
	if seq == nil {
		return true
	}
	want := (n.seq + 1) % 256
	n.seq = *seq
	return *seq == want
}

// ask reports whether to ask for birth certificates now.
func (n *edgeNode) ask(want bool, now time.Time) bool {
	if !want || !n.asked.IsZero() && now.Sub(n.asked) < rebirthEvery && !now.Before(n.asked) {
		return false
	}
	n.asked = now
	return true
}

// forget forgets the metrics of a node.
func (s *sparkplug) forget(n *edgeNode) {
	s.known -= len(n.aliases)
	for _, of := range n.types {
		s.known -= len(of)
	}
	clear(n.aliases)
	clear(n.types)
}

// forgetDead forgets nodes without a birth certificate.
func (s *sparkplug) forgetDead() {
	for id, n := range s.nodes {
		if !n.born {
			s.forget(n)
			delete(s.nodes, id)
			s.known--
		}
	}
}

// session is the number of the session that a certificate of a node is of.
func session(message *pb.Payload) uint64 {
	for _, m := range message.GetMetrics() {
		if m.GetName() == "bdSeq" {
			return m.GetLongValue() + uint64(m.GetIntValue())
		}
	}
	return 0
}

// metric finds out which one a message means, and learns it from a birth certificate.
func (s *sparkplug) metric(n *edgeNode, o *origin, m *pb.Metric, errs *[]error) (what metric, known bool) {
	if birth := o.kind == "NBIRTH" || o.kind == "DBIRTH"; birth {
		what = metric{device: o.device, name: m.GetName(), dataType: m.GetDatatype(), unit: unit(m.GetProperties())}
		_, again := n.aliases[m.GetAlias()]
		if m.Alias == nil {
			_, again = n.types[o.device][what.name]
		}
		if !again {
			if s.known >= s.most {
				*errs = append(*errs, fmt.Errorf("metric %.100q: more metrics than the key series allows, %d", what.name, s.most))
				return what, true // its value of now is one all the same
			}
			s.known++
		}
		if m.Alias != nil {
			n.aliases[m.GetAlias()] = what
			return what, true
		}
		of := n.types[o.device]
		if of == nil {
			of = make(map[string]metric)
			n.types[o.device] = of
		}
		of[what.name] = what
		return what, true
	}
	if m.Alias != nil {
		if what, known = n.aliases[m.GetAlias()]; known {
			known = what.device == o.device
			return what, known
		}
	}
	if m.Name == nil {
		return what, false
	}
	if what, known = n.types[o.device][m.GetName()]; known {
		return what, true
	}
	// Of a birth that was missed. The type that the message may carry is enough.
	return metric{device: o.device, name: m.GetName(), dataType: m.GetDatatype()}, m.Datatype != nil
}

// The data types of metrics, section 6.4.16.
const (
	typeInt8     = 1
	typeInt16    = 2
	typeInt32    = 3
	typeInt64    = 4
	typeBoolean  = 11
	typeDateTime = 13
	typeUUID     = 15
)

// The quality of a metric, section 6.4.12: what is neither good nor stale could not be taken.
const (
	qualityGood  = 192
	qualityStale = 500
)

// metric takes the value of a metric. keep is false for one that is none: null, stale, or of a type that is no reading.
func (v *value) metric(m *pb.Metric, dataType uint32) (keep bool, err error) {
	if m.GetIsNull() {
		return false, nil
	}
	if m.Datatype != nil && m.GetDatatype() != 0 {
		dataType = m.GetDatatype()
	}
	switch quality, told := property(m.GetProperties(), "Quality"); {
	case !told || quality.GetIntValue() == qualityGood:
	case quality.GetIntValue() == qualityStale:
		return false, nil
	default:
		v.number = math.NaN()
		return true, nil
	}
	switch x := m.GetValue().(type) {
	case *pb.Metric_IntValue:
		switch dataType {
		case typeInt8:
			v.number = float64(int8(x.IntValue))
		case typeInt16:
			v.number = float64(int16(x.IntValue))
		case typeInt32:
			v.number = float64(int32(x.IntValue))
		default:
			v.number = float64(x.IntValue)
		}
		v.dataType = "int"
	case *pb.Metric_LongValue:
		if dataType == typeDateTime {
			return false, nil
		}
		if v.number = float64(x.LongValue); dataType == typeInt64 {
			v.number = float64(int64(x.LongValue))
		}
		v.dataType = "int"
	case *pb.Metric_FloatValue:
		// The decimal that was meant, not its neighbour in binary.
		v.number, err = strconv.ParseFloat(strconv.FormatFloat(float64(x.FloatValue), 'g', -1, 32), 64)
		v.dataType = "float"
		return true, err
	case *pb.Metric_DoubleValue:
		v.number, v.dataType = x.DoubleValue, "double"
	case *pb.Metric_BooleanValue:
		if v.dataType = "boolean"; x.BooleanValue {
			v.number = 1
		}
	case *pb.Metric_StringValue:
		if dataType == typeUUID || x.StringValue == "" {
			return false, nil
		}
		if err := v.set(x.StringValue); err != nil {
			return false, err
		}
		if v.text != "" {
			v.dataType = "string"
		}
	case nil:
		return false, errors.New("no value: sets of rows, templates, files and arrays are not read")
	}
	return true, nil
}

func property(set *pb.PropertySet, key string) (*pb.PropertyValue, bool) {
	for i, k := range set.GetKeys() {
		if k == key && i < len(set.GetValues()) && !set.GetValues()[i].GetIsNull() {
			return set.GetValues()[i], true
		}
	}
	return nil, false
}

func unit(set *pb.PropertySet) string {
	p, _ := property(set, "engUnit")
	if text := p.GetStringValue(); len(text) <= 64 {
		return strings.ToValidUTF8(text, "")
	}
	return ""
}

// rebirthRequest is the command to an edge node to publish its birth certificates.
func rebirthRequest(now time.Time) ([]byte, error) {
	stamp := uint64(now.UnixMilli())
	return proto.Marshal(&pb.Payload{Timestamp: &stamp, Metrics: []*pb.Metric{{
		Name: proto.String("Node Control/Rebirth"), Timestamp: &stamp, Datatype: proto.Uint32(typeBoolean), Value: &pb.Metric_BooleanValue{BooleanValue: true},
	}}})
}
