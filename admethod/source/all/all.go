// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package all links every source that this module ships, for programs that watch devices whose mapper knows nothing of
// them.
package all

import (
	_ "github.com/kubeedge/edge-anomaly/admethod/source/file"        // source
	_ "github.com/kubeedge/edge-anomaly/admethod/source/kubernetes"  // source
	_ "github.com/kubeedge/edge-anomaly/admethod/source/mqtt"        // source
	_ "github.com/kubeedge/edge-anomaly/admethod/source/otlp"        // source
	_ "github.com/kubeedge/edge-anomaly/admethod/source/prometheus"  // source
	_ "github.com/kubeedge/edge-anomaly/admethod/source/remotewrite" // source
	_ "github.com/kubeedge/edge-anomaly/admethod/source/sql/mysql"   // source sql, with the driver of MySQL and MariaDB
)
