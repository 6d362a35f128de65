// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/mapper-framework/pkg/common"

	"github.com/kubeedge/edge-anomaly/device"
)

// maxBody is more than a property needs, in bytes.
const maxBody = 4 << 10

// connection is protocol.configData of a Device.
type connection struct {
	BaseURL string        `param:"baseURL" doc:"where the device is, such as http://10.0.0.7:8000"`
	Timeout time.Duration `param:"timeout" min:"1ms" max:"1m" doc:"of one request"`
}

func (c *connection) SetDefaults() { c.Timeout = 2 * time.Second }

func (c *connection) Validate() error {
	u, err := url.Parse(c.BaseURL)
	if err != nil {
		return fmt.Errorf("baseURL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("baseURL: got %q, want one such as http://10.0.0.7:8000", c.BaseURL)
	}
	return nil
}

// visitor is visitors.configData of a property.
type visitor struct {
	Path    string   `param:"path" doc:"of the property on the device; GET reads it"`
	Method  string   `param:"method" enum:"PUT,POST,PATCH" doc:"writes it"`
	Mapping []string `param:"mapping" doc:"values of the property with their texts on the device, such as ON=1,OFF=0"`
}

func (v *visitor) SetDefaults() { v.Method = http.MethodPut }

func (v *visitor) Validate() error {
	if !strings.HasPrefix(v.Path, "/") {
		return fmt.Errorf("path: got %q, want one that begins with /", v.Path)
	}
	values, texts := make(map[string]bool), make(map[string]bool)
	for _, pair := range v.Mapping {
		value, text, ok := strings.Cut(pair, "=")
		if !ok || value == "" || text == "" || values[value] || texts[text] {
			return fmt.Errorf("mapping: got %q, want pairs VALUE=TEXT without repetition", pair)
		}
		values[value], texts[text] = true, true
	}
	return nil
}

// restful is the driver: devices whose properties are resources with plain text bodies. It implements device.Driver.
type restful struct {
	http *http.Client // shared, so that connections are
}

func newRESTful() *restful {
	return &restful{http: &http.Client{Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     time.Minute,
	}}}
}

// Close drops the idle connections.
func (d *restful) Close() { d.http.CloseIdleConnections() }

// Connect checks the settings of the device and that something answers at its address. Which status it answers with
// does not matter: the device may have nothing to say at its root.
func (d *restful) Connect(ctx context.Context, dev *common.DeviceInstance) (device.Client, error) {
	conn, err := device.DecodeProtocol[connection](dev)
	if err != nil {
		return nil, err
	}
	c := &client{http: d.http, connection: conn}
	var status *statusError
	if _, err := c.do(ctx, http.MethodHead, "/", ""); err != nil && !errors.As(err, &status) {
		return nil, err
	}
	c.failing = false
	return c, nil
}

// client speaks to one device. It implements device.Client; its methods are never called concurrently.
type client struct {
	connection
	http    *http.Client
	failing bool // the last request failed
}

// Read gets the text of a property and makes of it the value that the model declares.
func (c *client) Read(ctx context.Context, p *common.DeviceProperty) (any, error) {
	v, err := device.DecodeVisitor[visitor](p)
	if err != nil {
		return nil, err
	}
	text, err := c.do(ctx, http.MethodGet, v.Path, "")
	if err != nil {
		return nil, err
	}
	value, err := v.decode(text, p.PProperty.DataType)
	if err != nil {
		return nil, fmt.Errorf("property %q: GET %s: %w", p.PropertyName, v.Path, err)
	}
	return value, nil
}

// Write sends the text that stands for a value.
func (c *client) Write(ctx context.Context, p *common.DeviceProperty, value any) error {
	v, err := device.DecodeVisitor[visitor](p)
	if err != nil {
		return err
	}
	text, err := v.encode(value)
	if err != nil {
		return fmt.Errorf("property %q: %w", p.PropertyName, err)
	}
	_, err = c.do(ctx, v.Method, v.Path, text)
	return err
}

// State judges by the last request: the protocol has no question for it.
func (c *client) State(context.Context) (string, error) {
	if c.failing {
		return common.DeviceStatusUnhealthy, nil
	}
	return common.DeviceStatusOK, nil
}

// Close has nothing to do: the connections belong to the driver.
func (c *client) Close(context.Context) error { return nil }

// statusError is an answer that is not one of success.
type statusError struct {
	request, status, text string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: status %s: %.80q", e.request, e.status, e.text)
}

// do sends one request and returns the trimmed text of its answer.
func (c *client) do(ctx context.Context, method, path, body string) (text string, err error) {
	defer func() { c.failing = err != nil }()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	target := strings.TrimSuffix(c.BaseURL, "/") + path
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() == nil { // refused, reset, unknown host: worth connecting anew, and offline until then
			err = fmt.Errorf("%w: %w", device.ErrNotConnected, err)
		}
		return "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", method, target, err)
	}
	if len(raw) > maxBody {
		return "", fmt.Errorf("%s %s: the answer has more than %d bytes", method, target, maxBody)
	}
	text = strings.TrimSpace(string(raw))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return "", &statusError{request: method + " " + target, status: resp.Status, text: text}
	}
	return text, nil
}

// decode turns a text of the device into a value of the property.
func (v *visitor) decode(text, dataType string) (value any, err error) {
	if len(v.Mapping) > 0 {
		for _, pair := range v.Mapping {
			if value, t, _ := strings.Cut(pair, "="); t == text {
				return value, nil
			}
		}
		return nil, fmt.Errorf("got %.80q, want a text of the mapping %s", text, strings.Join(v.Mapping, ","))
	}
	switch strings.ToLower(dataType) {
	case "int":
		value, err = strconv.ParseInt(text, 10, 64)
	case "float", "double":
		value, err = strconv.ParseFloat(text, 64)
	case "boolean":
		value, err = strconv.ParseBool(text)
	default:
		return text, nil
	}
	if err != nil {
		return nil, fmt.Errorf("got %.80q, want a value of type %s", text, strings.ToLower(dataType))
	}
	return value, nil
}

// encode turns a value of the property into a text for the device.
func (v *visitor) encode(value any) (string, error) {
	var text string
	switch value := value.(type) {
	case string:
		text = value
	case []byte:
		text = string(value)
	case float64:
		text = strconv.FormatFloat(value, 'f', -1, 64)
	default:
		text = fmt.Sprint(value)
	}
	if len(v.Mapping) == 0 {
		return text, nil
	}
	for _, pair := range v.Mapping {
		if value, t, _ := strings.Cut(pair, "="); value == text {
			return t, nil
		}
	}
	return "", fmt.Errorf("got %.80q, want a value of the mapping %s", text, strings.Join(v.Mapping, ","))
}
