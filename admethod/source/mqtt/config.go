// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/internal/mqttclient"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/naming"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Config of the source. Beside it stands topics, a list of [Topic].
type Config struct {
	mqttclient.Config

	Protocol      string        `param:"protocol" enum:"3.1.1,5" doc:"version of MQTT; brokers of 5 speak 3.1.1 as well"`
	SessionExpiry time.Duration `param:"sessionExpiry" min:"0s" max:"876000h" doc:"protocol 5: for how long the broker keeps messages while the source is away; with 3.1.1 that is the broker's setting"`

	QoS        int    `param:"qos" min:"0" max:"1" doc:"quality of service to ask for. With 1 and an identity that lasts, by clientID or a state directory, the broker keeps messages while the source is away"`
	Share      string `param:"share" doc:"name of a shared subscription: of all who have it, one gets each message"`
	Retained   bool   `param:"retained" doc:"takes messages that the broker had kept, where they say when they are of; else they are passed over, as nobody knows how old they are"`
	Rebirth    bool   `param:"rebirth" doc:"asks edge nodes of Sparkplug B for birth certificates that were missed; without, their values mean nothing until the next ones"`
	Zone       string `param:"zone" doc:"time zone of times that name none, such as Europe/Berlin; Local is that of this process"`
	MaxPayload int    `param:"maxPayload" min:"64" max:"16777216" doc:"bytes of a message; longer ones are refused"`
	Series     int    `param:"series" min:"1" max:"1000000" doc:"topics and properties that are known at once; others are refused"`
}

// Topic is one of the topics. The package says which names templates may use.
type Topic struct {
	Topic     string          `param:"topic" maxlen:"65535" doc:"filter of topics, with + and # or with names in braces for levels, such as plant/{device}/{property}; twin and sparkplug have defaults"`
	Payload   string          `param:"payload" enum:"plain,json,text,twin,sparkplug,mapper" doc:"what messages are: plain, a number or text; json, see value; text, see template; twin, what devices of KubeEdge's EventBus publish; sparkplug, Sparkplug B; mapper, what mappers of KubeEdge's template push"`
	Template  string          `param:"template" maxlen:"1024" doc:"text: what messages look like, such as 'at {time}: {value:number} {unit}'. {value} may be of kind number, boolean or text, {time:02.01.2006 15:04} has a layout of Go, {_} is passed over, and other names are for templates of names; each line is a reading"`
	Value     string          `param:"value" doc:"json: where the value is, such as data.temp or readings.0.value; * at the end is each member of an object, called {key}"`
	Time      string          `param:"time" doc:"json: where the time is: Unix seconds, milliseconds, microseconds or nanoseconds, or RFC 3339; empty: when the message came"`
	Namespace naming.Template `param:"namespace" doc:"namespace of a reading, with names in braces; empty: {namespace} or {group} where there is one, else default"`
	Device    naming.Template `param:"device" doc:"its device; empty: {device}"`
	Property  naming.Template `param:"property" doc:"its property; empty: {property} or {key}"`

	pattern     pattern
	value, time path
	text        *text
}

// The forms of payloads.
const (
	formPlain     = "plain"
	formJSON      = "json"
	formText      = "text"
	formTwin      = "twin"
	formSparkplug = "sparkplug"
	formMapper    = "mapper"
)

// twinTopic is where devices publish to EventBus.
const twinTopic = "$hw/events/device/{device}/twin/update"

// mostTopics bounds the list of topics.
const mostTopics = 256

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Config: mqttclient.DefaultConfig(), Protocol: mqttclient.Version311, SessionExpiry: 7 * 24 * time.Hour, QoS: 1, Rebirth: true, Zone: "Local", MaxPayload: 64 << 10, Series: 100000}
}

// DefaultTopic returns the defaults of a topic.
func DefaultTopic() Topic { return Topic{Payload: formPlain} }

// decode reads options over the defaults.
func decode(options map[string]any) (c Config, topics []*Topic, zone *time.Location, err error) {
	c = DefaultConfig()
	options = maps.Clone(options)
	list := options["topics"]
	delete(options, "topics")
	errs := []error{source.Decode(&c, options), params.Each("topics", list, func(settings map[string]any) error {
		t := DefaultTopic()
		err := params.Decode(&t, settings)
		topics = append(topics, &t)
		return errors.Join(err, t.complete())
	}), c.Validate()}
	zone, err = time.LoadLocation(c.Zone)
	if err != nil {
		errs = append(errs, &params.Error{Key: "zone", Value: c.Zone, Want: "a time zone: " + err.Error()})
	}
	if strings.ContainsAny(c.Share, "/+#\x00") {
		errs = append(errs, &params.Error{Key: "share", Value: c.Share, Want: "a name without / + and #"})
	}
	errs = append(errs, apart(&c, topics))
	return c, topics, zone, errors.Join(errs...)
}

// apart checks that no message comes by two topics.
func apart(c *Config, topics []*Topic) error {
	if len(topics) == 0 {
		return &params.Error{Key: "topics", Want: "at least one topic, such as topics: [{topic: plant/{device}/{property}}]"}
	}
	if len(topics) > mostTopics {
		return &params.Error{Key: "topics", Want: fmt.Sprintf("at most %d topics, not %d", mostTopics, len(topics))}
	}
	var errs []error
	for i, t := range topics {
		for j, other := range topics[:i] {
			if overlap(&t.pattern, &other.pattern) {
				errs = append(errs, &params.Error{Key: fmt.Sprintf("topics[%d].topic", i), Value: t.Topic, Want: fmt.Sprintf("topics that topics[%d], %q, has not: what both have may come twice", j, other.Topic)})
			}
		}
		if t.Payload == formSparkplug && c.Share != "" {
			errs = append(errs, &params.Error{Key: "share", Value: c.Share, Want: fmt.Sprintf("none beside topics[%d] of Sparkplug B: who gets a value needs the birth certificate that it refers to", i)})
		}
	}
	return errors.Join(errs...)
}

// complete fills in defaults and checks a topic.
func (t *Topic) complete() error {
	var errs []error
	fail := func(key string, value any, want string) {
		errs = append(errs, &params.Error{Key: key, Value: value, Want: want})
	}
	if t.Topic == "" {
		switch t.Payload {
		case formTwin:
			t.Topic = twinTopic
		case formSparkplug:
			t.Topic = sparkplugRoot + "/#"
		}
	}
	var err error
	if t.Topic == "" {
		fail("topic", nil, "must be set, such as plant/{device}/{property}")
	} else if t.pattern, err = parsePattern(t.Topic); err != nil {
		fail("topic", t.Topic, err.Error())
	}
	names := t.pattern.names()
	if t.value, err = parsePath(t.Value); err != nil {
		fail("value", t.Value, err.Error())
	}
	if t.time, err = parsePath(t.Time); err != nil || t.time.each() {
		fail("time", t.Time, "names between dots, such as data.time")
	}
	switch {
	case t.Payload != formJSON && (t.Value != "" || t.Time != ""):
		fail("payload", t.Payload, formJSON+", where value or time is set")
	case t.Payload == formJSON && t.Value == "":
		fail("value", nil, "must be set, such as data.temp, or * for each member")
	}
	switch {
	case t.Payload != formText && t.Template != "":
		fail("payload", t.Payload, formText+", where template is set")
	case t.Payload == formText:
		if t.text, err = parseText(t.Template); err != nil {
			fail("template", t.Template, "the like of time is {time}, value is {value:number}: "+err.Error())
			break
		}
		for _, name := range t.text.names {
			if slices.Contains(names, name) {
				fail("template", t.Template, fmt.Sprintf("names that the topic has not: {%s}", name))
			}
		}
		names = append(names, t.text.names...)
	}
	switch {
	case t.Payload == formTwin:
		names = append(names, "property")
	case t.Payload == formSparkplug:
		if names != nil || !strings.HasPrefix(t.Topic, sparkplugRoot+"/") {
			fail("topic", t.Topic, "the like of "+sparkplugRoot+"/#, without names: they are {group}, {node}, {device}, {id} and {property}")
		}
		names = []string{"group", "node", "device", "id", "property"}
	case t.value.each():
		names = append(names, "key")
	}
	for _, part := range []struct {
		key       string
		of        *naming.Template
		otherwise []string
		fixed     string
	}{
		{"namespace", &t.Namespace, []string{"namespace", "group"}, "default"},
		{"device", &t.Device, []string{"device"}, ""},
		{"property", &t.Property, []string{"property", "key"}, ""},
	} {
		if part.of.String() == "" {
			text := part.fixed
			for _, name := range slices.Backward(part.otherwise) {
				if slices.Contains(names, name) {
					text = "{" + name + "}"
				}
			}
			if text == "" {
				fail(part.key, nil, fmt.Sprintf("must be set, as the topic has no {%s}", part.otherwise[0]))
			}
			_ = part.of.UnmarshalText([]byte(text)) // it is right
		}
		for _, name := range part.of.Names() {
			if !slices.Contains(names, name) {
				fail(part.key, part.of.String(), fmt.Sprintf("names among %q", names))
			}
		}
	}
	return errors.Join(errs...)
}
