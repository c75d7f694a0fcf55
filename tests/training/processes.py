"""Several processes on this machine that find each other by `TF_CONFIG`, as those of several machines do."""

import json
import os
import socket


def cluster(count=2):
    """Return the environment of each of so many processes that work together."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    tasks = [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}} for i in range(count)]
    return [{**os.environ, "TF_CONFIG": json.dumps(task)} for task in tasks]
