#!/usr/bin/python3
# Copyright The edge-anomaly Authors.
# SPDX-License-Identifier: Apache-2.0
"""A mapper's side over HTTP, with nothing but Python's standard library.

It reads one value per line, posts all of them as one batch of readings that
have only the proposal's fields, and prints one line per verdict, in order: the
value, the status, the time that the verdict is for, and the message, separated
by tabs. It fails unless every reading is answered exactly once. With --ca it
trusts that authority only, and shows --cert and --key where given; --token
names a file with a bearer token.
"""

import argparse
import datetime
import json
import ssl
import sys
import urllib.error
import urllib.request

START = datetime.datetime(2026, 7, 1, 12, 0, 0)


def main():
    parser = argparse.ArgumentParser(description="A mapper's side over HTTP, with only the proposal's fields.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--device", default="boiler-1")
    parser.add_argument("--property", default="temperature")
    parser.add_argument("--ca")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--token")
    parser.add_argument("--timeout", type=float, default=60)
    args = parser.parse_args()

    values = [line.strip() for line in sys.stdin if line.strip()]
    readings = [
        {
            "deviceName": args.device,
            "namespace": args.namespace,
            "propertyName": args.property,
            "propertyValue": value,
            "timestamp": (START + datetime.timedelta(seconds=i)).isoformat() + "Z",
        }
        for i, value in enumerate(values)
    ]
    headers = {"Content-Type": "application/json"}
    if args.token:
        with open(args.token) as f:
            headers["Authorization"] = "Bearer " + f.read().strip()
    context = None
    if args.ca:
        context = ssl.create_default_context(cafile=args.ca)
        if args.cert:
            context.load_cert_chain(args.cert, args.key)
    request = urllib.request.Request(args.url, json.dumps({"readings": readings}).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=args.timeout, context=context) as response:
            answers = json.load(response).get("answers", [])
    except urllib.error.HTTPError as e:
        sys.exit("%d: %s" % (e.code, e.read().decode()))
    except urllib.error.URLError as e:
        sys.exit(str(e.reason))
    if len(answers) != len(values):
        sys.exit("%d verdicts on %d readings" % (len(answers), len(values)))
    for value, answer in zip(values, answers):
        print(value, answer.get("status", ""), answer.get("timestamp", ""), answer.get("message", ""), sep="\t")


if __name__ == "__main__":
    main()
