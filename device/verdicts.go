// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kubeedge/mapper-framework/pkg/common"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// VerdictsSink is the name of the sink that [Verdicts] is.
const VerdictsSink = "dmi"

// verdictSuffix makes the name of the twin that carries the verdicts on a property.
const verdictSuffix = "-anomaly"

// VerdictsConfig is the mapper's configuration of the sink.
type VerdictsConfig struct {
	State    bool   `param:"state" doc:"report a device as unhealthy while an incident of it, or of one of its properties, lasts that is bad enough"`
	Severity string `param:"severity" enum:"warning,critical" doc:"how bad that is, at least"`
	Twins    bool   `param:"twins" doc:"report verdicts on a property as the twin <property>-anomaly, for each Device that has a property of this name without visitors"`
}

// DefaultVerdictsConfig returns the defaults.
func DefaultVerdictsConfig() VerdictsConfig {
	return VerdictsConfig{State: true, Severity: driver.Critical.String(), Twins: true}
}

// Outside a mapper the sink is known by name and settings only, so that configurations can be checked and described.
func init() {
	admethod.RegisterSink(verdictsFactory(func(admethod.SinkSettings) (admethod.Sink, error) {
		return nil, errors.New("the sink needs a mapper that runs on package device, whose reports it adds to")
	}))
}

func verdictsFactory(open func(admethod.SinkSettings) (admethod.Sink, error)) admethod.SinkFactory {
	return admethod.SinkFactory{
		Name:    VerdictsSink,
		Summary: "reports verdicts to EdgeCore over DMI: as the state of the device, and as twins",
		New:     open,
		Params:  func() []params.Param { return params.Describe(DefaultVerdictsConfig()) },
	}
}

// Verdicts is the sink "dmi": it makes verdicts part of what a [Panel] reports of its devices.
//
// The state of a device is what its driver says, and worse if verdicts are: a device that its driver calls ok or online
// is reported as unhealthy while an incident of it, or of one of its properties, lasts that was [VerdictsConfig].Severity or
// worse at any time: from its beginning, or from when it got so bad, to its end, whatever single verdicts say between.
// A device that is offline stays offline. A property that cannot be judged, as while its detector warms up, has no say.
//
// The twin <property>-anomaly carries the latest verdict on a property as [VerdictText], if the Device has a property
// of this name without visitors: such a property is never read from the device. It is [VerdictOff] once nobody watches
// the property, once the property is gone, and once the verdicts go elsewhere; with a state directory also if that
// happened while no mapper ran. As other twins it is reported only if reportToCloud says so.
//
// Both go the way of all reports: through the [Reporter], its share of the node's limiter and its batches. A Verdicts
// belongs to one panel, see [PanelOptions], and to one handler, see [Verdicts.Link].
type Verdicts struct {
	mu       sync.Mutex
	config   VerdictsConfig
	least    driver.Severity // that makes a device unhealthy
	panel    *Panel
	carriers *carriers
	devices  map[driver.Key]map[string]opinion // by device, a key without property, and property
}

// opinion is the latest verdict on a property.
type opinion struct {
	severity driver.Severity
	text     string
	at       time.Time
}

var (
	_ admethod.Sink      = (*Verdicts)(nil)
	_ admethod.Forgetter = (*Verdicts)(nil)
)

// NewVerdicts makes a sink with the default configuration.
func NewVerdicts() *Verdicts {
	v := &Verdicts{carriers: newCarriers(), devices: make(map[driver.Key]map[string]opinion)}
	v.configure(DefaultVerdictsConfig())
	return v
}

func (v *Verdicts) configure(c VerdictsConfig) {
	v.config, v.least = c, driver.Critical
	if c.Severity == driver.Warning.String() {
		v.least = driver.Warning
	}
}

// Link returns a registry of the given sinks and v under its name, for the handler whose verdicts it is to take.
func (v *Verdicts) Link(sinks *admethod.SinkRegistry) *admethod.SinkRegistry {
	own := new(admethod.SinkRegistry)
	for _, f := range sinks.Items() {
		if f.Name != VerdictsSink {
			own.Register(f.Name, f)
		}
	}
	own.Register(VerdictsSink, verdictsFactory(func(s admethod.SinkSettings) (admethod.Sink, error) {
		config := DefaultVerdictsConfig()
		if err := params.Decode(&config, s.Options); err != nil {
			return nil, err
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.configure(config)
		return v, nil
	}))
	return own
}

// Start does nothing.
func (v *Verdicts) Start(context.Context) error { return nil }

// Shutdown does nothing: what was taken waits in the reporter.
func (v *Verdicts) Shutdown(context.Context) error { return nil }

// Write takes verdicts over and has them reported. It waits for nothing.
func (v *Verdicts) Write(_ context.Context, batch []driver.Result) error {
	for i := range batch {
		r := &batch[i]
		device := deviceOf(r.Key)
		v.mu.Lock()
		properties := v.devices[device]
		if properties == nil {
			properties = make(map[string]opinion)
			v.devices[device] = properties
		}
		severity, _ := incidents.Standing(r)
		properties[r.Key.Property] = opinion{severity, VerdictText(r), r.At}
		panel := v.panel
		v.mu.Unlock()
		panel.judged(r.Key)
	}
	return nil
}

// Forget drops the verdict on a property that is no longer watched, and with it its say.
func (v *Verdicts) Forget(key driver.Key) {
	device := deviceOf(key)
	v.mu.Lock()
	if properties, ok := v.devices[device]; ok {
		delete(properties, key.Property)
		if len(properties) == 0 {
			delete(v.devices, device)
		}
	}
	panel := v.panel
	v.mu.Unlock()
	panel.judged(key)
}

func deviceOf(key driver.Key) driver.Key {
	key.Property = ""
	return key
}

// state is the state to report of a device of which its driver says own, "" as long as it has said nothing.
func (v *Verdicts) state(device driver.Key, own string) string {
	if v == nil {
		return own
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	worst := driver.Unknown
	for _, o := range v.devices[device] {
		worst = max(worst, o.severity)
	}
	switch {
	case !v.config.State || worst == driver.Unknown:
		return own
	case own == common.DeviceStatusOffline || own == common.DeviceStatusUnhealthy:
		return own
	case worst >= v.least:
		return common.DeviceStatusUnhealthy
	case own == common.DeviceStatusUnknown:
		return common.DeviceStatusOK // somebody knows
	}
	return own
}

// latest is the verdict on a property, if there is one and twins are to carry it.
func (v *Verdicts) latest(key driver.Key) (o opinion, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	o, ok = v.devices[deviceOf(key)][key.Property]
	return o, ok && v.config.Twins
}

// reports says whether a property of a device carries verdicts on another one, and on which. The others are those of
// the same Device.
func (v *Verdicts) reports(name string, properties []common.DeviceProperty) (on string, p *common.DeviceProperty) {
	on, ok := strings.CutSuffix(name, verdictSuffix)
	if v == nil || !ok {
		return "", nil
	}
	known := false
	for i := range properties {
		switch properties[i].PropertyName {
		case on:
			known = true
		case name:
			p = &properties[i]
		}
	}
	if !known || p == nil || hasVisitor(p) {
		return "", nil
	}
	return on, p
}

// carries says whether a property that is not (or no longer) the twin of verdicts on another one was such a twin.
func (v *Verdicts) carries(device string, p *common.DeviceProperty) bool {
	return v != nil && v.carriers.has(device, p.PropertyName) && !hasVisitor(p)
}

// twins says whether twins are to carry verdicts.
func (v *Verdicts) twins() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.config.Twins
}

// hasVisitor says whether the Device tells how to read a property.
func hasVisitor(p *common.DeviceProperty) bool {
	var visitors struct {
		ConfigData map[string]json.RawMessage `json:"configData"`
	}
	return len(p.Visitors) > 0 && (json.Unmarshal(p.Visitors, &visitors) != nil || len(visitors.ConfigData) > 0)
}

const longestKind = 64 // bytes, of any kind of this module a multiple

// VerdictText is a verdict as a twin value: its severity and, unless it is normal, kind and score between colons, as in
// critical:jump:0.97; while an incident lasts, those of the incident and the score of now. A kind that EdgeCore would not take is changed as [LegalTwinValue] says, a colon in it becomes _,
// and - stands for one that has no legal form. A score that is not known is left out.
func VerdictText(r *driver.Result) string {
	severity, what := incidents.Standing(r)
	text := LegalTwinValue(severity.String()) // of a severity that does not exist, too
	if severity == driver.Normal || severity == driver.Unknown && what == driver.KindNone {
		return text
	}
	kind := strings.ReplaceAll(LegalTwinValue(string(what)), ":", "_")
	if len(kind) > longestKind {
		kind = kind[:longestKind]
	}
	if kind == "" {
		kind = "-"
	}
	text += ":" + kind
	if !math.IsNaN(r.Score) {
		text += ":" + strconv.FormatFloat(min(max(r.Score, 0), 1), 'f', 2, 64)
	}
	return text
}

// rankVerdict tells how bad the verdict in a twin is.
func rankVerdict(v value) int {
	severity, _, _ := strings.Cut(v.reported, ":")
	switch severity {
	case driver.Critical.String():
		return 2
	case driver.Warning.String():
		return 1
	}
	return 0
}

// judged reports what a verdict changes of its device, if the device is there. nil knows no devices.
func (p *Panel) judged(key driver.Key) {
	if p == nil {
		return
	}
	if o, err := p.owner(ResourceID(key.Namespace, key.Device)); err == nil {
		o.reportState(true)
		o.reportVerdict(o.current(), key.Property+verdictSuffix)
	}
}

// reportVerdict reports the twin of the given name, if it is one that carries verdicts and there is one.
func (o *owner) reportVerdict(spec *common.DeviceInstance, name string) {
	reading, p := o.verdict(spec, name)
	switch {
	case p == nil:
	case o.unwatched(strings.TrimSuffix(name, verdictSuffix)),
		!o.panel.opts.Verdicts.twins() && o.panel.opts.Verdicts.carriers.has(o.id, name): // they did, and no longer do
		o.reportOff(p)
	case !reading.At.IsZero():
		o.reportTwin(p, reading)
	}
}

// VerdictOff is the value of a twin that carries verdicts on a property which is not watched.
const VerdictOff = "off"

// reportOff clears a twin that carries verdicts: what it said is no longer so.
func (o *owner) reportOff(p *common.DeviceProperty) {
	o.reportTwin(p, Reading{
		Namespace: o.namespace, Device: o.name, Property: p.PropertyName, Type: strings.ToLower(p.PProperty.DataType),
		At: time.Now(), Value: VerdictOff, Text: VerdictOff,
	})
}

func (o *owner) reportTwin(p *common.DeviceProperty, reading Reading) {
	o.keep(reading)
	if p.ReportToCloud && o.panel.opts.Reporter != nil {
		twin := common.Twin{PropertyName: p.PropertyName, Property: p, Reported: reported(reading)}
		twin.ObservedDesired.Metadata = twin.Reported.Metadata
		o.panel.opts.Reporter.Report(o.namespace, o.name, twin)
	}
}

// verdict is the value of a property that carries verdicts; p is nil for any other one.
func (o *owner) verdict(spec *common.DeviceInstance, name string) (r Reading, p *common.DeviceProperty) {
	on, p := o.panel.opts.Verdicts.reports(name, spec.Properties)
	if p == nil {
		return r, nil
	}
	r = Reading{Namespace: o.namespace, Device: o.name, Property: name, Type: strings.ToLower(p.PProperty.DataType)}
	if latest, ok := o.panel.opts.Verdicts.latest(driver.Key{Namespace: o.namespace, Device: o.name, Property: on}); ok {
		r.At, r.Value, r.Text = latest.at, latest.text, latest.text
	}
	return r, p
}

// reportVerdicts reports the twins of verdicts after a change of the Device, and notes which they are: the cloud keeps
// their last value. gone are indexes into its properties.
func (o *owner) reportVerdicts(spec *common.DeviceInstance, names []string, gone []int) {
	v := o.panel.opts.Verdicts
	if v == nil {
		return
	}
	var carry []string
	for _, name := range names {
		o.reportVerdict(spec, name)
		if v.twins() || v.carriers.has(o.id, name) {
			carry = append(carry, name)
		}
	}
	for _, i := range gone {
		o.reportOff(&spec.Properties[i])
		carry = append(carry, spec.Properties[i].PropertyName)
	}
	v.carriers.set(o.id, carry)
}

// setWatched notes of which properties verdicts come.
func (o *owner) setWatched() {
	if o.panel.opts.Detection == nil {
		return
	}
	watched := make(map[string]bool, len(o.props))
	for _, p := range o.props {
		watched[p.spec.PropertyName] = p.refused || p.settings != nil && tells(p.watcher, VerdictsSink)
	}
	o.mu.Lock()
	o.watched = watched
	o.mu.Unlock()
}

// tells says whether the verdicts of a watcher go to a sink, as far as it says.
func tells(w Watcher, sink string) bool {
	s, ok := w.(interface{ Sinks() []string })
	return !ok || slices.Contains(s.Sinks(), sink)
}

// unwatched says that nobody watches a property; not before that is known.
func (o *owner) unwatched(property string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.watched != nil && !o.watched[property]
}
