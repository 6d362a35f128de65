// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package mysql links the driver "mysql" for the source sql, for MySQL and MariaDB. Import it for its side effect.
package mysql

import (
	"crypto/tls"
	"database/sql/driver"
	"errors"

	"github.com/go-sql-driver/mysql"

	"github.com/kubeedge/edge-anomaly/admethod/source/sql"
)

func init() {
	sql.RegisterConnector("mysql", connect)
	_ = mysql.SetLogger(&mysql.NopLogger{}) // what it says is in the errors that the source tells
}

// connect is the driver's, over TLS but on a unix socket.
func connect(dsn string, security *tls.Config) (driver.Connector, error) {
	c, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	if c.TLSConfig != "" {
		return nil, errors.New("tls in it: want the keys tls or insecure of the source instead")
	}
	if c.Net != "unix" {
		c.TLS = security
	}
	return mysql.NewConnector(c)
}
