#!/usr/bin/python3
# Copyright The edge-anomaly Authors.
# SPDX-License-Identifier: Apache-2.0
"""A mapper's side that knows only the proposal's fields.

It reads one value per line, sends each as a reading of one property, and prints
one line per response, in order: the value, the status, the time that the
response is for, and the message, separated by tabs. It fails unless every
reading is answered exactly once. With --ca it trusts that authority only, and
shows --cert and --key where given; without, it speaks plaintext.
"""

import argparse
import datetime
import sys

import grpc
import proposal_pb2
import proposal_pb2_grpc

START = datetime.datetime(2026, 7, 1, 12, 0, 0)


def readings(args, values):
    for i, value in enumerate(values):
        yield proposal_pb2.DevicePropertyData(
            device_name=args.device,
            namespace=args.namespace,
            property_name=args.property,
            property_value=value,
            timestamp=(START + datetime.timedelta(seconds=i)).isoformat() + "Z",
        )


def read(path):
    if not path:
        return None
    with open(path, "rb") as f:
        return f.read()


def dial(args):
    if not args.ca:
        return grpc.insecure_channel(args.address)
    credentials = grpc.ssl_channel_credentials(read(args.ca), read(args.key), read(args.cert))
    return grpc.secure_channel(args.address, credentials)


def main():
    parser = argparse.ArgumentParser(description="A mapper's side that knows only the proposal's fields.")
    parser.add_argument("--address", required=True)
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--device", default="boiler-1")
    parser.add_argument("--property", default="temperature")
    parser.add_argument("--ca")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for the whole stream")
    args = parser.parse_args()

    values = [line.strip() for line in sys.stdin if line.strip()]
    answered = 0
    with dial(args) as channel:
        stub = proposal_pb2_grpc.AnomalyDetectionServiceStub(channel)
        try:
            for response in stub.StreamDetect(readings(args, values), timeout=args.timeout):
                if answered == len(values):
                    sys.exit("more responses than readings")
                print(values[answered], response.status, response.timestamp, response.message, sep="\t")
                answered += 1
        except grpc.RpcError as e:
            sys.exit("%s: %s" % (e.code().name, e.details()))
    if answered < len(values):
        sys.exit("%d of %d readings were not answered" % (len(values) - answered, len(values)))


if __name__ == "__main__":
    main()
