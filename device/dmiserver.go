// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"github.com/kubeedge/mapper-framework/pkg/common"
	"github.com/kubeedge/mapper-framework/pkg/global"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// TwinGetter is what a panel needs for the GetDevice call to answer with twins, besides global.DevPanel, whose own
// GetDevice promises no type. [Panel] has it.
type TwinGetter interface {
	DeviceTwins(deviceID string) ([]common.Twin, error)
}

// ServerOptions configure a [DMIServer].
type ServerOptions struct {
	Socket string          // path of the mapper's own unix socket; required
	Panel  global.DevPanel // required
	// OnRegister, when set, is called after EdgeCore has registered a device, one that was there already included:
	// its twins may be fresh on EdgeCore's side, see [Reporter.Renew].
	OnRegister func(namespace, device string)
}

// DMIServer serves DeviceMapperService: EdgeCore tells it of devices and models, one call at a time for the whole node,
// so that none may take long. EdgeCore logs a failed call and forgets it. So registering what is there and updating
// what is not both bring the panel to what EdgeCore wants, a device with defects is taken over as far as it is usable,
// and one that comes before its model is remembered until the model comes.
type DMIServer struct {
	dmiapi.UnimplementedDeviceMapperServiceServer
	opts ServerOptions

	// awaiting guards the devices that came before their model, and that no model slips in between.
	awaiting sync.Mutex
	early    map[string]*dmiapi.Device // by resource ID

	mu       sync.Mutex
	server   *grpc.Server
	identity os.FileInfo   // of the socket file that is ours
	active   int           // calls under way
	idle     chan struct{} // made by the first Shutdown, closed when no call is left
	done     chan struct{} // closed when the serving goroutine has ended
}

// NewDMIServer makes a server that does not listen yet.
func NewDMIServer(opts ServerOptions) (*DMIServer, error) {
	if opts.Socket == "" {
		return nil, errors.New("DMI server: no socket")
	}
	if opts.Panel == nil {
		return nil, errors.New("DMI server: no panel")
	}
	return &DMIServer{opts: opts, early: make(map[string]*dmiapi.Device), done: make(chan struct{})}, nil
}

// Start listens, with access for the owner only, and serves until [DMIServer.Shutdown]; ctx bounds the start. A socket
// that a killed process left behind is replaced; one on which somebody listens, or a file of another kind, is not.
func (s *DMIServer) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil || s.idle != nil {
		return errors.New("DMI server: started already")
	}
	lis, err := listenUnix(ctx, s.opts.Socket)
	if err != nil {
		return fmt.Errorf("DMI server: socket %s: %w", s.opts.Socket, err)
	}
	if s.identity, err = os.Lstat(s.opts.Socket); err != nil {
		return errors.Join(fmt.Errorf("DMI server: %w", err), lis.Close())
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(s.intercept))
	dmiapi.RegisterDeviceMapperServiceServer(server, s)
	s.server = server
	go func() {
		defer close(s.done)
		if err := server.Serve(lis); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			logs.ErrorS(err, "DMI server has ended", "socket", s.opts.Socket)
		}
	}()
	return nil
}

func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode()&os.ModeSocket == 0:
		return nil, errors.New("the file is not a socket")
	default:
		if conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path); err == nil {
			return nil, errors.Join(errors.New("another process listens on it"), conn.Close())
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("stale socket: %w", err)
		}
	}
	lis, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if unix, ok := lis.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false) // by then it could be somebody else's
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, lis.Close())
	}
	return lis, nil
}

// Shutdown refuses new calls, waits for those under way, and cuts them off when ctx ends. It removes the socket and may
// be called twice. The error says that a call had not returned even then; another Shutdown waits for it again.
func (s *DMIServer) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	server := s.server
	first := s.idle == nil
	if first {
		s.idle = make(chan struct{})
		if s.active == 0 {
			close(s.idle)
		}
	}
	s.mu.Unlock()
	if server == nil {
		return nil
	}
	select {
	case <-s.idle:
		stopGracefully(ctx, server)
	case <-ctx.Done():
		server.Stop() // does not wait for calls
	}
	<-s.done
	var errs []error
	s.mu.Lock()
	if s.active > 0 {
		errs = append(errs, fmt.Errorf("DMI server: %d calls have not returned: %w", s.active, context.Cause(ctx)))
	}
	s.mu.Unlock()
	if first {
		if info, err := os.Lstat(s.opts.Socket); err == nil && os.SameFile(info, s.identity) {
			errs = append(errs, os.Remove(s.opts.Socket))
		}
	}
	return errors.Join(errs...)
}

// stopGracefully lets the last answers reach their callers. No call may be under way: GracefulStop waits for calls with
// a lock held that Stop needs, so that Stop could not cut it short.
func stopGracefully(ctx context.Context, server *grpc.Server) {
	graceful := make(chan struct{})
	go func() {
		defer close(graceful)
		server.GracefulStop()
	}()
	select {
	case <-graceful:
	case <-ctx.Done():
		server.Stop()
		<-graceful
	}
}

// enter counts a call in, unless the server is shutting down.
func (s *DMIServer) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle != nil {
		return false
	}
	s.active++
	return true
}

func (s *DMIServer) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if s.active == 0 && s.idle != nil {
		close(s.idle)
	}
}

// intercept keeps a panic from ending the mapper.
func (s *DMIServer) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	if !s.enter() {
		return nil, status.Error(codes.Unavailable, "the mapper is shutting down")
	}
	defer s.leave()
	method := info.FullMethod[strings.LastIndexByte(info.FullMethod, '/')+1:]
	defer func() {
		if p := recover(); p != nil {
			_ = guard.Caught("a DMI call", p, "method", method, "object", objectOf(req)) // is logged
			resp, err = nil, status.Errorf(codes.Internal, "%s %s: panic: %v", method, objectOf(req), p)
		}
	}()
	return handler(ctx, req)
}

// objectOf names what a request is about.
func objectOf(req any) string {
	switch r := req.(type) {
	case interface{ GetDevice() *dmiapi.Device }:
		return ResourceID(r.GetDevice().GetNamespace(), r.GetDevice().GetName())
	case interface{ GetModel() *dmiapi.DeviceModel }:
		return ResourceID(r.GetModel().GetNamespace(), r.GetModel().GetName())
	case interface {
		GetDeviceName() string
		GetDeviceNamespace() string
	}:
		return ResourceID(r.GetDeviceNamespace(), r.GetDeviceName())
	case interface {
		GetModelName() string
		GetModelNamespace() string
	}:
		return ResourceID(r.GetModelNamespace(), r.GetModelName())
	}
	return ""
}

// RegisterDevice adds a device, or applies what changed to one that is there.
func (s *DMIServer) RegisterDevice(_ context.Context, req *dmiapi.RegisterDeviceRequest) (*dmiapi.RegisterDeviceResponse, error) {
	msg := req.GetDevice()
	if err := s.takeDevice("register", msg); err != nil {
		return nil, err
	}
	if s.opts.OnRegister != nil {
		s.opts.OnRegister(msg.GetNamespace(), msg.GetName())
	}
	return &dmiapi.RegisterDeviceResponse{DeviceName: msg.GetName(), DeviceNamespace: msg.GetNamespace()}, nil
}

// UpdateDevice applies what changed to a device, or adds one that is not there.
func (s *DMIServer) UpdateDevice(_ context.Context, req *dmiapi.UpdateDeviceRequest) (*dmiapi.UpdateDeviceResponse, error) {
	if err := s.takeDevice("update", req.GetDevice()); err != nil {
		return nil, err
	}
	return &dmiapi.UpdateDeviceResponse{}, nil
}

// takeDevice asks the panel for the model and hands it the device, or remembers the device when there is no model yet.
func (s *DMIServer) takeDevice(action string, msg *dmiapi.Device) error {
	if msg.GetName() == "" {
		return status.Errorf(codes.InvalidArgument, "%s device: it has no name", action)
	}
	id := ResourceID(msg.GetNamespace(), msg.GetName())
	modelID := ResourceID(msg.GetNamespace(), msg.GetSpec().GetDeviceModelReference())
	s.awaiting.Lock()
	defer s.awaiting.Unlock()
	model, err := s.opts.Panel.GetModel(modelID)
	if err != nil {
		s.early[id] = msg
		return status.Errorf(codes.NotFound, "%s device %s: device model %s has not come yet; the device is kept until it does: %v", action, id, modelID, err)
	}
	delete(s.early, id)
	return s.apply(action, msg, &model)
}

// apply hands a device to the panel, as far as it is usable.
func (s *DMIServer) apply(action string, msg *dmiapi.Device, model *common.DeviceModel) error {
	dev, err := ParseDevice(msg, model)
	if dev == nil {
		return status.Errorf(codes.InvalidArgument, "%s device %s: %v", action, ResourceID(msg.GetNamespace(), msg.GetName()), err)
	}
	if err != nil {
		logs.ErrorS(err, "Device has defects; the rest of it is used", "action", action, "device", dev.ID)
	}
	s.opts.Panel.UpdateDev(model, dev)
	return nil
}

// RemoveDevice removes a device. One that is not there is gone already, which is no error.
func (s *DMIServer) RemoveDevice(_ context.Context, req *dmiapi.RemoveDeviceRequest) (*dmiapi.RemoveDeviceResponse, error) {
	if req.GetDeviceName() == "" {
		return nil, status.Error(codes.InvalidArgument, "remove device: it has no name")
	}
	id := objectOf(req)
	s.awaiting.Lock()
	delete(s.early, id)
	s.awaiting.Unlock()
	if err := s.opts.Panel.RemoveDevice(id); err != nil {
		if _, known := s.opts.Panel.GetDevice(id); known == nil {
			return nil, status.Errorf(codes.Internal, "remove device %s: %v", id, err)
		}
		logs.V(2).InfoS("Device is removed", "device", id, "remark", err.Error())
	}
	return &dmiapi.RemoveDeviceResponse{}, nil
}

// CreateDeviceModel adds a model or replaces it, and then takes over the devices that waited for it.
func (s *DMIServer) CreateDeviceModel(_ context.Context, req *dmiapi.CreateDeviceModelRequest) (*dmiapi.CreateDeviceModelResponse, error) {
	if err := s.takeModel("create", req.GetModel()); err != nil {
		return nil, err
	}
	return &dmiapi.CreateDeviceModelResponse{
		DeviceModelName: req.GetModel().GetName(), DeviceModelNamespace: req.GetModel().GetNamespace(),
	}, nil
}

// UpdateDeviceModel does what [DMIServer.CreateDeviceModel] does.
func (s *DMIServer) UpdateDeviceModel(_ context.Context, req *dmiapi.UpdateDeviceModelRequest) (*dmiapi.UpdateDeviceModelResponse, error) {
	if err := s.takeModel("update", req.GetModel()); err != nil {
		return nil, err
	}
	return &dmiapi.UpdateDeviceModelResponse{}, nil
}

func (s *DMIServer) takeModel(action string, msg *dmiapi.DeviceModel) error {
	model, err := ParseModel(msg)
	if model.Name == "" {
		return status.Errorf(codes.InvalidArgument, "%s device model: %v", action, err)
	}
	if err != nil {
		logs.ErrorS(err, "Device model has defects; the rest of it is used", "action", action, "model", model.ID)
	}
	s.awaiting.Lock()
	defer s.awaiting.Unlock()
	s.opts.Panel.UpdateModel(&model)
	var waiting []string
	for id, dev := range s.early {
		if ResourceID(dev.GetNamespace(), dev.GetSpec().GetDeviceModelReference()) == model.ID {
			waiting = append(waiting, id)
		}
	}
	slices.Sort(waiting)
	for _, id := range waiting {
		dev := s.early[id]
		delete(s.early, id)
		if err := s.apply("register", dev, &model); err != nil {
			logs.ErrorS(err, "Device that waited for its model cannot be used", "device", id)
			continue
		}
		if s.opts.OnRegister != nil {
			s.opts.OnRegister(dev.GetNamespace(), dev.GetName())
		}
	}
	return nil
}

// RemoveDeviceModel forgets a model.
func (s *DMIServer) RemoveDeviceModel(_ context.Context, req *dmiapi.RemoveDeviceModelRequest) (*dmiapi.RemoveDeviceModelResponse, error) {
	if req.GetModelName() == "" {
		return nil, status.Error(codes.InvalidArgument, "remove device model: it has no name")
	}
	s.opts.Panel.RemoveModel(objectOf(req))
	return &dmiapi.RemoveDeviceModelResponse{}, nil
}

// GetDevice answers with the twins of a device. The panel must have them: see [TwinGetter]; a panel whose GetDevice
// returns a *common.DeviceInstance will do as well.
func (s *DMIServer) GetDevice(_ context.Context, req *dmiapi.GetDeviceRequest) (*dmiapi.GetDeviceResponse, error) {
	if req.GetDeviceName() == "" {
		return nil, status.Error(codes.InvalidArgument, "get device: it has no name")
	}
	id := objectOf(req)
	found, err := s.opts.Panel.GetDevice(id)
	if err != nil {
		return nil, status.Errorf(codes.NotFound, "get device %s: %v", id, err)
	}
	dev := &dmiapi.Device{Name: req.GetDeviceName(), Namespace: req.GetDeviceNamespace(), Status: &dmiapi.DeviceStatus{}}
	instance, _ := found.(*common.DeviceInstance)
	var twins []common.Twin
	switch getter, ok := s.opts.Panel.(TwinGetter); {
	case ok:
		if twins, err = getter.DeviceTwins(id); err != nil {
			return nil, status.Errorf(codes.Internal, "get device %s: twins: %v", id, err)
		}
	case instance != nil:
		twins = instance.Twins
	default:
		return nil, status.Errorf(codes.Unimplemented, "get device %s: the panel answers with a %T", id, found)
	}
	if instance != nil {
		dev.Spec = &dmiapi.DeviceSpec{DeviceModelReference: instance.Model}
		dev.Status.ReportToCloud, dev.Status.ReportCycle = instance.Status.ReportToCloud, instance.Status.ReportCycle
	}
	for _, t := range twins {
		dev.Status.Twins = append(dev.Status.Twins, &dmiapi.Twin{
			PropertyName:    t.PropertyName,
			ObservedDesired: twinProperty(t.ObservedDesired),
			Reported:        twinProperty(t.Reported),
		})
	}
	return &dmiapi.GetDeviceResponse{Device: dev}, nil
}

// twinProperty converts one side of a twin. Metadata that is not known is left out.
func twinProperty(p common.TwinProperty) *dmiapi.TwinProperty {
	out := &dmiapi.TwinProperty{Value: strings.ToValidUTF8(p.Value, "\uFFFD"), Metadata: make(map[string]string, 2)}
	if p.Metadata.Type != "" {
		out.Metadata["type"] = p.Metadata.Type
	}
	if p.Metadata.Timestamp != "" {
		out.Metadata["timestamp"] = p.Metadata.Timestamp
	}
	return out
}
