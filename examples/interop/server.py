#!/usr/bin/python3
# Copyright The edge-anomaly Authors.
# SPDX-License-Identifier: Apache-2.0
"""A detector that knows only the proposal's fields.

It judges by fixed limits and answers the n-th reading of a stream with the
n-th response. It prints the address that it listens on as its first line, and
ends when its standard input does. Plaintext, on the loopback: an example.
"""

import argparse
import sys
from concurrent import futures

import grpc
import proposal_pb2
import proposal_pb2_grpc


class Detector(proposal_pb2_grpc.AnomalyDetectionServiceServicer):
    def __init__(self, low, high):
        self.low, self.high = low, high

    def judge(self, data):
        name = "%s/%s/%s" % (data.namespace, data.device_name, data.property_name)
        try:
            value = float(data.property_value)
        except ValueError:
            return "invalid", "%s: %r is not a number" % (name, data.property_value)
        if self.low <= value <= self.high:
            return "ok", "within limits"
        return "anomaly", "%s: %s is outside %g to %g" % (name, data.property_value, self.low, self.high)

    def StreamDetect(self, requests, context):
        for data in requests:
            status, message = self.judge(data)
            yield proposal_pb2.AnomalyResponse(status=status, message=message, timestamp=data.timestamp)


def main():
    parser = argparse.ArgumentParser(description="A detector that knows only the proposal's fields.")
    parser.add_argument("--address", default="127.0.0.1:0")
    parser.add_argument("--low", type=float, default=0)
    parser.add_argument("--high", type=float, default=100)
    args = parser.parse_args()

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    proposal_pb2_grpc.add_AnomalyDetectionServiceServicer_to_server(Detector(args.low, args.high), server)
    host, _, _ = args.address.rpartition(":")
    port = server.add_insecure_port(args.address)
    server.start()
    print("%s:%d" % (host, port), flush=True)
    sys.stdin.read()
    server.stop(grace=1).wait()


if __name__ == "__main__":
    main()
