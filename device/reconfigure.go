// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"reflect"

	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/device/config"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// newHandler makes the handler that a configuration describes.
func (r *runner) newHandler(ad *config.AnomalyDetection) (*pipeline.Handler, error) {
	return pipeline.NewHandler(pipeline.Options{
		Sinks: r.sinks, StateDir: ad.StateDir, ModelDir: ad.ModelDir, Language: ad.Language(), DefaultSinks: ad.Sinks, DeviceSinks: ad.SinksForDevices(), Budget: ad.Budget,
		AdapterOptions: ad.AdapterOptions, SinkOptions: ad.SinkOptions, Hooks: r.opts.Hooks,
		Mapper: r.cfg.Common.Name, Node: r.opts.Node,
	})
}

// reconfigure takes over what has changed in the configuration file. Defaults and routes touch only the properties whose
// settings they change. The rest of the section belongs to the handler: it ends, what was learned is kept where there is
// a state directory, and another one begins. A configuration that makes no handler changes nothing.
func (r *runner) reconfigure(ctx context.Context) {
	next := r.opts.Config.Current().AnomalyDetection
	before, after := r.applied, next
	before.Defaults, before.Routes, after.Defaults, after.Routes = nil, nil, nil, nil
	if !reflect.DeepEqual(before, after) {
		r.replaceHandler(ctx, &next)
	}
	r.parts.Panel.Refresh()
}

func (r *runner) replaceHandler(ctx context.Context, next *config.AnomalyDetection) {
	h, err := r.newHandler(next)
	if err != nil {
		logs.ErrorS(err, "Configuration of anomaly detection cannot be used, the old one stays in force")
		return
	}
	ctx = context.WithoutCancel(ctx) // the handler is ended by the shutdown of the mapper
	end, cancel := context.WithTimeout(ctx, r.opts.ShutdownTimeout)
	defer cancel()
	// First the old one: both would write to the same state directory.
	if err := r.parts.Handler().Shutdown(end); err != nil {
		logs.ErrorS(err, "Anomaly detection did not end cleanly")
	}
	if err := h.Start(ctx); err != nil {
		logs.ErrorS(err, "Anomaly detection cannot start with the new configuration: restart the mapper")
		return
	}
	if next.StateDir != r.applied.StateDir {
		if err := r.carriers.open(next.StateDir); err != nil {
			logs.ErrorS(err, "The new state directory cannot be read")
		}
	}
	r.applied = *next
	r.parts.handler.Store(h)
	r.detection.use(h)
}
