// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package mysql links the driver "mysql" for the source sql, for MySQL and MariaDB. Import it for its side effect.
package mysql

import (
	"github.com/go-sql-driver/mysql"

	_ "github.com/kubeedge/edge-anomaly/admethod/source/sql" // source
)

func init() {
	_ = mysql.SetLogger(&mysql.NopLogger{}) // what it says is in the errors that the source tells
}
