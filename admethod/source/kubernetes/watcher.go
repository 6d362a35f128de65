// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"time"

	"github.com/kubeedge/api/apis/devices/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// id names an object.
type id struct{ namespace, name string }

func (i id) compare(o id) int {
	return cmp.Or(strings.Compare(i.namespace, o.namespace), strings.Compare(i.name, o.name))
}

// watcher knows the devices, and hands over what changes of them. Nothing is handed over before all has been listed.
type watcher struct {
	ctx    context.Context
	source *Source
	in     source.Intake
	fail   context.CancelCauseFunc
	log    logs.Limiter

	mu       sync.Mutex
	unlisted int
	models   map[id]map[string]*v1beta1.ModelProperty
	devices  map[id]*device
	stood    map[id]*standing // when the program ended, of devices that are not listed yet
	batch    []source.Reading
}

const mostAtOnce = 512 // readings

func newWatcher(ctx context.Context, s *Source, in source.Intake, fail context.CancelCauseFunc) *watcher {
	return &watcher{
		ctx: ctx, source: s, in: in, fail: fail,
		models: make(map[id]map[string]*v1beta1.ModelProperty), devices: make(map[id]*device),
	}
}

// take takes a new state of an object.
func (w *watcher) take(_ *kind, o any) error {
	name, err := identity(o)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learn(name, o)
	w.flush()
	return nil
}

// learn takes a new state of an object. The caller holds the lock.
func (w *watcher) learn(name id, o any) {
	switch o := o.(type) {
	case *v1beta1.DeviceModel:
		strip(o)
		properties := make(map[string]*v1beta1.ModelProperty, len(o.Spec.Properties))
		for i := range o.Spec.Properties {
			properties[o.Spec.Properties[i].Name] = &o.Spec.Properties[i]
		}
		w.models[name] = properties
		w.modelChanged(name)
	case *v1beta1.Device:
		strip(o)
		d := w.device(name)
		w.out(d, d.describe(o))
		w.hand(d)
	case *v1beta1.DeviceStatus:
		strip(o)
		d := w.device(name)
		d.report(&o.Status, time.Now())
		w.hand(d)
	}
}

// modelChanged forgets what was known of properties by their model.
func (w *watcher) modelChanged(name id) {
	for _, d := range w.devices {
		if d.namespace == name.namespace && d.model == name.name {
			d.forget()
		}
	}
}

func (w *watcher) device(name id) *device {
	d := w.devices[name]
	if d == nil {
		d = &device{id: name, twins: make(map[string]*twin), stood: w.stood[name]}
		w.devices[name] = d
	}
	return d
}

// drop takes that an object is no more.
func (w *watcher) drop(k *kind, o any) error {
	name, err := identity(o)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone(k, name)
	w.flush()
	return nil
}

// gone takes that an object is no more. The caller holds the lock.
func (w *watcher) gone(k *kind, name id) {
	d := w.devices[name]
	switch {
	case k.resource == "devicemodels":
		delete(w.models, name)
		w.modelChanged(name)
	case d == nil:
	case k.resource == "devices":
		d.known = false
		w.out(d, d.opened())
	default:
		w.out(d, d.opened())
		d.twins, d.reports = make(map[string]*twin), false
	}
	if d != nil && !d.known && !d.reports {
		delete(w.devices, name)
	}
}

// replace takes a whole list; first says that it is the first one of its kind and namespace.
func (w *watcher) replace(k *kind, namespace string, list []any, first bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	listed := make(map[id]bool, len(list))
	for _, o := range list {
		name, err := identity(o)
		if err != nil {
			return err
		}
		listed[name] = true
		w.learn(name, o)
	}
	var missing []id
	for name := range w.models {
		if k.resource == "devicemodels" && name.in(namespace) && !listed[name] {
			missing = append(missing, name)
		}
	}
	for name, d := range w.devices {
		has := k.resource == "devices" && d.known || k.resource == "devicestatuses" && d.reports
		if has && name.in(namespace) && !listed[name] {
			missing = append(missing, name)
		}
	}
	for _, name := range sorted(missing) {
		w.gone(k, name)
	}
	if first {
		if w.unlisted--; w.unlisted == 0 {
			w.stood = nil
			for _, d := range w.devices {
				w.hand(d)
			}
		}
	}
	w.flush()
	return nil
}

// out hands over that properties are not watched any more. The caller holds the lock.
func (w *watcher) out(d *device, properties []string) {
	for _, p := range properties {
		w.add(source.Reading{Key: driver.Key{Namespace: d.namespace, Device: d.name, Property: p}, Gone: true})
		if t := d.twins[p]; t != nil {
			t.opened, t.told = false, told{}
		}
	}
}

// hand hands over what is new of a device. The caller holds the lock.
func (w *watcher) hand(d *device) {
	if w.unlisted > 0 || !d.known {
		return
	}
	model := w.models[id{d.namespace, d.model}]
	now := time.Now()
	for name, t := range d.twins {
		want := d.wants[name]
		if want == nil || d.optedOut || want.off || model[name] != nil && model[name].Type == v1beta1.STREAM {
			continue
		}
		r := source.Reading{Key: driver.Key{Namespace: d.namespace, Device: d.name, Property: name}}
		if t.about == nil {
			t.about = d.about(want, model[name])
		}
		r.Property = t.about
		t.compare(want, model[name], d.stoodOf(name), now)
		first := !t.opened
		found := r
		found.At, found.Finding = now, w.finding(d, t, want, now)
		if found.Finding != nil && first { // before a reading that is well ends what stood when the program ended
			t.opened = true
			w.add(found)
		}
		if t.fresh {
			t.fresh, t.opened = false, true
			r.At, r.Text = t.at, t.reported
			w.add(r)
		}
		if found.Finding != nil && !first {
			w.add(found)
		}
	}
}

// add puts a reading into the batch. The caller holds the lock.
func (w *watcher) add(r source.Reading) {
	if w.batch = append(w.batch, r); len(w.batch) >= mostAtOnce {
		w.flush()
	}
}

// flush hands the batch over. The caller holds the lock: whoever brings more waits as long as the intake does.
func (w *watcher) flush() {
	if len(w.batch) == 0 {
		return
	}
	refused, err := source.Refused(w.in.Take(w.ctx, w.batch))
	for _, r := range refused {
		w.log.ErrorS("refused", r.Err, "A reading is not judged", "source", w.source.name, "property", w.batch[r.Index].Key.String())
	}
	clear(w.batch)
	w.batch = w.batch[:0]
	if err != nil {
		w.fail(err)
	}
}

// look looks for what time alone shows.
func (w *watcher) look(time.Time) {
	w.mu.Lock()
	for _, d := range w.devices {
		w.hand(d)
	}
	w.flush()
	w.mu.Unlock()
	if w.source.book.Due(false) {
		w.save()
	}
}

// save keeps what stands for the next start.
func (w *watcher) save() {
	b := &w.source.book
	if !b.Keeps() {
		return
	}
	w.mu.Lock()
	unlisted := w.unlisted
	var all []*standing
	for _, d := range w.devices {
		if s := d.standing(); s != nil && d.known {
			all = append(all, s)
		}
	}
	w.mu.Unlock()
	if unlisted == 0 { // until then the file knows better
		w.source.report(w.source.part("state"), riskKept, b.save(all))
	}
}

// optedOut reports whether a Device is not to be watched.
func optedOut(m *metav1.ObjectMeta) bool {
	return m.Labels[OptOut] == "false" || m.Annotations[OptOut] == "false"
}
