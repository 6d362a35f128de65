// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/stage"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// ADMethodConfig is what `pushMethod.anomalyDetection` of a Device's property says. EdgeCore carries only flat scalars
// there, so every key is flat, dotted where it nests. Make one with [Parse] or [ParseSettings]; the zero value is not
// configured and detects nothing.
type ADMethodConfig struct {
	ADMethodName string          `param:"adMethodName" scope:"device" maxlen:"63" doc:"where the detector runs: inprocess, or another adapter that is linked into the mapper"`
	Detector     string          `param:"detector" scope:"device" maxlen:"63" doc:"driver that judges the readings"`
	Threshold    float64         `param:"threshold" scope:"device" min:"0.5" max:"0.9999" doc:"score from which a reading is anomalous; (1−threshold)³ is the expected rate of false alarms: 0.95 is one in 8,000 readings"`
	Model        string          `param:"model" scope:"device" maxlen:"253" doc:"trained model file, looked up in the model directory"`
	Group        string          `param:"group" scope:"device" maxlen:"253" doc:"properties of the same namespace with the same group are scored together"`
	Sinks        []string        `param:"sinks" scope:"device" max:"32" maxlen:"63" doc:"where verdicts go; empty means the mapper's defaults"`
	Categories   []string        `param:"categories" scope:"device" doc:"the texts of an enumeration, in order; learned from the readings where empty"`
	Heartbeat    time.Duration   `param:"heartbeat" scope:"device" min:"0s" max:"8760h" doc:"a verdict that does not change is repeated to the sinks this often"`
	Accept       Acceptance      `param:"accept" scope:"device" doc:"for how long a stream must behave in a new way, uncontradicted, until that is the new normal and its incident is over: a time, never, for signals whose faults are to be told until they are mended, or auto, as the detector has it"`
	Language     driver.Language `param:"language" scope:"device" enum:"en,zh" doc:"language of the sentences that say why: English or Chinese"`
	Policy       PolicyConfig    `param:"" scope:"device"`
	Quality      QualityConfig   `param:"quality" scope:"device"`
	Rows         RowsConfig      `param:"rows" scope:"device"`

	// Options holds the keys of drivers and adapters by their first segment: Options["detector"]["window"] is the key
	// detector.window. They are checked when the property is bound, by the part that they belong to.
	Options map[string]map[string]any

	settings map[string]any // as given, flattened
	device   []string       // keys that the Device set, sorted
}

// Acceptance is [driver.Settings].Accept as a key: a time, "never", or "auto" for the detector's own, the zero value.
type Acceptance time.Duration

const maxAcceptance = 8760 * time.Hour // a year; what is longer is never

// UnmarshalText reads a positive duration of a year at most, "never", or "auto".
func (a *Acceptance) UnmarshalText(text []byte) error {
	switch string(text) {
	case "auto", "":
		*a = 0
		return nil
	case "never":
		*a = Acceptance(driver.NeverAccept)
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 || d > maxAcceptance {
		return errors.New(`a duration over 0 and up to 8760h with a unit, such as "6h", never, or auto`)
	}
	*a = Acceptance(d)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (a Acceptance) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// String is as UnmarshalText reads it.
func (a Acceptance) String() string {
	switch time.Duration(a) {
	case 0:
		return "auto"
	case driver.NeverAccept:
		return "never"
	}
	return time.Duration(a).String()
}

// DriverSettings is what a detector is opened with for the given members, but for its seed and model.
func (c *ADMethodConfig) DriverSettings(members []driver.Member) driver.Settings {
	return driver.Settings{Members: members, Threshold: c.Threshold, Accept: time.Duration(c.Accept)}
}

// The stages' own parts of the configuration.
type (
	// PolicyConfig tells which anomalies are of interest.
	PolicyConfig = stage.PolicyConfig
	// QualityConfig tells the quality stage what is normal.
	QualityConfig = stage.QualityConfig
	// RowsConfig tells how the readings of a group become rows.
	RowsConfig = stage.RowsConfig
)

// DefaultConfig returns the built-in defaults.
func DefaultConfig() ADMethodConfig {
	return ADMethodConfig{
		ADMethodName: "inprocess",
		Detector:     "auto",
		Threshold:    driver.DefaultThreshold,
		Heartbeat:    time.Minute,
		Language:     driver.English,
		Policy:       stage.DefaultPolicy(),
		Quality:      stage.DefaultQuality(),
		Rows:         stage.DefaultRows(),
	}
}

// richKey holds a whole configuration as one JSON text, for what is too rich for flat keys.
const richKey = "config"

// Parse reads what a Device says of a property, as the mapper framework passes it on: a JSON object of scalars, numbers
// possibly quoted or rounded to float32. Null and an empty text mean that detection is not configured. All errors are
// joined; each names its key, the value and what was expected.
func Parse(raw json.RawMessage) (ADMethodConfig, error) {
	if trimmed := bytes.TrimSpace(raw); len(trimmed) == 0 || bytes.Equal(trimmed, []byte("null")) {
		return ADMethodConfig{}, nil
	}
	if len(raw) > MaxSettings {
		return ADMethodConfig{}, fmt.Errorf("anomalyDetection: %d bytes of settings: want at most %d", len(raw), MaxSettings)
	}
	settings, err := decodeObject(raw)
	if err != nil {
		return ADMethodConfig{}, fmt.Errorf("anomalyDetection: %w", err)
	}
	return Layers{Device: settings}.Parse()
}

func decodeObject(raw []byte) (map[string]any, error) {
	var settings map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&settings); err != nil {
		return nil, fmt.Errorf("want a JSON object: %w", err)
	}
	if dec.More() {
		return nil, errors.New("want one JSON object, got more after it")
	}
	return settings, nil
}

// ParseSettings reads a configuration from settings, flat or nested, over [DefaultConfig]. They are the program's own, or
// its operator's, and are trusted; what a Device says goes through [Parse] or [Layers.Parse].
func ParseSettings(settings map[string]any) (ADMethodConfig, error) {
	flat, err := flatten(settings)
	if err != nil {
		return ADMethodConfig{}, fmt.Errorf("anomalyDetection: %w", err)
	}
	return parseFlat(flat)
}

func flatten(settings map[string]any) (map[string]any, error) {
	flat, err := params.Flatten(settings)
	if err != nil {
		return nil, err
	}
	return expandRich(flat)
}

// Sections are the first segments of the keys of [ADMethodConfig] that have several; the others belong to the detector and to
// adapters.
func Sections() []string { return slices.Clone(sections) }

var sections = func() (names []string) {
	for _, key := range params.Keys(&ADMethodConfig{}) {
		if prefix, _, dotted := strings.Cut(key, "."); dotted && !slices.Contains(names, prefix) {
			names = append(names, prefix)
		}
	}
	return names
}()

func parseFlat(flat map[string]any) (ADMethodConfig, error) {
	c := DefaultConfig()
	c.settings = flat
	known := params.Keys(&c)
	own := make(map[string]any, len(flat))
	for key, value := range flat {
		prefix, rest, dotted := strings.Cut(key, ".")
		if !dotted || slices.Contains(sections, prefix) {
			own[key] = value
			continue
		}
		if c.Options == nil {
			c.Options = make(map[string]map[string]any)
		}
		if c.Options[prefix] == nil {
			c.Options[prefix] = make(map[string]any)
		}
		c.Options[prefix][rest] = value
	}
	var errs []error
	for key := range own {
		if !slices.Contains(known, key) {
			delete(own, key)
			errs = append(errs, params.Unknown(key, append(known, richKey)))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	if err := errors.Join(append(errs, params.Decode(&c, own))...); err != nil {
		return ADMethodConfig{}, fmt.Errorf("anomalyDetection: %w", err)
	}
	if _, own := flat["threshold"]; !own && c.Policy.Sensitivity != "" {
		c.Threshold = c.Policy.Threshold()
	}
	return c, nil
}

// expandRich merges the JSON text under the key config beneath the flat keys.
func expandRich(flat map[string]any) (map[string]any, error) {
	rich, ok := flat[richKey]
	if !ok {
		return flat, nil
	}
	text, ok := rich.(string)
	if !ok {
		return nil, &params.Error{Key: richKey, Value: rich, Want: "a JSON object as one text"}
	}
	nested, err := decodeObject([]byte(text))
	if err != nil {
		return nil, &params.Error{Key: richKey, Value: text, Want: "a JSON object as one text: " + err.Error()}
	}
	if _, again := nested[richKey]; again {
		return nil, &params.Error{Key: richKey, Want: "must not hold the key config itself"}
	}
	merged, err := params.Flatten(nested)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", richKey, err)
	}
	maps.Copy(merged, flat)
	delete(merged, richKey)
	return merged, nil
}

// Configured reports whether c came from a configuration, as opposed to being the zero value.
func (c ADMethodConfig) Configured() bool { return c.ADMethodName != "" }

// Sets reports whether c was parsed from settings that say the key, as opposed to its default.
func (c *ADMethodConfig) Sets(key string) bool {
	_, set := c.settings[key]
	return set
}

// Settings returns the flat settings that c was parsed from, without defaults.
func (c ADMethodConfig) Settings() map[string]any { return maps.Clone(c.settings) }

// Fingerprint identifies the configuration: equal fingerprints configure equally, also where somebody wants them not to,
// as properties share what is made of a configuration. It is 16 hexadecimal digits.
func (c ADMethodConfig) Fingerprint() string {
	h := sha256.New()
	for _, p := range params.Describe(&c) {
		fmt.Fprintf(h, "%q=%q\n", p.Key, p.Default)
	}
	for _, prefix := range slices.Sorted(maps.Keys(c.Options)) {
		for _, key := range slices.Sorted(maps.Keys(c.Options[prefix])) {
			fmt.Fprintf(h, "%q.%q=%q\n", prefix, key, fmt.Sprint(c.Options[prefix][key]))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// IsZero is the opposite of Configured, for the JSON option omitzero.
func (c ADMethodConfig) IsZero() bool { return !c.Configured() }

// MarshalJSON writes the settings that c was parsed from; null where it is not configured.
func (c ADMethodConfig) MarshalJSON() ([]byte, error) { return json.Marshal(c.settings) }

// UnmarshalJSON is [Parse].
func (c *ADMethodConfig) UnmarshalJSON(raw []byte) error {
	parsed, err := Parse(raw)
	if err != nil {
		return err
	}
	*c = parsed
	return nil
}

// Cycle is the duration that a collectCycle or reportCycle of a Device means, fallback for one that is not positive.
//
// The field has no unit. Mappers of KubeEdge's template take milliseconds, samples in KubeEdge's documentation are
// written in nanoseconds (10000000000 for ten seconds): values from 100,000,000 on, which would be more than a day in
// milliseconds, are nanoseconds here.
func Cycle(v int64, fallback time.Duration) time.Duration {
	const nanosecondsFrom = 100_000_000
	switch {
	case v <= 0:
		return fallback
	case v >= nanosecondsFrom:
		return time.Duration(v)
	}
	return time.Duration(v) * time.Millisecond
}
