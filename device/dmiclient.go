// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// CallClass says what to do about a failed call to EdgeCore.
type CallClass uint8

// The classes of failed calls.
const (
	CallRetryable CallClass = iota // EdgeCore is away, slow or in trouble: try again later
	CallThrottled                  // the node's limiter is exhausted: try again when it has refilled
	CallPermanent                  // EdgeCore will never accept it
)

// String is one word for a log.
func (c CallClass) String() string {
	switch c {
	case CallThrottled:
		return "throttled"
	case CallPermanent:
		return "permanent"
	default:
		return "retryable"
	}
}

// CallError is a failed call to EdgeCore. It wraps the gRPC status, or what was wrong with the request.
type CallError struct {
	Method string // of DeviceManagerService
	Object string // the device as namespace/name, or the mapper
	Class  CallClass
	Err    error
}

func (e *CallError) Error() string {
	return fmt.Sprintf("edgecore: %s %s: %s: %v", e.Method, e.Object, e.Class, e.Err)
}

// Unwrap returns the cause.
func (e *CallError) Unwrap() error { return e.Err }

// classOf tells the class of an error; CallRetryable where it is not known.
func classOf(err error) CallClass {
	var call *CallError
	if errors.As(err, &call) {
		return call.Class
	}
	return CallRetryable
}

// classify knows EdgeCore's errors. Most come with code Unknown and only a text; a text that is not known may well be
// a passing failure of its database.
func classify(err error) CallClass {
	st := status.Convert(err)
	switch st.Code() {
	case codes.Unknown:
		if strings.Contains(st.Message(), "too many request") {
			return CallThrottled
		}
	case codes.ResourceExhausted:
		return CallThrottled
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.Unauthenticated,
		codes.FailedPrecondition, codes.OutOfRange, codes.Unimplemented:
		return CallPermanent
	}
	return CallRetryable
}

// ClientOptions configure a [DMIClient]. Zero durations mean the default.
type ClientOptions struct {
	Socket   string        // of EdgeCore. Default /etc/kubeedge/dmi.sock
	Timeout  time.Duration // of one call. Default 5 s
	RetryMin time.Duration // first pause after a failed registration. Default 500 ms
	RetryMax time.Duration // longest pause, reached by doubling. Default 30 s
}

// DefaultEdgeCoreSocket is where EdgeCore serves DMI.
const DefaultEdgeCoreSocket = "/etc/kubeedge/dmi.sock"

// DMIClient calls EdgeCore over one connection, which is made by the first call and kept. It comes back by itself when
// EdgeCore has been restarted; EdgeCore then still knows the mapper, so there is no need to register again, nor harm
// in it. Safe for concurrent use.
type DMIClient struct {
	opts    ClientOptions
	conn    *grpc.ClientConn
	manager dmiapi.DeviceManagerServiceClient
}

// NewDMIClient makes a client. It does not connect.
func NewDMIClient(opts ClientOptions) (*DMIClient, error) {
	if opts.Socket == "" {
		opts.Socket = DefaultEdgeCoreSocket
	}
	unlessPositive(&opts.Timeout, 5*time.Second)
	unlessPositive(&opts.RetryMin, 500*time.Millisecond)
	unlessPositive(&opts.RetryMax, 30*time.Second)
	conn, err := grpc.NewClient("unix:"+strings.TrimPrefix(opts.Socket, "unix:"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			// A local socket: gRPC's own pauses of up to two minutes would only delay the return.
			Backoff:           grpcbackoff.Config{BaseDelay: opts.RetryMin, Multiplier: 1.6, Jitter: 0.2, MaxDelay: min(opts.RetryMax, 3*time.Second)},
			MinConnectTimeout: opts.Timeout,
		}))
	if err != nil {
		return nil, fmt.Errorf("edgecore socket %s: %w", opts.Socket, err)
	}
	return &DMIClient{opts: opts, conn: conn, manager: dmiapi.NewDeviceManagerServiceClient(conn)}, nil
}

// Close ends the connection and fails the calls under way.
func (c *DMIClient) Close() error { return c.conn.Close() }

// call makes one call within the deadline.
func (c *DMIClient) call(ctx context.Context, method, object string, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	if err := fn(ctx); err != nil {
		return &CallError{Method: method, Object: object, Class: classify(err), Err: err}
	}
	return nil
}

// Register makes the mapper known to EdgeCore, and tries until it succeeds, ctx ends, or the request is refused for
// good. With withData it returns the devices of the mapper's protocol and their models, the latter once a device, and
// EdgeCore pushes later changes to the socket in info.Address; without, it does so only after its next restart.
func (c *DMIClient) Register(ctx context.Context, info *dmiapi.MapperInfo, withData bool) ([]*dmiapi.Device, []*dmiapi.DeviceModel, error) {
	const method = "MapperRegister"
	for field, missing := range map[string]bool{
		"name":     info.GetName() == "",
		"protocol": info.GetProtocol() == "",
		"address":  len(info.GetAddress()) == 0,
	} {
		if missing {
			return nil, nil, &CallError{Method: method, Object: info.GetName(), Class: CallPermanent, Err: fmt.Errorf("mapper without %s", field)}
		}
	}
	retry := wait.Backoff{First: c.opts.RetryMin, Longest: c.opts.RetryMax}
	for {
		var resp *dmiapi.MapperRegisterResponse
		err := c.call(ctx, method, info.GetName(), func(ctx context.Context) (err error) {
			resp, err = c.manager.MapperRegister(ctx, &dmiapi.MapperRegisterRequest{WithData: withData, Mapper: info})
			return err
		})
		if err == nil {
			return resp.GetDeviceList(), resp.GetModelList(), nil
		}
		if classOf(err) == CallPermanent {
			return nil, nil, err
		}
		if ended := wait.Sleep(ctx, retry.Next()); ended != nil {
			return nil, nil, fmt.Errorf("%w; the last try: %w", ended, err)
		}
		c.conn.ResetConnectBackoff() // the pause was ours
	}
}

// ReportTwins reports twins of one device in one call, which costs one token of the node's limiter however many there
// are. Each twin needs ObservedDesired and Reported: EdgeCore crashes over one without, so it is never sent.
func (c *DMIClient) ReportTwins(ctx context.Context, namespace, device string, twins []*dmiapi.Twin) error {
	const method = "ReportDeviceStatus"
	object := ResourceID(namespace, device)
	if len(twins) == 0 {
		return &CallError{Method: method, Object: object, Class: CallPermanent, Err: errors.New("no twins")}
	}
	for _, t := range twins {
		if t.GetObservedDesired() == nil || t.GetReported() == nil {
			return &CallError{Method: method, Object: object, Class: CallPermanent,
				Err: fmt.Errorf("property %q: twin without observedDesired or reported", t.GetPropertyName())}
		}
	}
	return c.call(ctx, method, object, func(ctx context.Context) error {
		_, err := c.manager.ReportDeviceStatus(ctx, &dmiapi.ReportDeviceStatusRequest{
			DeviceName: device, DeviceNamespace: namespace, ReportedDevice: &dmiapi.DeviceStatus{Twins: twins},
		})
		return err
	})
}

// ReportState reports the state of one device. EdgeCore ignores states other than online, offline, ok, unhealthy and
// unknown without saying so.
func (c *DMIClient) ReportState(ctx context.Context, namespace, device, state string) error {
	return c.call(ctx, "ReportDeviceStates", ResourceID(namespace, device), func(ctx context.Context) error {
		_, err := c.manager.ReportDeviceStates(ctx, &dmiapi.ReportDeviceStatesRequest{
			DeviceName: device, DeviceNamespace: namespace, State: state,
		})
		return err
	})
}
