// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
)

// A property whose source names a predicted metric is shown by it too, with the labels of its source, so that PromQL joins
// what is expected with what is: name{labels, value_type="yhat"}. The names of value_type are those of the detectors for
// Prometheus that came before, whose dashboards and rules go on to work.

// valueType is the label that tells the series of a predicted metric apart.
const valueType = "value_type"

const predictedHelp = "What is expected of the series with these labels, and how unusual it is: value_type is yhat, yhat_lower, yhat_upper, anomaly (0 or 1) or score (0 to 1)."

const riskPredicted = "the predicted metric of the property that is named is not shown"

// predicted is the metric of one property.
type predicted struct {
	about  admethod.About
	desc   *prometheus.Desc
	values []string // of labels, with room for that of valueType
	id     string   // no two may have one
}

func newPredicted(about admethod.About) (*predicted, error) {
	if !promapi.MetricName(about.Predicted) || own(about.Predicted) {
		return nil, fmt.Errorf("predicted metric %q: want a name of letters, digits, _ and : that is none of this sink's own", about.Predicted)
	}
	p := &predicted{about: about, id: about.Predicted}
	var names []string
	for _, original := range slices.Sorted(maps.Keys(about.Labels)) {
		name, value := labelName(original), label(about.Labels[original])
		if original == "__name__" || value == "" || slices.Contains(names, name) {
			continue
		}
		names, p.values = append(names, name), append(p.values, value)
		p.id += fmt.Sprintf(" %s=%q", name, value)
	}
	p.desc, p.values = prometheus.NewDesc(about.Predicted, predictedHelp, append(names, valueType), nil), append(p.values, "")
	return p, nil
}

// own reports whether a metric of this sink may have the name.
func own(name string) bool {
	return name == "yhat" || name == "yhat_lower" || name == "yhat_upper" || name == "anomaly" ||
		strings.HasPrefix(name, "anomaly_") || strings.HasPrefix(name, "edge_anomaly_")
}

// labelName is a name that every version of Prometheus takes for a label.
func labelName(text string) string {
	name := strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, text)
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	if name == valueType || strings.HasPrefix(name, "__") {
		return "exported_" + strings.TrimLeft(name, "_")
	}
	return name
}

// collect shows the property.
func (p *predicted) collect(ch chan<- prometheus.Metric, v *shown) {
	show := func(kind string, value float64) {
		if math.IsNaN(value) {
			return
		}
		p.values[len(p.values)-1] = kind
		ch <- prometheus.MustNewConstMetric(p.desc, prometheus.GaugeValue, value, p.values...)
	}
	show("yhat", v.expected)
	show("yhat_lower", v.lower)
	show("yhat_upper", v.upper)
	show("anomaly", v.anomaly())
	show("score", v.score)
}

// predictions are the predicted metrics of a collector, whose names are not known from the start.
type predictions struct{ *collector }

// Describe implements prometheus.Collector: it tells nothing, which is the way of a collector that does not know yet.
func (predictions) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c predictions) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.latest {
		if v.predicted != nil {
			v.predicted.collect(ch, &v)
		}
	}
}

// predict finds the predicted metric of a property, nil where it has none. It needs c.mu.
func (c *collector) predict(key, labels driver.Key, before *predicted) *predicted {
	about := c.about(key)
	if before != nil {
		if before.about.Predicted == about.Predicted && maps.Equal(before.about.Labels, about.Labels) {
			return before
		}
		delete(c.owners, before.id)
	}
	if about.Predicted == "" {
		c.hidden(labels, nil)
		return nil
	}
	p, err := newPredicted(about)
	if err == nil {
		if other, taken := c.owners[p.id]; taken {
			err = fmt.Errorf("predicted metric %s: %s has the labels of %s: want another name for one of them", about.Predicted, key, other)
		}
	}
	if c.hidden(labels, err); err != nil {
		return nil // one series twice would spoil the whole scrape
	}
	c.owners[p.id] = labels
	return p
}

// hidden tells why a predicted metric is not shown; a nil error is that all is well with it. It needs c.mu.
func (c *collector) hidden(key driver.Key, err error) {
	if before, was := c.clashes[key]; err == nil && !was || was && err != nil && before.Error() == err.Error() {
		return
	}
	if err == nil {
		delete(c.clashes, key)
	} else {
		c.clashes[key] = err
	}
	first, some := error(nil), driver.Key{}
	for k, e := range c.clashes {
		if first == nil || k.String() < some.String() {
			first, some = e, k
		}
	}
	c.report("sink "+Name+": predicted metrics", riskPredicted, first)
}
