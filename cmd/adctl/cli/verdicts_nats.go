// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/kubeedge/edge-anomaly/admethod/bus"
	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/sink/history"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

// natsClient reads verdicts from the bus of anomaly-detector.
type natsClient struct {
	address, credentials, nkey string
	files                      tlsfiles.Files
}

func (c *natsClient) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&c.address, "nats", "", "addresses of the NATS cluster whose bus has the verdicts, such as nats://127.0.0.1:4222")
	flags.StringVar(&c.credentials, "nats-credentials", "", "file with the JWT and the key of a user")
	flags.StringVar(&c.nkey, "nats-nkey", "", "file with the seed of a user's NKey")
	flags.StringVar(&c.files.CA, "nats-ca", "", "PEM file with the authorities that the cluster's certificates must come from")
	flags.StringVar(&c.files.Cert, "nats-cert", "", "PEM file with the own certificate, where the cluster asks for one")
	flags.StringVar(&c.files.Key, "nats-key", "", "PEM file with its key")
}

// verdicts are the latest that match, oldest first.
func (c *natsClient) verdicts(ctx context.Context, f history.Filter) (found []httpapi.Verdict, err error) {
	options := []nats.Option{nats.Name("adctl"), nats.Timeout(5 * time.Second)}
	if c.files != (tlsfiles.Files{}) {
		var files *tlsfiles.Loader
		if files, err = tlsfiles.New(c.files, func(error) {}); err != nil {
			return nil, err
		}
		options = append(options, nats.Secure(files.Client()))
	}
	if c.credentials != "" {
		options = append(options, nats.UserCredentials(c.credentials))
	}
	if c.nkey != "" {
		o, err := nats.NkeyOptionFromSeed(c.nkey)
		if err != nil {
			return nil, fmt.Errorf("--nats-nkey: %w", err)
		}
		options = append(options, o)
	}
	conn, err := nats.Connect(c.address, options...)
	if err != nil {
		return nil, fmt.Errorf("--nats: %w", err)
	}
	defer conn.Close()
	var since time.Time
	if !f.Since.IsZero() {
		since = f.Since.Add(-time.Hour) // told then; the clock of a device may be ahead
	}
	err = bus.ReadVerdicts(ctx, conn, bus.Reading{Since: since}, func(_ time.Time, data []byte) error {
		var v httpapi.Verdict
		if err := json.Unmarshal(data, &v); err != nil {
			return fmt.Errorf("a verdict on the bus: %w", err)
		}
		if matches(&f, &v) {
			if found = append(found, v); len(found) >= 2*f.Limit {
				found = append(found[:0], found[len(found)-f.Limit:]...)
			}
		}
		return nil
	})
	return found[max(len(found)-f.Limit, 0):], err
}

func matches(f *history.Filter, v *httpapi.Verdict) bool {
	for _, p := range [...][2]string{{f.Namespace, v.Namespace}, {f.Device, v.Device}, {f.Property, v.Property}} {
		if ok, err := path.Match(p[0], p[1]); p[0] != "" && (!ok || err != nil) {
			return false
		}
	}
	return v.Severity >= f.Severity && (f.Since.IsZero() || !v.At.Before(f.Since)) && (f.Until.IsZero() || v.At.Before(f.Until))
}
