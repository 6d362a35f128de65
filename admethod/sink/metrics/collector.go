// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"math"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	"github.com/kubeedge/edge-anomaly/driver"
)

var (
	verdictLabels = []string{"namespace", "device", "property", "detector"}

	scoreDesc    = prometheus.NewDesc("anomaly_score", "How unusual the property is, 0 to 1.", verdictLabels, nil)
	anomalyDesc  = prometheus.NewDesc("anomaly", "1 while the property is anomalous, else 0.", verdictLabels, nil)
	valueDesc    = prometheus.NewDesc("anomaly_value", "The reading that was judged.", verdictLabels, nil)
	lastsDesc    = prometheus.NewDesc("anomaly_incident_seconds", "How long the open incident of the property has lasted; no series without one.", verdictLabels, nil)
	openDesc     = prometheus.NewDesc("anomaly_incidents_open", "Incidents that last, by their worst severity.", []string{"severity"}, nil)
	yhatDesc     = prometheus.NewDesc("yhat", "Expected value.", verdictLabels, nil)
	lowerDesc    = prometheus.NewDesc("yhat_lower", "Lower bound of what is normal.", verdictLabels, nil)
	upperDesc    = prometheus.NewDesc("yhat_upper", "Upper bound of what is normal.", verdictLabels, nil)
	severityDesc = prometheus.NewDesc("anomaly_severity", "0 unknown, 1 normal, 2 warning, 3 critical.", verdictLabels, nil)
	modelDesc    = prometheus.NewDesc("edge_anomaly_model_info", "Trained model that judges the property; always 1.", append(verdictLabels[:4:4], "model"), nil)
	readingsDesc = prometheus.NewDesc("edge_anomaly_readings_total", "Readings observed.", nil, nil)
	dropsDesc    = prometheus.NewDesc("edge_anomaly_drops_total", "Readings that no detector judged, by cause: queue is want of room in a detector's queue.", []string{"cause"}, nil)
	faultsDesc   = prometheus.NewDesc("edge_anomaly_faulty_readings_total", "Readings with a fault of their own, by cause.", []string{"cause"}, nil)
	waitingDesc  = prometheus.NewDesc("edge_anomaly_sink_queue_depth", "Verdicts that wait for a sink.", []string{"sink"}, nil)
	lostDesc     = prometheus.NewDesc("edge_anomaly_sink_drops_total", "Verdicts that did not reach a sink, by cause.", []string{"sink", "cause"}, nil)
	startedDesc  = prometheus.NewDesc("edge_anomaly_sink_started", "1 for a sink that has started, 0 while it cannot start.", []string{"sink"}, nil)
	troubleDesc  = prometheus.NewDesc("edge_anomaly_trouble", "Failures in a row of something beside detection that fails at present; no series while all works.", []string{"part"}, nil)
	ownDesc      = prometheus.NewDesc("edge_anomaly_sink_measure", "What a sink says of itself, such as the readings that it has written.", []string{"sink", "measure"}, nil)
	excessDesc   = prometheus.NewDesc("edge_anomaly_hidden_verdicts_total", "Verdicts on properties beyond maxProperties.", nil, nil)
	descriptions = []*prometheus.Desc{
		scoreDesc, anomalyDesc, valueDesc, lastsDesc, openDesc, yhatDesc, lowerDesc, upperDesc, severityDesc, modelDesc, readingsDesc, dropsDesc,
		faultsDesc, waitingDesc, lostDesc, startedDesc, troubleDesc, ownDesc, excessDesc,
	}
)

// shown is what is kept of the last verdict on a property.
type shown struct {
	detector, model                      string
	severity                             driver.Severity
	score, value, expected, lower, upper float64

	incident driver.Incident // that is open; the zero value is none
	lasted   time.Duration   // it, by the time of the reading
	taken    time.Time       // when the verdict came

	predicted *predicted // nil: there is none
}

// anomaly is 1 of what is anomalous, else 0.
func (s *shown) anomaly() float64 {
	if s.severity.Anomalous() {
		return 1
	}
	return 0
}

// collector makes metrics of the latest verdicts and of the handler's counts when it is asked: nothing is kept twice.
type collector struct {
	limit  int
	stats  func() admethod.Stats
	about  func(driver.Key) admethod.About
	report admethod.Report

	sinkSeen, detectorSeen func(name string) // a name was met, perhaps again
	began, ended           func(severity driver.Severity, kind string, outcome driver.Phase)

	// judges are the labels of detectors by property: for hooks, which must not wait for a scrape.
	judges sync.Map // driver.Key as of labelKey to string

	mu     sync.Mutex
	book   *incidents.Book
	latest map[driver.Key]shown
	excess uint64
	names  map[string]struct{}                  // of detectors, as labels
	kinds  map[string]struct{}                  // of incidents, as labels
	seen   map[driver.Key]admethod.BindingStats // at the last scrape
	total  admethod.BindingStats                // must not fall when a property is forgotten

	owners  map[string]driver.Key // of predicted metrics, by their id
	clashes map[driver.Key]error  // why those of properties are not shown
}

func newCollector(limit int, stats func() admethod.Stats) *collector {
	return &collector{
		limit: limit, stats: stats, about: func(driver.Key) admethod.About { return admethod.About{} }, report: func(string, string, error) {},
		owners: make(map[string]driver.Key), clashes: make(map[driver.Key]error), sinkSeen: func(string) {}, detectorSeen: func(string) {},
		began: func(driver.Severity, string, driver.Phase) {}, ended: func(driver.Severity, string, driver.Phase) {},
		book: incidents.NewBook(limit), latest: make(map[driver.Key]shown),
		names: make(map[string]struct{}), kinds: make(map[string]struct{}),
	}
}

// label is text as Prometheus accepts it: other text would spoil the whole scrape.
func label(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// labels are applied to the key itself, so that two keys never make one series twice.
func labelKey(k driver.Key) driver.Key {
	return driver.Key{Namespace: label(k.Namespace), Device: label(k.Device), Property: label(k.Property)}
}

func (c *collector) take(batch []driver.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range batch {
		r := &batch[i]
		key := labelKey(r.Key)
		before, ok := c.latest[key]
		if !ok && len(c.latest) >= c.limit {
			c.excess++
			continue
		}
		if r.Detector != driver.QualityStage {
			name := c.name(label(r.Detector))
			if before, known := c.judges.Load(key); !known || before != name {
				c.judges.Store(key, name)
			}
		}
		news := c.book.Take(r)
		c.count(&news)
		severity, _ := incidents.Standing(r)
		c.latest[key] = shown{
			detector: label(r.Detector), model: label(r.Model), severity: severity,
			score: r.Score, value: r.Value, expected: r.Expected, lower: r.Lower, upper: r.Upper,
			incident: news.Now, lasted: news.Now.Duration(r.At), taken: time.Now(), predicted: c.predict(r.Key, key, before.predicted),
		}
	}
}

const (
	otherDetector = "other"
	otherKind     = "other"
	maxDetectors  = 64
	maxKinds      = 64
)

// outcomes are the ends that an incident may have.
var outcomes = [...]driver.Phase{driver.Returned, driver.NewNormal, driver.Abandoned}

// count counts what ended. What begins gets its counters at once, with 0, so that its end is seen as an increase. It
// needs c.mu.
func (c *collector) count(n *incidents.News) {
	if n.Began || n.Changed {
		for _, outcome := range outcomes {
			c.began(n.Now.Severity, c.kind(n.Now.Kind), outcome)
		}
	}
	if n.Ended.ID != 0 {
		c.ended(n.Ended.Severity, c.kind(n.Ended.Kind), n.Ended.Phase)
	}
}

// kind makes a label of a kind: one of a bounded number, as detectors elsewhere have kinds of their own.
func (c *collector) kind(k driver.Kind) string {
	name := label(string(k))
	if _, known := c.kinds[name]; !known {
		if len(c.kinds) >= maxKinds {
			return otherKind
		}
		c.kinds[name] = struct{}{}
	}
	return name
}

// name makes a label of a detector's name: one of a bounded number, as names come from outside too. It needs c.mu.
func (c *collector) name(detector string) string {
	if _, known := c.names[detector]; known {
		return detector
	}
	if detector == "" || len(c.names) >= maxDetectors {
		return otherDetector
	}
	c.names[detector] = struct{}{}
	c.detectorSeen(detector)
	return detector
}

// detector is the name, as a label, of the detector that judges a property.
func (c *collector) detector(key driver.Key) string {
	if name, ok := c.judges.Load(labelKey(key)); ok {
		return name.(string)
	}
	return otherDetector
}

func (c *collector) forget(key driver.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count(&incidents.News{Ended: c.book.Forget(key, time.Now())})
	if p := c.latest[labelKey(key)].predicted; p != nil {
		delete(c.owners, p.id)
	}
	c.hidden(labelKey(key), nil)
	delete(c.latest, labelKey(key))
	c.judges.Delete(labelKey(key))
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	c.mu.Lock()
	defer c.mu.Unlock() // with the stats inside: two scrapes at once must not add the same readings twice
	stats := c.stats()
	for key, now := range stats.Bindings {
		c.add(now, c.seen[key])
	}
	c.seen = stats.Bindings
	counter(readingsDesc, c.total.Readings)
	counter(dropsDesc, c.total.Dropped, "queue")
	counter(faultsDesc, c.total.Duplicate, "duplicate")
	counter(faultsDesc, c.total.OutOfOrder, "outOfOrder")
	counter(faultsDesc, c.total.Late, "late")
	counter(faultsDesc, c.total.Gap, "gap")
	counter(faultsDesc, c.total.Invalid, "invalid")
	counter(faultsDesc, c.total.StuckClock, "stuckClock")
	counter(excessDesc, c.excess)
	for name, s := range stats.Sinks {
		c.sinkSeen(label(name))
		up := 0.0
		if s.Started {
			up = 1
		}
		gauge(startedDesc, up, label(name))
		gauge(waitingDesc, float64(s.Waiting)+s.Own[admethod.WaitingVerdicts], label(name))
		counter(lostDesc, s.Replaced, label(name), "replaced")
		counter(lostDesc, s.Refused, label(name), "refused")
		for measure, v := range s.Own {
			gauge(ownDesc, v, label(name), label(measure))
		}
	}
	for _, t := range stats.Troubles {
		gauge(troubleDesc, float64(t.Times), label(t.Part))
	}
	open := make(map[driver.Severity]int)
	for k, v := range c.latest {
		show := func(d *prometheus.Desc, value float64) {
			if !math.IsNaN(value) {
				gauge(d, value, k.Namespace, k.Device, k.Property, v.detector)
			}
		}
		show(scoreDesc, v.score)
		show(anomalyDesc, v.anomaly())
		show(severityDesc, float64(v.severity))
		show(valueDesc, v.value)
		if v.incident.ID != 0 {
			open[v.incident.Severity]++
			show(lastsDesc, (v.lasted + time.Since(v.taken)).Seconds())
		}
		show(yhatDesc, v.expected)
		show(lowerDesc, v.lower)
		show(upperDesc, v.upper)
		if v.model != "" {
			gauge(modelDesc, 1, k.Namespace, k.Device, k.Property, v.detector, v.model)
		}
	}
	for _, severity := range []driver.Severity{driver.Warning, driver.Critical} {
		gauge(openDesc, float64(open[severity]), severity.String())
	}
}

// add adds what a binding counted since before. A count that fell is that of a new binding.
func (c *collector) add(now, before admethod.BindingStats) {
	if now.Readings < before.Readings {
		before = admethod.BindingStats{}
	}
	since := func(total *uint64, now, before uint64) {
		if now >= before {
			*total += now - before
		}
	}
	since(&c.total.Readings, now.Readings, before.Readings)
	since(&c.total.Dropped, now.Dropped, before.Dropped)
	since(&c.total.Duplicate, now.Duplicate, before.Duplicate)
	since(&c.total.OutOfOrder, now.OutOfOrder, before.OutOfOrder)
	since(&c.total.Late, now.Late, before.Late)
	since(&c.total.Gap, now.Gap, before.Gap)
	since(&c.total.Invalid, now.Invalid, before.Invalid)
	since(&c.total.StuckClock, now.StuckClock, before.StuckClock)
}
