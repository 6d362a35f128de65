// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt_test

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/internal/mqttclient"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/mqtt"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
)

// now is when messages come in tests without a broker.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func topics(all ...map[string]any) map[string]any {
	var list []any
	for _, t := range all {
		list = append(list, t)
	}
	return map[string]any{"topics": list}
}

// version of MQTT that sources of tests speak.
var version = mqttclient.Version311

// bothVersions runs a test with each version of MQTT.
func bothVersions(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for _, version = range []string{mqttclient.Version5, mqttclient.Version311} {
		t.Run("MQTT "+version, test)
	}
}

func newSource(tb testing.TB, address, dir string, r *sourcetest.Reports, options map[string]any) *mqtt.Source {
	tb.Helper()
	all := map[string]any{"broker": "mqtt://" + address, "insecure": true, "zone": "Europe/Berlin", "timeout": "2s", "protocol": version}
	maps.Copy(all, options)
	s, err := mqtt.New(source.Settings{Name: "test", Options: all, StateDir: dir, Report: r.Report})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func newReader(tb testing.TB, topic map[string]any) mqtt.Reader {
	tb.Helper()
	return mqtt.NewReader(newSource(tb, "127.0.0.1:1", "", new(sourcetest.Reports), topics(topic)))
}

// show writes readings, a line each.
func show(all []source.Reading) string {
	var b strings.Builder
	for _, r := range all {
		fmt.Fprintf(&b, "%s %v", r.Key, r.Value)
		if r.Text != "" {
			fmt.Fprintf(&b, " %q", r.Text)
		}
		if !r.At.Equal(now) {
			fmt.Fprintf(&b, " %s", r.At.UTC().Format(time.RFC3339Nano))
		}
		if r.Property != nil && r.Property.DataType != "" {
			fmt.Fprintf(&b, " %s", r.Property.DataType)
		}
		b.WriteString("\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

var (
	plainTopic  = map[string]any{"topic": "plant/{device}/{property}"}
	mapperTopic = map[string]any{"topic": "data/{device}/temperature", "payload": "mapper", "property": "temperature"}
	twinTopic   = map[string]any{"payload": "twin"}
	jsonTopic   = map[string]any{"topic": "{site}/{device}", "payload": "json", "value": "data.0.temp", "time": "ts", "property": "temp", "namespace": "{site}"}
	eachTopic   = map[string]any{"topic": "zigbee2mqtt/{device}", "payload": "json", "value": "*", "time": "last_seen"}
)

// textTopic is one whose messages are as a template says.
func textTopic(template string) map[string]any {
	return map[string]any{"topic": "site/{device}", "payload": "text", "template": template}
}

func TestText(t *testing.T) {
	with := func(template string) map[string]any {
		of := textTopic(template)
		of["property"] = "force"
		return of
	}
	for name, c := range map[string]struct {
		of            map[string]any
		payload, want string // the readings, or a part of the error
	}{
		"value":           {with("F={value}"), "F=20.5", "default/a/force 20.5"},
		"of a mapper":     {with("time is {time:2006-01-02 15:04:05}  {_}: {value}"), "time is 2026-03-01 13:00:01  data/light: 21.5", "default/a/force 21.5 2026-03-01T12:00:01Z"},
		"any time":        {with("time is {time} {_}: {value}"), "time is 2026-03-01 13:00:01  data/light: 21.5", "default/a/force 21.5 2026-03-01T12:00:01Z"},
		"Unix time":       {with("{time};{value:number}"), "1772366401;-3e2\r\n", "default/a/force -300 2026-03-01T12:00:01Z double"},
		"German time":     {with("{time:02.01.2006 15:04} Uhr: {value:number} {unit}"), "01.03.2026 13:00 Uhr:   4 kN", "default/a/force 4 double"},
		"names":           {textTopic("{property}@{line}: {value:boolean}"), "door 1@b: on\nlamp@b: off\n", "default/a/door 1 0 \"on\" boolean\ndefault/a/lamp 0 \"off\" boolean"},
		"text":            {with("{value:text}."), "5.", `default/a/force 0 "5" string`},
		"regular":         {with("f(x)=[{value}]*"), "f(x)=[1]*", "default/a/force 1"},
		"another":         {with("F={value}"), "G=1", `payload "G=1": want the like of "F={value}"`},
		"nothing":         {with("F={value}"), " \n", `want the like of "F={value}"`},
		"one of them":     {with("F={value:number}"), "F=1\nF=x\nF=3", `payload "F=x": value: number: got "x", want a number`},
		"no time of day":  {with("{time} {value}"), "2026-13-01 13:00:01 1", "time: "},
		"behind the text": {with("F={value:number} N"), "F=1 N and more", "want the like of"},
	} {
		all, _, err := newReader(t, c.of).Read("site/a", c.payload, false, now)
		got := show(all)
		if err != nil {
			if !strings.Contains(err.Error(), `topic "site/a"`) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v; want %q and the topic", name, err, c.want)
			}
			if name == "one of them" && got != "default/a/force 1 double\ndefault/a/force 3 2026-03-01T12:00:00.000001Z double" {
				t.Errorf("%s: the others are %s", name, got)
			}
			continue
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	for template, want := range map[string]string{
		"":                            "want {value} in it",
		"{time}":                      "want {value} in it",
		"{value}{unit}":               "{unit}: want a text between it and what is before",
		"{value} {value}":             "{value}: it stands twice in it",
		"{value":                      "want a name in braces",
		"value}":                      "a } without {",
		"{value:float}":               "want number, text or boolean behind the colon",
		"{unit:x} {value}":            "want no colon",
		"{device} {property} {value}": "names that the topic has not: {device}",
	} {
		of := textTopic(template)
		of["property"] = "p"
		_, err := mqtt.New(source.Settings{Name: "test", Report: new(sourcetest.Reports).Report, Options: map[string]any{
			"broker": "mqtt://127.0.0.1:1", "insecure": true, "topics": []any{of},
		}})
		if err == nil || !strings.Contains(err.Error(), "topics[0].template") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", template, err, want)
		}
	}
}

func TestForms(t *testing.T) {
	for name, c := range map[string]struct {
		of             map[string]any
		topic, payload string
		want           string // the readings, or a part of the error
	}{
		"plain":                {plainTopic, "plant/press/force", "20.5", "default/press/force 20.5"},
		"plain with spaces":    {plainTopic, "plant/press/force", " -3e2\n", "default/press/force -300"},
		"plain text":           {plainTopic, "plant/press/state", "running", `default/press/state 0 "running"`},
		"plain NaN":            {plainTopic, "plant/press/force", "NaN", "default/press/force NaN"},
		"plain hexadecimal":    {plainTopic, "plant/press/code", "0x1F", `default/press/code 0 "0x1F"`},
		"plain bytes":          {plainTopic, "plant/press/raw", "\xff\xfe", "default/press/raw 0 \"\uFFFD\""},
		"plain long":           {plainTopic, "plant/press/raw", strings.Repeat("é", 500), `default/press/raw 0 "` + strings.Repeat("é", 128) + `"`},
		"plain nothing":        {plainTopic, "plant/press/force", " ", `topic "plant/press/force": an empty value`},
		"deleted":              {plainTopic, "plant/press/force", "", ""},
		"mapper":               {mapperTopic, "data/light/temperature", "time is 2026-03-01 13:00:01  data/light/temperature: 21.5", "default/light/temperature 21.5 2026-03-01T12:00:01Z"},
		"mapper, summer":       {mapperTopic, "data/light/temperature", "time is 2026-07-01 14:00:00  data/light/temperature: a: b", `default/light/temperature 0 "a: b" 2026-07-01T12:00:00Z`},
		"mapper, bridged":      {mapperTopic, "data/light/temperature", "time is 2026-03-01 13:00:01  site/data: 21.5", "default/light/temperature 21.5 2026-03-01T12:00:01Z"},
		"mapper, another":      {mapperTopic, "data/light/temperature", "21.5", "want the like of time is"},
		"mapper, no date":      {mapperTopic, "data/light/temperature", "time is 2026-13-01 13:00:01  x: 1", "month out of range"},
		"mapper, cut":          {mapperTopic, "data/light/temperature", "time is 2026-03-01 13:00:01", "a colon and a value"},
		"twin":                 {twinTopic, "$hw/events/device/light/twin/update", `{"event_id":"","timestamp":1772366400000,"twin":{"lux":{"actual":{"value":"20.5","metadata":{"timestamp":1772366401000}},"metadata":{"type":"float"}},"on":{"actual":{"value":"true"},"metadata":{"type":"boolean"}}}}`, "default/light/lux 20.5 2026-03-01T12:00:01Z float\ndefault/light/on 0 \"true\" boolean"},
		"twin, desired":        {twinTopic, "$hw/events/device/light/twin/update", `{"twin":{"lux":{"expected":{"value":"1"}},"gone":null}}`, ""},
		"twin, partly":         {twinTopic, "$hw/events/device/light/twin/update", `{"twin":{"a":{"actual":{"value":""}},"b":{"actual":{"value":"2"}}}}`, `twin "a": an empty value`},
		"twin, another":        {twinTopic, "$hw/events/device/light/twin/update", `{"event_id":"x"}`, "it has no twin"},
		"twin, no JSON":        {twinTopic, "$hw/events/device/light/twin/update", `20.5`, "want a twin update"},
		"twin, a number":       {twinTopic, "$hw/events/device/light/twin/update", `{"twin":{"a":{"actual":{"value":20.5}}}}`, "want a twin update"},
		"json":                 {jsonTopic, "hall/a", `{"ts":"2026-03-01T13:00:02+01:00","data":[{"temp":20.5}]}`, "hall/a/temp 20.5 2026-03-01T12:00:02Z"},
		"json, text":           {jsonTopic, "hall/a", `{"ts":1772366403,"data":[{"temp":"20.5"}]}`, "hall/a/temp 20.5 2026-03-01T12:00:03Z"},
		"json, boolean":        {jsonTopic, "hall/a", `{"ts":1772366400.5,"data":[{"temp":true}]}`, `hall/a/temp 0 "true" 2026-03-01T12:00:00.5Z`},
		"json, no zone":        {jsonTopic, "hall/a", `{"ts":"2026-03-01 13:00:02","data":[{"temp":1}]}`, "hall/a/temp 1 2026-03-01T12:00:02Z"},
		"json, not there":      {jsonTopic, "hall/a", `{"ts":1,"data":[{"t":1}]}`, "value: nothing at data.0.temp"},
		"json, no list":        {jsonTopic, "hall/a", `{"ts":1,"data":[]}`, "data.0: want an index below 0"},
		"json, below a value":  {jsonTopic, "hall/a", `{"ts":1,"data":7}`, "nothing below data"},
		"json, an object":      {jsonTopic, "hall/a", `{"ts":1,"data":[{"temp":{}}]}`, "is no number, text, true or false"},
		"json, no time":        {jsonTopic, "hall/a", `{"data":[{"temp":1}]}`, "time: nothing at ts"},
		"json, odd time":       {jsonTopic, "hall/a", `{"ts":"soon","data":[{"temp":1}]}`, "want Unix time"},
		"json, two":            {jsonTopic, "hall/a", `{"ts":1,"data":[{"temp":1}]}{}`, "something behind it"},
		"json, cut":            {jsonTopic, "hall/a", `{"ts":1,"data":[`, "want JSON"},
		"each":                 {eachTopic, "zigbee2mqtt/plug", `{"last_seen":1772366400000,"power":12.5,"state":"ON","color":{"x":1},"list":[1],"none":null,"a/b":3}`, "default/plug/a%2Fb 3\ndefault/plug/power 12.5\ndefault/plug/state 0 \"ON\""},
		"each, no object":      {eachTopic, "zigbee2mqtt/plug", `[1]`, "time: "},
		"too long":             {plainTopic, "plant/press/force", strings.Repeat("1", 70000), "the key maxPayload allows 65536"},
		"a topic of nobody":    {plainTopic, "plant/press", "1", ""},
		"nested more than one": {eachTopic, "zigbee2mqtt/plug", strings.Repeat("[", 20000), "want JSON"},
	} {
		all, _, err := newReader(t, c.of).Read(c.topic, c.payload, false, now)
		got := show(all)
		if err != nil {
			if !strings.Contains(err.Error(), c.topic) || !strings.Contains(err.Error(), c.want) || c.want == "" {
				t.Errorf("%s: %v; want %q and the topic", name, err, c.want)
			}
			continue
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// What is right in a message is not lost for what is wrong in it.
func TestPartlyWrong(t *testing.T) {
	all, _, err := newReader(t, twinTopic).Read("$hw/events/device/d/twin/update", `{"twin":{"a":{"actual":{"value":""}},"b":{"actual":{"value":"2"}}}}`, false, now)
	if err == nil || show(all) != "default/d/b 2" {
		t.Errorf("%s, %v", show(all), err)
	}
}

// Readings of one property share what is known of it; messages that come at once have times of their own.
func TestOneProperty(t *testing.T) {
	r := newReader(t, plainTopic)
	var last source.Reading
	for i := range 5 {
		all, _, err := r.Read("plant/press/force", fmt.Sprint(i), false, now)
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		if i > 0 && (all[0].Property != last.Property || !all[0].At.After(last.At)) {
			t.Errorf("%+v behind %+v", all[0], last)
		}
		last = all[0]
	}
	if last.Property.Labels["device"] != "press" {
		t.Errorf("labels %v", last.Property.Labels)
	}
}

// A message that the broker had kept is a reading only where it says when it is of, and that is news.
func TestRetained(t *testing.T) {
	const topic, old, newer = "hall/a", `{"ts":1772366000,"data":[{"temp":1}]}`, `{"ts":1772366300,"data":[{"temp":2}]}`
	if all, _, err := newReader(t, jsonTopic).Read(topic, old, true, now); len(all) > 0 || err != nil {
		t.Errorf("%s, %v: want none, as the key retained is not set", show(all), err)
	}
	options := topics(jsonTopic, plainTopic3)
	options["retained"] = true
	r := mqtt.NewReader(newSource(t, "127.0.0.1:1", "", new(sourcetest.Reports), options))
	for i, c := range []struct {
		topic, payload string
		retained       bool
		want           int
	}{
		{topic, old, true, 1}, {topic, old, true, 0}, {topic, newer, false, 1}, {topic, newer, true, 0}, {topic, old, true, 0},
		{"a/b/c", "7", true, 0}, {"a/b/c", "7", false, 1},
	} {
		all, _, err := r.Read(c.topic, c.payload, c.retained, now)
		if err != nil || len(all) != c.want {
			t.Errorf("message %d: %s, %v; want %d readings", i, show(all), err, c.want)
		}
	}
}

var plainTopic3 = map[string]any{"topic": "{namespace}/{device}/{property}"}

// A million different topics take no more memory than series allows; those that were there first are served on.
func TestBounds(t *testing.T) {
	for name, c := range map[string]struct {
		of             map[string]any
		topic, payload func(i int) string
	}{
		"topics": {plainTopic, func(i int) string { return fmt.Sprintf("plant/%d/x", i) }, func(int) string { return "1" }},
		"members": {
			map[string]any{"topic": "z/{device}", "payload": "json", "value": "*"},
			func(int) string { return "z/a" },
			func(i int) string { return fmt.Sprintf(`{"k%d":1}`, i) },
		},
		"edge nodes": {map[string]any{"payload": "sparkplug"}, func(i int) string { return fmt.Sprintf("spBv1.0/g/NDATA/n%d", i) }, func(int) string { return "\x18\x01" }},
	} {
		options := topics(c.of)
		options["series"] = 100
		r := mqtt.NewReader(newSource(t, "127.0.0.1:1", "", new(sourcetest.Reports), options))
		refused := 0
		for i := range 20000 {
			if _, _, err := r.Read(c.topic(i), c.payload(i), false, now); err != nil {
				if refused++; !strings.Contains(err.Error(), "the key series allows, 100") {
					t.Fatal(err)
				}
			}
		}
		series, metrics := r.Known()
		if refused < 19000 || series > 100 || metrics > 100 {
			t.Errorf("%s: %d refused, %d series and %d metrics known", name, refused, series, metrics)
		}
		if _, _, err := r.Read(c.topic(0), c.payload(0), false, now); err != nil {
			t.Errorf("%s: the first one: %v", name, err)
		}
		if _, _, err := r.Read(c.topic(20001), c.payload(20001), false, now.Add(2*time.Hour)); err != nil && name == "topics" {
			t.Errorf("%s: one that comes when the others are idle: %v", name, err)
		}
	}
}

func TestInstant(t *testing.T) {
	for text, want := range map[string]string{
		"1772366400": "2026-03-01T12:00:00Z", "1772366400000": "2026-03-01T12:00:00Z", "1772366400000000": "2026-03-01T12:00:00Z", "1772366400000000001": "2026-03-01T12:00:00.000000001Z",
		"1772366400.25": "2026-03-01T12:00:00.25Z", "1772366400250.0": "2026-03-01T12:00:00.25Z", "1.7723664e9": "2026-03-01T12:00:00Z", "-1": "1969-12-31T23:59:59Z", "0": "1970-01-01T00:00:00Z",
		"2026-03-01T12:00:00.5Z": "2026-03-01T12:00:00.5Z", "2026-03-01 13:00:00": "2026-03-01T12:00:00Z",
		"": "", "soon": "", "NaN": "", "1e300": "", "-1e300": "", "Inf": "", "99999999999999999999999": "",
	} {
		berlin, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		at, err := mqtt.Instant(text, berlin)
		if (err != nil) != (want == "") || err == nil && at.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%q: %v, %v; want %q", text, at, err, want)
		}
	}
}

// Whatever is published, reading it ends with readings that an intake can take, or with an error that names the topic.
func fuzz(f *testing.F, of map[string]any, topic string, seeds ...string) {
	f.Helper()
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		all, _, err := newReader(t, of).Read(topic, string(payload), false, now)
		if err != nil && !strings.Contains(err.Error(), topic) {
			t.Errorf("%v: want the topic", err)
		}
		for _, r := range all {
			if r.At.IsZero() || len(r.Text) > 256 || r.Text != "" && r.Value != 0 || r.At.Year() > 9999 || math.IsNaN(r.Value) && len(payload) == 0 {
				t.Errorf("%+v", r)
			}
		}
	})
}

func FuzzPlain(f *testing.F) { fuzz(f, plainTopic, "plant/a/b", "20.5", "on", "\xff", "0x1p-2") }

func FuzzMapper(f *testing.F) {
	fuzz(f, mapperTopic, "data/a/temperature", "time is 2026-03-01 13:00:01  data/a/temperature: 21.5", "time is ")
}

func FuzzText(f *testing.F) {
	fuzz(f, textTopic("{time} {property} is {value:number} {unit}"), "site/a", "2026-03-01T12:00:01Z force is 20.5 kN\nx", "1772366400 force is NaN ")
}

// FuzzTemplate is of templates that people write: one that is taken reads anything.
func FuzzTemplate(f *testing.F) {
	f.Add("time is {time:2006-01-02 15:04:05}  {_}: {value}", "time is 2026-03-01 13:00:01  a: 5")
	f.Add("{time:Jan _2 15:04:05 MST}|{value:boolean}({unit})[*", "Mar  1 13:00:01 CET|on(x)[*")
	f.Fuzz(func(t *testing.T, template, payload string) {
		of := textTopic(template)
		of["property"] = "p"
		s, err := mqtt.New(source.Settings{Name: "test", Report: new(sourcetest.Reports).Report, Options: map[string]any{
			"broker": "mqtt://127.0.0.1:1", "insecure": true, "topics": []any{of},
		}})
		if err != nil {
			return
		}
		all, _, err := mqtt.NewReader(s).Read("site/a", payload, false, now)
		if err == nil && len(all) == 0 && payload != "" {
			t.Errorf("%q says nothing of %q", template, payload)
		}
	})
}

func FuzzTwin(f *testing.F) {
	fuzz(f, twinTopic, "$hw/events/device/a/twin/update", `{"timestamp":1,"twin":{"lux":{"actual":{"value":"20.5","metadata":{"timestamp":1772366401000}},"metadata":{"type":"float"}}}}`)
}

func FuzzJSON(f *testing.F) {
	fuzz(f, jsonTopic, "hall/a", `{"ts":"2026-03-01T13:00:02+01:00","data":[{"temp":20.5}]}`, `{"ts":1e9,"data":[{"temp":"x"}]}`)
}

func FuzzJSONMembers(f *testing.F) {
	fuzz(f, eachTopic, "zigbee2mqtt/a", `{"last_seen":1,"power":12.5,"state":"ON"}`, `{"last_seen":"","a":{"b":1}}`)
}
