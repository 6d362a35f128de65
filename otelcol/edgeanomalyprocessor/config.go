// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package edgeanomalyprocessor

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/source/otlp"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Output says where verdicts stand.
type Output string

// The outputs.
const (
	Metrics    Output = "metrics"    // gauges of a scope of their own, beside what was judged
	Attributes Output = "attributes" // attributes of the points that were judged
)

// Config of the processor.
type Config struct {
	// Namespace, Device and Property are templates for what a series is called: attributes in braces, and {metric}. The
	// defaults are what KubeEdge's mappers push.
	Namespace string `mapstructure:"namespace"`
	Device    string `mapstructure:"device"`
	Property  string `mapstructure:"property"`

	// Defaults are keys of anomalyDetection for every series; Routes those for some, later ones win.
	Defaults map[string]any `mapstructure:"defaults"`
	Routes   []Route        `mapstructure:"routes"`

	// Output is metrics or attributes.
	Output Output `mapstructure:"output"`

	// Directory keeps what detectors learned over a restart; without it nothing is kept. It is for one processor alone.
	Directory string `mapstructure:"directory"`
	// Models is the directory of the models that the key model names.
	Models string `mapstructure:"models"`
	// Series bounds how many are judged at one time; what is beyond passes without a verdict.
	Series int `mapstructure:"series"`
	// Memory bounds what detectors may take, in MiB, by what they declare; -1 is no bound.
	Memory int `mapstructure:"memory"`
	// Idle is after which a series without points makes room; what it learned is kept for its return.
	Idle time.Duration `mapstructure:"idle"`
	// Deadline is after which a point passes without a verdict.
	Deadline time.Duration `mapstructure:"deadline"`

	_ struct{}
}

// Route gives settings to the series that match.
type Route struct {
	Match    Match          `mapstructure:"match"`
	Settings map[string]any `mapstructure:"settings"`
}

// Match are patterns such as room-*; those that are empty match everything.
type Match struct {
	Namespace string            `mapstructure:"namespace"`
	Device    string            `mapstructure:"device"`
	Property  string            `mapstructure:"property"`
	Labels    map[string]string `mapstructure:"labels"` // attributes of the point and its resource
}

func createDefaultConfig() component.Config {
	names := otlp.DefaultNames()
	return &Config{
		Namespace: names.Namespace, Device: names.Device, Property: names.Property,
		Output: Metrics, Series: 10_000, Memory: 512, Idle: time.Hour, Deadline: 5 * time.Second,
	}
}

// Validate says what is wrong, each part with its key.
func (c *Config) Validate() error {
	var errs []error
	_, err := c.reader()
	errs = append(errs, err)
	fail := func(key string, value any, want string) {
		errs = append(errs, &params.Error{Key: key, Value: value, Want: want})
	}
	if c.Output != Metrics && c.Output != Attributes {
		fail("output", string(c.Output), "metrics or attributes")
	}
	if c.Series < 1 || c.Series > 1_000_000 {
		fail("series", c.Series, "1 to 1000000")
	}
	if c.Memory < -1 || c.Memory == 0 || c.Memory > 1<<20 {
		fail("memory", c.Memory, "MiB, 1 to 1048576, or -1")
	}
	if c.Idle < time.Second {
		fail("idle", c.Idle, "at least 1s")
	}
	if c.Deadline < 100*time.Millisecond {
		fail("deadline", c.Deadline, "at least 100ms")
	}
	errs = append(errs, check("defaults", c.Defaults))
	for i := range c.Routes {
		if len(c.Routes[i].Settings) == 0 {
			fail(fmt.Sprintf("routes[%d].settings", i), nil, "at least one key")
		}
		errs = append(errs, check(fmt.Sprintf("routes[%d].settings", i), c.Defaults, c.Routes[i].Settings))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	in, err := c.intake(admethod.Hooks{})
	if err == nil {
		_, err = intake.New(in) // patterns of routes
	}
	return err
}

// check says what is wrong with settings of a series, as far as can be told before it is there.
func check(key string, layers ...map[string]any) error {
	settings := make(map[string]any)
	for _, layer := range layers {
		flat, err := params.Flatten(layer)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		maps.Copy(settings, flat)
	}
	for _, other := range []string{"adMethodName", "sinks"} {
		if value, ok := settings[other]; ok {
			return &params.Error{Key: key + "." + other, Value: value, Want: "nothing: points are judged here, and verdicts go with them"}
		}
	}
	parsed, err := admethod.ParseSettings(settings)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	members := 1
	if parsed.Group != "" {
		members = 2
	}
	parsed.ADMethodName = inprocess.Name
	if err := (pipeline.Options{}).Check(driver.Key{Namespace: "n", Device: "d", Property: "p"}, parsed, admethod.Meta{}, members); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// intake is the configuration of what judges.
func (c *Config) intake(hooks admethod.Hooks) (intake.Config, error) {
	defaults, err := params.Flatten(c.Defaults)
	if err != nil {
		return intake.Config{}, err
	}
	out := intake.Config{
		StateDir: c.Directory, ModelDir: c.Models, Defaults: defaults, MaxSeries: c.Series, Idle: c.Idle, Deadline: c.Deadline, Hooks: hooks,
	}
	for _, r := range c.Routes {
		settings, err := params.Flatten(r.Settings)
		if err != nil {
			return out, err
		}
		out.Routes = append(out.Routes, intake.Route{
			Namespace: r.Match.Namespace, Device: r.Match.Device, Property: r.Match.Property, Labels: r.Match.Labels, Settings: settings,
		})
	}
	return out, nil
}

// reader finds the readings in metrics.
func (c *Config) reader() (*otlp.Reader, error) {
	return otlp.NewReader(otlp.Names{Namespace: c.Namespace, Device: c.Device, Property: c.Property}, c.Series)
}
