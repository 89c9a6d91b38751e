#!/usr/bin/env python3
"""A gRPC client on one connection, with Python's grpcio, that makes the calls it is told to.

usage: grpcio_client.py SOCKET

Each line of standard input begins a call: {"id": 1, "path": "/runtime.v1.RuntimeService/Version", "request": [],
"stream": false}. A line of standard output tells how it ended: {"id": 1, "code": "OK", "message": "", "answers": [[]]}. Calls
run side by side. Messages are lists of bytes, so nothing has to be generated from the protocol.

grpcio takes the path of a unix socket, percent-encoded, for the `:authority` of its calls; servers and proxies on a strict
HTTP/2 library turn that away.
"""

import json
import sys
import threading

import grpc


def make(channel: grpc.Channel, call: dict) -> None:
    request = bytes(call["request"])
    answers = []
    try:
        if call["stream"]:
            answers.extend(list(answer) for answer in channel.unary_stream(call["path"])(request))
        else:
            answers.append(list(channel.unary_unary(call["path"])(request)))
        code, message = "OK", ""
    except grpc.RpcError as error:
        code, message = error.code().name, error.details()
    ended = {"id": call["id"], "code": code, "message": message, "answers": answers}
    # One write, so that lines of calls that end together stay whole.
    sys.stdout.write(json.dumps(ended) + "\n")
    sys.stdout.flush()


def main() -> None:
    with grpc.insecure_channel(f"unix://{sys.argv[1]}") as channel:
        for line in sys.stdin:
            threading.Thread(target=make, args=(channel, json.loads(line)), daemon=True).start()


main()
