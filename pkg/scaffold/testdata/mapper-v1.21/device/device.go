// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package device has the structure of the part of a generated mapper that handles devices: its names, signatures and
// the loop over twins are those of KubeEdge v1.21.
package device

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"

	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"github.com/kubeedge/mapper-framework/pkg/common"
	"github.com/kubeedge/mapper-framework/pkg/global"
	"github.com/kubeedge/mapper-framework/pkg/util/parse"
	dbRedis "github.com/kubeedge/room/data/dbmethod/redis"
	httpMethod "github.com/kubeedge/room/data/publish/http"
	"github.com/kubeedge/room/data/stream"
	"github.com/kubeedge/room/driver"
)

// DevPanel has the mapper's devices.
type DevPanel struct {
	deviceMuxs   map[string]context.CancelFunc
	devices      map[string]*driver.CustomizedDev
	models       map[string]common.DeviceModel
	wg           sync.WaitGroup
	serviceMutex sync.Mutex
	quitChan     chan os.Signal
}

var (
	devPanel *DevPanel
	once     sync.Once
)

// ErrEmptyData says that EdgeCore has no devices for the mapper.
var ErrEmptyData = errors.New("device or device model list is empty")

// NewDevPanel returns the one panel.
func NewDevPanel() *DevPanel {
	once.Do(func() {
		devPanel = &DevPanel{
			deviceMuxs: make(map[string]context.CancelFunc),
			devices:    make(map[string]*driver.CustomizedDev),
			models:     make(map[string]common.DeviceModel),
			quitChan:   make(chan os.Signal, 1),
		}
	})
	return devPanel
}

// DevStart starts all devices.
func (d *DevPanel) DevStart() {
	for id, dev := range d.devices {
		ctx, cancel := context.WithCancel(context.Background())
		d.deviceMuxs[id] = cancel
		d.wg.Add(1)
		go d.start(ctx, dev)
	}
	signal.Notify(d.quitChan, os.Interrupt)
	d.wg.Wait()
}

func (d *DevPanel) start(ctx context.Context, dev *driver.CustomizedDev) {
	defer d.wg.Done()
	var protocolConfig driver.ProtocolConfig
	if err := json.Unmarshal(dev.Instance.PProtocol.ConfigData, &protocolConfig); err != nil {
		klog.Error(err)
		return
	}
	client, err := driver.NewClient(protocolConfig)
	if err != nil {
		klog.Error(err)
		return
	}
	dev.CustomizedClient = client
	if err := dev.CustomizedClient.InitDevice(); err != nil {
		klog.Error(err)
		return
	}
	go dataHandler(ctx, dev)
	<-ctx.Done()
}

// dataHandler handles the properties of a device.
func dataHandler(ctx context.Context, dev *driver.CustomizedDev) {
	getStates := &DeviceStates{
		Client:          dev.CustomizedClient,
		DeviceName:      dev.Instance.Name,
		DeviceNamespace: dev.Instance.Namespace,
		ReportToCloud:   dev.Instance.Status.ReportToCloud,
		ReportCycle:     time.Millisecond * time.Duration(dev.Instance.Status.ReportCycle),
	}
	go getStates.Run(ctx)
	for _, twin := range dev.Instance.Twins {
		twin.Property.PProperty.DataType = strings.ToLower(twin.Property.PProperty.DataType)
		var visitorConfig driver.VisitorConfig

		err := json.Unmarshal(twin.Property.Visitors, &visitorConfig)
		visitorConfig.VisitorConfigData.DataType = strings.ToLower(visitorConfig.VisitorConfigData.DataType)
		if err != nil {
			klog.Errorf("Unmarshal VisitorConfig error: %v", err)
			continue
		}
		err = setVisitor(&visitorConfig, &twin, dev)
		if err != nil {
			klog.Error(err)
			continue
		}

		if twin.Property.PProperty.DataType == "stream" {
			if err := stream.StreamHandler(&twin, dev.CustomizedClient, &visitorConfig); err != nil {
				klog.Error(err)
			}
			continue
		}
		// handle twin
		twinData := &TwinData{
			DeviceName:      dev.Instance.Name,
			DeviceNamespace: dev.Instance.Namespace,
			Client:          dev.CustomizedClient,
			Name:            twin.PropertyName,
			Type:            twin.ObservedDesired.Metadata.Type,
			ObservedDesired: twin.ObservedDesired,
			VisitorConfig:   &visitorConfig,
			Topic:           fmt.Sprintf(common.TopicTwinUpdate, dev.Instance.ID),
			CollectCycle:    time.Millisecond * time.Duration(twin.Property.CollectCycle),
			ReportToCloud:   twin.Property.ReportToCloud,
		}
		go twinData.Run(ctx)

		dataModel := common.NewDataModel(dev.Instance.Name, twin.Property.PropertyName, dev.Instance.Namespace, common.WithType(twin.ObservedDesired.Metadata.Type))
		// handle push method
		if twin.Property.PushMethod.MethodConfig != nil && twin.Property.PushMethod.MethodName != "" {
			pushHandler(ctx, &twin, dev.CustomizedClient, &visitorConfig, dataModel)
		}
		// handle database
		if twin.Property.PushMethod.DBMethod.DBMethodName != "" {
			dbHandler(ctx, &twin, dev.CustomizedClient, &visitorConfig, dataModel)
			switch twin.Property.PushMethod.DBMethod.DBMethodName {
			case "redis":
				dbRedis.DataHandler(ctx, &twin, dev.CustomizedClient, &visitorConfig, dataModel)
			}
		}
	}
}

func pushHandler(ctx context.Context, twin *common.Twin, client *driver.CustomizedClient, visitorConfig *driver.VisitorConfig, dataModel *common.DataModel) {
	var dataPanel global.DataPanel
	var err error
	switch twin.Property.PushMethod.MethodName {
	case "http":
		dataPanel, err = httpMethod.NewDataPanel(twin.Property.PushMethod.MethodConfig)
	default:
		err = errors.New("this method is not supported")
	}
	if err != nil {
		klog.Error(err)
		return
	}
	if err := dataPanel.InitPushMethod(); err != nil {
		klog.Error(err)
		return
	}
	go poll(ctx, twin, client, visitorConfig, func(data interface{}) {
		value, err := common.ConvertToString(data)
		if err != nil {
			klog.Error(err)
			return
		}
		dataModel.SetValue(value)
		dataModel.SetTimeStamp()
		dataPanel.Push(dataModel)
	})
}

func poll(ctx context.Context, twin *common.Twin, client *driver.CustomizedClient, visitorConfig *driver.VisitorConfig, take func(interface{})) {
	reportCycle := time.Millisecond * time.Duration(twin.Property.ReportCycle)
	if reportCycle == 0 {
		reportCycle = common.DefaultReportCycle
	}
	ticker := time.NewTicker(reportCycle)
	for {
		select {
		case <-ticker.C:
			data, err := client.GetDeviceData(visitorConfig)
			if err != nil {
				klog.Error(err)
				continue
			}
			take(data)
		case <-ctx.Done():
			return
		}
	}
}

func dbHandler(ctx context.Context, twin *common.Twin, client *driver.CustomizedClient, visitorConfig *driver.VisitorConfig, dataModel *common.DataModel) {
	switch twin.Property.PushMethod.DBMethod.DBMethodName {
	case "redis":
		dbRedis.DataHandler(ctx, twin, client, visitorConfig, dataModel)
	}
}

func setVisitor(visitorConfig *driver.VisitorConfig, twin *common.Twin, dev *driver.CustomizedDev) error {
	if twin.Property.PProperty.AccessMode == "ReadOnly" {
		return nil
	}
	value, err := common.Convert(twin.Property.PProperty.DataType, twin.ObservedDesired.Value)
	if err != nil {
		return err
	}
	return dev.CustomizedClient.SetDeviceData(value, visitorConfig)
}

// DevInit takes the devices that EdgeCore has.
func (d *DevPanel) DevInit(deviceList []*dmiapi.Device, deviceModelList []*dmiapi.DeviceModel) error {
	if len(deviceList) == 0 || len(deviceModelList) == 0 {
		return ErrEmptyData
	}
	for _, model := range deviceModelList {
		cur := parse.GetDeviceModelFromGrpc(model)
		d.models[cur.ID] = cur
	}
	for _, device := range deviceList {
		model := d.models[parse.GetResourceID(device.GetNamespace(), device.GetSpec().GetDeviceModelReference())]
		protocol, err := parse.BuildProtocolFromGrpc(device)
		if err != nil {
			return err
		}
		instance, err := parse.GetDeviceFromGrpc(device, &model)
		if err != nil {
			return err
		}
		instance.PProtocol = protocol
		d.devices[instance.ID] = &driver.CustomizedDev{Instance: *instance}
	}
	return nil
}

// UpdateDev starts a device anew.
func (d *DevPanel) UpdateDev(model *common.DeviceModel, device *common.DeviceInstance) {
	d.serviceMutex.Lock()
	defer d.serviceMutex.Unlock()
	d.stopDev(device.ID)
	d.devices[device.ID] = &driver.CustomizedDev{Instance: *device}
	d.models[model.ID] = *model
	ctx, cancel := context.WithCancel(context.Background())
	d.deviceMuxs[device.ID] = cancel
	d.wg.Add(1)
	go d.start(ctx, d.devices[device.ID])
}

// UpdateDevTwins changes the twins of a device.
func (d *DevPanel) UpdateDevTwins(deviceID string, twins []common.Twin) error {
	d.serviceMutex.Lock()
	defer d.serviceMutex.Unlock()
	dev, ok := d.devices[deviceID]
	if !ok {
		return fmt.Errorf("device %s not found", deviceID)
	}
	dev.Instance.Twins = twins
	return nil
}

// DealDeviceTwinGet reads the twins of a device.
func (d *DevPanel) DealDeviceTwinGet(deviceID string, twinName string) (interface{}, error) {
	return json.Marshal([]parse.TwinResultResponse{{PropertyName: twinName}})
}

// GetDevice returns a device.
func (d *DevPanel) GetDevice(deviceID string) (interface{}, error) {
	d.serviceMutex.Lock()
	defer d.serviceMutex.Unlock()
	found, ok := d.devices[deviceID]
	if !ok || found == nil {
		return nil, fmt.Errorf("device %s not found", deviceID)
	}
	return found, nil
}

// RemoveDevice stops a device.
func (d *DevPanel) RemoveDevice(deviceID string) error {
	d.serviceMutex.Lock()
	defer d.serviceMutex.Unlock()
	d.stopDev(deviceID)
	delete(d.devices, deviceID)
	return nil
}

// WriteDevice writes a property by a method of the device.
func (d *DevPanel) WriteDevice(deviceMethodName, deviceID, propertyName, data string) error {
	d.serviceMutex.Lock()
	defer d.serviceMutex.Unlock()
	dev, ok := d.devices[deviceID]
	if !ok {
		return fmt.Errorf("device %s not found", deviceID)
	}
	return dev.CustomizedClient.DeviceDataWrite(new(driver.VisitorConfig), deviceMethodName, propertyName, data)
}

func (d *DevPanel) stopDev(id string) {
	if cancel, ok := d.deviceMuxs[id]; ok {
		cancel()
	}
}

// GetModel returns a model.
func (d *DevPanel) GetModel(modelID string) (common.DeviceModel, error) {
	d.serviceMutex.Lock()
	defer d.serviceMutex.Unlock()
	if model, ok := d.models[modelID]; ok {
		return model, nil
	}
	return common.DeviceModel{}, fmt.Errorf("deviceModel %s not found", modelID)
}

// UpdateModel changes a model.
func (d *DevPanel) UpdateModel(model *common.DeviceModel) {
	d.serviceMutex.Lock()
	d.models[model.ID] = *model
	d.serviceMutex.Unlock()
}

// RemoveModel removes a model.
func (d *DevPanel) RemoveModel(modelID string) {
	d.serviceMutex.Lock()
	delete(d.models, modelID)
	d.serviceMutex.Unlock()
}

// GetTwinResult reads a property.
func (d *DevPanel) GetTwinResult(deviceID string, twinName string) (string, string, error) {
	return "", "", fmt.Errorf("not found device %s", deviceID)
}

// GetDeviceMethod returns the methods of a device and the types of its properties.
func (d *DevPanel) GetDeviceMethod(deviceID string) (map[string][]string, map[string]string, error) {
	return nil, nil, fmt.Errorf("device %s not found", deviceID)
}
