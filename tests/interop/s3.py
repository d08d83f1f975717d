#!/usr/bin/env python3
"""An S3 endpoint in memory (moto) on a free loopback port, with one bucket.

  s3.py serve    prints {"endpoint", "bucket", "environment": {...}} on one line when it is ready; ends with its input

The environment holds what clients take from it: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and so on. moto answers conditional puts
(If-None-Match, If-Match) as S3 does, with exactly one winner. It ignores If-Match when a multipart upload is completed.
"""
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

BUCKET = "lake"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def create_bucket(endpoint):
    # moto reads of the signature only which service is meant.
    credential = "Credential=lakebed/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT",
                                     headers={"Authorization": f"AWS4-HMAC-SHA256 {credential}"})
    try:
        return urllib.request.urlopen(request, timeout=5).status == 200
    except urllib.error.HTTPError:
        raise
    except OSError:
        return False


def serve():
    endpoint = f"http://127.0.0.1:{free_port()}"
    command = [os.path.join(os.path.dirname(sys.executable), "moto_server"), "-H", "127.0.0.1", "-p", endpoint.rsplit(":", 1)[1]]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not create_bucket(endpoint):
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit("moto_server does not start")
            time.sleep(0.1)
        environment = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
                       "AWS_ACCESS_KEY_ID": "lakebed", "AWS_SECRET_ACCESS_KEY": "lakebed-secret"}
        print(json.dumps({"endpoint": endpoint, "bucket": BUCKET, "environment": environment}), flush=True)
        sys.stdin.read()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    if sys.argv[1:] != ["serve"]:
        sys.exit(__doc__)
    serve()
