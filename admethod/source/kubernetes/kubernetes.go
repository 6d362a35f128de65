// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kubernetes is the source that watches what KubeEdge knows of every device: Devices, DeviceModels and
// DeviceStatuses of devices.kubeedge.io/v1beta1. No mapper need know of it. Import it for its side effect: it registers
// itself under the name "kubernetes".
//
// Each value that a twin reports is a reading of its property, of the time in the twin's metadata. Data type, unit and
// bounds are those of the DeviceModel; labels of the Device and the name of its model are there for routes. What the Device
// says under pushMethod.anomalyDetection goes over routes, but for what is about its mapper: adMethodName, sinks and the
// keys of adapters. The label or annotation [OptOut] with the value "false" leaves a device out, and "enabled: false" under
// anomalyDetection a property.
//
// Beside readings it tells, by the kind desired, of a property that was told to be something else than it reports for
// longer than the option desired; and by the kind missing, of all properties of a device whose state is offline, or whose
// lastOnlineTime is of long ago though its state is to be reported, for longer than the option offline.
//
// Since when that is so is kept in the state directory: nobody else says.
//
// Only twins are looked at, and of them only changes: what the sink devicestatus writes into the extensions is no reading.
// Of twins that a mapper of this project writes beside a property, named by it and "-anomaly", none is made either.
//
// It lists in pages, and watches by client-go's reflector, which comes again after whatever breaks, and lists anew where
// the server has forgotten what happened in between; twins that changed more than once in such a gap have one reading. It
// needs list and watch on the three resources, see manifests/cluster.yaml.
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/kubeedge/api/apis/devices/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/internal/kube"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// Name of the source.
const Name = "kubernetes"

// OptOut is a label, or an annotation, of a Device that is not to be watched where its value is "false".
const OptOut = "edge-anomaly.kubeedge.io/watch"

func init() { source.Register(Factory()) }

// Factory describes the source.
func Factory() source.Factory {
	return source.Factory{
		Name:    Name,
		Summary: "watches what KubeEdge's DeviceStatuses say of every device",
		New:     func(s source.Settings) (source.Source, error) { return New(s) },
		Params:  func() []params.Param { return params.Describe(DefaultConfig()) },
	}
}

// Config is the configuration of the source.
type Config struct {
	Kubeconfig string        `param:"kubeconfig" doc:"file that says how to reach the API server; empty: the pod's service account"`
	Context    string        `param:"context" doc:"context of the kubeconfig; empty: its current one"`
	Server     string        `param:"server" doc:"URL of an API server to ask instead"`
	TokenFile  string        `param:"tokenFile" doc:"with server: file with a bearer token, read again when it changes"`
	CAFile     string        `param:"caFile" doc:"with server: certificates that an https server is trusted by"`
	Namespaces []string      `param:"namespaces" doc:"whose devices are watched; empty: all, for which a ClusterRole is needed"`
	Desired    time.Duration `param:"desired" min:"0s" max:"8760h" doc:"for which a property may report something else than is desired of it; 0: for ever"`
	Offline    time.Duration `param:"offline" min:"0s" max:"8760h" doc:"for which a device may be offline, or say nothing of its state though it is to; 0: for ever"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{Desired: 30 * time.Second, Offline: time.Minute} }

const (
	page     = 500 // objects of a list that are read at once
	lookEach = time.Second
)

// Source watches devices.
type Source struct {
	config Config
	name   string
	report admethod.Report
	book   book
}

var namespace = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// New makes a source. It reaches no server before Run.
func New(s source.Settings) (*Source, error) {
	c := DefaultConfig()
	errs := []error{source.Decode(&c, s.Options)}
	if _, err := c.connection(); err != nil && !errors.Is(err, admethod.ErrUnavailable) {
		errs = append(errs, err)
	}
	for _, name := range c.Namespaces {
		if !namespace.MatchString(name) || len(name) > 63 {
			errs = append(errs, &params.Error{Key: "namespaces", Value: name, Want: "names of namespaces: small letters, digits and -; none for all"})
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(c.Namespaces) == 0 {
		c.Namespaces = []string{metav1.NamespaceAll}
	}
	return &Source{config: c, name: s.Name, report: s.Report, book: newBook(s.StateDir)}, nil
}

func (c *Config) connection() (*rest.Config, error) {
	return kube.Connection{
		Kubeconfig: c.Kubeconfig, Context: c.Context, Server: c.Server, TokenFile: c.TokenFile, CAFile: c.CAFile,
	}.Config()
}

// Run is as [source.Source] has it.
func (s *Source) Run(ctx context.Context, in source.Intake) error {
	client, err := s.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := newWatcher(ctx, s, in, cancel)
	w.unlisted = len(s.config.Namespaces) * len(kinds)
	if w.stood, err = s.book.load(); err != nil {
		s.report(s.part("state"), riskKept, err)
	}
	var wg sync.WaitGroup
	for _, namespace := range s.config.Namespaces {
		for _, k := range kinds {
			r := cache.NewReflectorWithOptions(s.listWatch(ctx, client, namespace, k), k.object, &store{watcher: w, kind: k, namespace: namespace},
				cache.ReflectorOptions{Name: s.name + " " + k.resource})
			wg.Go(func() { _ = guard.Do("the watch of "+k.resource, func() { r.Run(ctx.Done()) }) }) // is logged
		}
	}
	wg.Go(func() {
		guard.Loop(ctx, "the watch over devices", func(ctx context.Context) { wait.Tick(ctx, lookEach, w.look) })
	})
	wg.Wait()
	w.save()
	return context.Cause(ctx)
}

// connect waits until the API server is configured.
func (s *Source) connect(ctx context.Context) (rest.Interface, error) {
	for backoff := (wait.Backoff{First: time.Second, Longest: time.Minute}); ; {
		config, err := s.config.connection()
		if err == nil {
			s.report(s.part("configuration"), "", nil)
			return newClient(config)
		}
		if !errors.Is(err, admethod.ErrUnavailable) {
			return nil, err
		}
		s.report(s.part("configuration"), "no device is watched", err)
		if err := wait.Sleep(ctx, backoff.Next()); err != nil {
			return nil, err
		}
	}
}

func (s *Source) part(what string) string { return "source " + s.name + ": " + what }

func newClient(config *rest.Config) (rest.Interface, error) {
	scheme := runtime.NewScheme() // of its own: the one with every built-in kind would add megabytes
	metav1.AddToGroupVersion(scheme, v1beta1.SchemeGroupVersion)
	if err := v1beta1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.APIPath = "/apis"
	config.GroupVersion = &v1beta1.SchemeGroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.UserAgent = "edge-anomaly"
	return rest.RESTClientFor(config)
}

// kind is a resource that is watched.
type kind struct {
	resource string
	object   runtime.Object
	list     func() runtime.Object
}

var kinds = []*kind{
	{"devicemodels", &v1beta1.DeviceModel{}, func() runtime.Object { return new(v1beta1.DeviceModelList) }},
	{"devices", &v1beta1.Device{}, func() runtime.Object { return new(v1beta1.DeviceList) }},
	{"devicestatuses", &v1beta1.DeviceStatus{}, func() runtime.Object { return new(v1beta1.DeviceStatusList) }},
}

// listWatch asks for a resource, and tells when that fails.
func (s *Source) listWatch(ctx context.Context, client rest.Interface, namespace string, k *kind) *cache.ListWatch {
	tell := func(err error) {
		if err == nil || ctx.Err() == nil {
			s.report(s.part(k.resource), "what changes is not seen meanwhile; it is tried again", err)
		}
	}
	return &cache.ListWatch{
		ListFunc: func(o metav1.ListOptions) (runtime.Object, error) {
			o.Limit, o.ResourceVersion, o.ResourceVersionMatch = page, "", "" // pages, which are not of the server's cache
			list := k.list()
			err := client.Get().Namespace(namespace).Resource(k.resource).VersionedParams(&o, metav1.ParameterCodec).Do(ctx).Into(list)
			tell(err)
			return strip(list), err
		},
		WatchFunc: func(o metav1.ListOptions) (watch.Interface, error) {
			o.Watch = true
			w, err := client.Get().Namespace(namespace).Resource(k.resource).VersionedParams(&o, metav1.ParameterCodec).Watch(ctx)
			tell(err)
			return w, err
		},
	}
}

// strip takes out what is not needed, so that a page after the other takes little memory.
func strip(o runtime.Object) runtime.Object {
	switch o := o.(type) {
	case *v1beta1.DeviceModelList:
		for i := range o.Items {
			strip(&o.Items[i])
		}
	case *v1beta1.DeviceList:
		for i := range o.Items {
			strip(&o.Items[i])
		}
	case *v1beta1.DeviceStatusList:
		for i := range o.Items {
			strip(&o.Items[i])
		}
	case *v1beta1.DeviceModel:
		o.ManagedFields, o.Annotations, o.Spec.ProtocolConfigData = nil, nil, nil
		for i := range o.Spec.Properties {
			o.Spec.Properties[i].Visitors, o.Spec.Properties[i].Description = nil, ""
		}
	case *v1beta1.Device:
		o.ManagedFields = nil
		delete(o.Annotations, "kubectl.kubernetes.io/last-applied-configuration")
		o.Spec.Protocol, o.Spec.Methods = v1beta1.ProtocolConfig{}, nil
		for i := range o.Spec.Properties {
			o.Spec.Properties[i].Visitors = v1beta1.VisitorConfig{}
		}
	case *v1beta1.DeviceStatus:
		o.ManagedFields, o.Annotations, o.Labels, o.Status.Extensions = nil, nil, nil, v1beta1.DeviceStatusExtensions{}
	}
	return o
}

// store takes what the reflector of a resource brings, in order. It waits while the intake does, and the server with it.
type store struct {
	*watcher
	kind      *kind
	namespace string
	listed    bool // for the first time
}

var errNotKept = errors.New("the source keeps no objects")

func (s *store) Add(o any) error    { return s.take(s.kind, o) }
func (s *store) Update(o any) error { return s.take(s.kind, o) }
func (s *store) Delete(o any) error { return s.drop(s.kind, o) }

// Replace takes a whole list: what is not in it is gone.
func (s *store) Replace(list []any, _ string) error {
	first := !s.listed
	s.listed = true
	return s.replace(s.kind, s.namespace, list, first)
}

func (*store) Resync() error                      { return nil }
func (*store) List() []any                        { return nil }
func (*store) ListKeys() []string                 { return nil }
func (*store) Get(any) (any, bool, error)         { return nil, false, errNotKept }
func (*store) GetByKey(string) (any, bool, error) { return nil, false, errNotKept }

// identity is what an object is of.
func identity(o any) (id, error) {
	if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	m, ok := o.(metav1.Object)
	if !ok {
		return id{}, fmt.Errorf("a %T: want an object with a name", o)
	}
	return id{m.GetNamespace(), m.GetName()}, nil
}

// in reports whether an object is in one of the namespaces; "" is all of them.
func (i id) in(namespace string) bool {
	return namespace == metav1.NamespaceAll || i.namespace == namespace
}

func sorted(ids []id) []id {
	slices.SortFunc(ids, id.compare)
	return ids
}
