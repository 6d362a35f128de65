// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package device is a KubeEdge mapper without the protocol. An author writes a [Driver], how devices of one protocol
// are reached, and a main that calls [Run]; this package does the rest:
//
//   - It serves DMI to EdgeCore and registers with it ([DMIServer], [DMIClient]), and survives whatever comes over it:
//     [ParseDevice] keeps what is usable of a Device, pushMethod.anomalyDetection beside every other push method
//     included.
//   - It runs the devices ([Panel]): connects and reconnects, writes desired values, calls device methods, and reads
//     each property once a cycle for all who want the value.
//   - It reports twins and states within the limits of EdgeCore ([Reporter]), pushes readings over HTTP and MQTT
//     (package push) and has them watched by package admethod ([NewDetection]).
//   - It reports what was found as the state of the device and as twins, where the sink "dmi" is set ([Verdicts]).
//
// A property is read every collectCycle, else every reportCycle, else every second; detection and each [Consumer] see
// every reading, the twin and the push method one each reportCycle. See [Cycle] for the unit. The push methods otel and
// dbMethod are not provided: they are said once in the log, and cost the property nothing else.
//
// The configuration of the mapper is in package config; package edgecoretest simulates EdgeCore for tests.
package device
