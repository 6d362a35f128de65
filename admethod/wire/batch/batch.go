// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package batch writes and reads batches of readings and of verdicts as the bodies of HTTP that openapi.yaml describes:
// the JSON of proto/anomalydetector/v1's DetectRequest and DetectResponse, or CloudEvents with one of their members in
// each event.
package batch

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"mime"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// OpenAPI is the description of the endpoint, in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte

const (
	// Path is where detectors take batches.
	Path = "/v1/detect"
	// CallbackHeader of a request names the URL that the verdicts may be posted to later.
	CallbackHeader = "Callback-Url"
)

// Format is how a batch is written.
type Format string

// The formats.
const (
	JSON        Format = "json"
	CloudEvents Format = "cloudevents"
)

const (
	typeJSON        = "application/json"
	typeCloudEvents = "application/cloudevents-batch+json"
)

// mostValues is the number of values in a body at most: a few bytes each, they would take a hundred times as many in
// memory.
const mostValues = 1 << 18

// ErrTooLarge is returned for a body over its limit, compressed or not, and for one with too many values in it.
var ErrTooLarge = errors.New("the body is too large")

// ErrMediaType is returned for a media type or an encoding that is not among the known ones.
var ErrMediaType = errors.New("unsupported media type")

// ContentType is the media type of the format.
func (f Format) ContentType() string {
	if f == CloudEvents {
		return typeCloudEvents + "; charset=utf-8"
	}
	return typeJSON
}

// FormatOf is the format of a media type as the header Content-Type has it. An empty one is JSON.
func FormatOf(contentType string) (Format, error) {
	if contentType == "" {
		return JSON, nil
	}
	media, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return "", fmt.Errorf("%w: %.100q: %w", ErrMediaType, contentType, err)
	}
	if charset := parameters["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return "", fmt.Errorf("%w: charset %.20q, want utf-8", ErrMediaType, charset)
	}
	switch media {
	case typeJSON:
		return JSON, nil
	case typeCloudEvents:
		return CloudEvents, nil
	}
	return "", fmt.Errorf("%w: %.100q, want %s or %s", ErrMediaType, media, typeJSON, typeCloudEvents)
}

// What a peer of a later version adds is skipped, as it is in the binary encoding.
var reader = protojson.UnmarshalOptions{DiscardUnknown: true}

// EncodeRequest writes a batch of readings. CloudEvents keep no stream where there are no readings.
func (f Format) EncodeRequest(m *pb.DetectRequest) ([]byte, error) {
	if f == CloudEvents {
		return encodeReadings(m)
	}
	return protojson.Marshal(m)
}

// DecodeRequest reads a batch of readings.
func (f Format) DecodeRequest(body []byte) (*pb.DetectRequest, error) {
	if err := checkValues(body); err != nil {
		return nil, err
	}
	if f == CloudEvents {
		return decodeReadings(body)
	}
	m := new(pb.DetectRequest)
	if err := decode(body, m); err != nil {
		return nil, err
	}
	if slices.Contains(m.Readings, nil) {
		return nil, errors.New("readings: got null, want an object")
	}
	return m, nil
}

// EncodeResponse writes verdicts. CloudEvents keep no stream_id where there are no answers.
func (f Format) EncodeResponse(m *pb.DetectResponse) ([]byte, error) {
	if f == CloudEvents {
		return encodeAnswers(m)
	}
	return protojson.Marshal(m)
}

// DecodeResponse reads verdicts.
func (f Format) DecodeResponse(body []byte) (*pb.DetectResponse, error) {
	if err := checkValues(body); err != nil {
		return nil, err
	}
	if f == CloudEvents {
		return decodeAnswers(body)
	}
	m := new(pb.DetectResponse)
	if err := decode(body, m); err != nil {
		return nil, err
	}
	if slices.Contains(m.Answers, nil) {
		return nil, errors.New("answers: got null, want an object")
	}
	return m, nil
}

func decode(body []byte, m proto.Message) error {
	if err := reader.Unmarshal(body, m); err != nil {
		return fmt.Errorf("want the JSON of %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return nil
}

// checkValues counts the values of JSON, at least: each is preceded by one of three characters.
func checkValues(body []byte) error {
	n, text, escaped := 0, false, false
	for _, c := range body {
		switch {
		case escaped:
			escaped = false
		case text && c == '\\':
			escaped = true
		case c == '"':
			text = !text
		case !text && (c == ',' || c == '[' || c == '{'):
			n++
		}
	}
	if n > mostValues {
		return fmt.Errorf("%w: %d values, want at most %d", ErrTooLarge, n, mostValues)
	}
	return nil
}

// Compress returns the body in gzip.
func Compress(body []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return b.Bytes(), nil
}

// ReadBody reads a body of that Content-Encoding, "" or "gzip". limit bounds its bytes, as they come and decompressed.
func ReadBody(body io.Reader, encoding string, limit int64) ([]byte, error) {
	in := &capped{r: body, left: limit}
	var from io.Reader = in
	switch strings.ToLower(encoding) {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		from = &capped{r: z, left: limit}
	default:
		return nil, fmt.Errorf("%w: content encoding %.20q, want gzip or none", ErrMediaType, encoding)
	}
	return io.ReadAll(from)
}

// capped fails a reader that has more than left bytes.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	// One byte more than allowed tells too much from just enough.
	n, err := c.r.Read(p[:min(int64(len(p)), c.left+1)])
	if c.left -= int64(n); c.left < 0 {
		return 0, ErrTooLarge
	}
	return n, err
}
