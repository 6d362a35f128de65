#!/usr/bin/python3
# Copyright The edge-anomaly Authors.
# SPDX-License-Identifier: Apache-2.0
"""A detector over HTTP, with nothing but Python's standard library.

It judges by fixed limits, reads and writes only the proposal's fields, and
answers the readings of a batch in their order. It prints the address that it
listens on as its first line, and ends when its standard input does. Plaintext,
on the loopback: an example.
"""

import argparse
import http.server
import json
import sys
import threading


class Detector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections
    low, high = 0.0, 100.0

    def judge(self, reading):
        try:
            value = float(reading["propertyValue"])
        except (KeyError, ValueError):
            return "invalid", "not a number"
        if self.low <= value <= self.high:
            return "ok", "within limits"
        return "anomaly", "%g is outside %g to %g" % (value, self.low, self.high)

    def do_POST(self):
        batch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answers = []
        for reading in batch.get("readings", []):
            status, message = self.judge(reading)
            answers.append({"status": status, "message": message, "timestamp": reading["timestamp"]})
        body = json.dumps({"answers": answers}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description="A detector over HTTP, with only the proposal's fields.")
    parser.add_argument("--address", default="127.0.0.1:0")
    parser.add_argument("--low", type=float, default=0)
    parser.add_argument("--high", type=float, default=100)
    args = parser.parse_args()

    Detector.low, Detector.high = args.low, args.high
    host, _, port = args.address.rpartition(":")
    server = http.server.ThreadingHTTPServer((host, int(port)), Detector)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("%s:%d" % server.server_address, flush=True)
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
