#!/usr/bin/env python3
"""An S3 endpoint on a free loopback port, with one bucket: moto, in memory, or versitygw, on disk.

  s3.py serve [versitygw]    prints {"endpoint", "bucket", "environment": {...}} on one line when it is ready; ends with its input
                             A line `restart` of its input kills the server and starts it again on the same port and data, which is
                             answered by a line `restarted`

The environment holds what clients take from it: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and so on. Both answer conditional puts
(If-None-Match, If-Match) as S3 does, with exactly one winner; moto ignores If-Match when a multipart upload is completed, and
forgets everything when it ends.
"""
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

BUCKET, REGION = "lake", "us-east-1"
ACCESS_KEY, SECRET_KEY = "lakebed", "lakebed-secret"


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


def moto(endpoint, _):
    command = [os.path.join(os.path.dirname(sys.executable), "moto_server"), "-H", "127.0.0.1", "-p", endpoint.rsplit(":", 1)[1]]
    return command, lambda: create_bucket(endpoint)


def versitygw(endpoint, directory):
    """Its buckets are the folders of a directory."""
    data, sidecar = (os.path.join(directory, name) for name in ("data", "sidecar"))
    for folder in (os.path.join(data, BUCKET), sidecar):
        os.makedirs(folder, exist_ok=True)
    command = [os.path.join(os.path.dirname(sys.executable), "versitygw"), "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--region",
               REGION, "--port", endpoint.removeprefix("http://"), "--quiet", "posix", "--sidecar", sidecar, data]
    return command, lambda: is_listening(endpoint)


def is_listening(endpoint):
    host, port = endpoint.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def start(command, is_ready):
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not is_ready():
        if server.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"{command[0]} does not start")
        time.sleep(0.1)
    return server


def serve(kind):
    endpoint = f"http://127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="lakebed-s3-") as directory:
        command, is_ready = kind(endpoint, directory)
        server = start(command, is_ready)
        try:
            environment = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": REGION,
                           "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
            print(json.dumps({"endpoint": endpoint, "bucket": BUCKET, "environment": environment}), flush=True)
            for line in sys.stdin:
                if line.strip() == "restart":
                    server.kill()
                    server.wait()
                    server = start(command, is_ready)
                    print("restarted", flush=True)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    kinds = {("serve",): moto, ("serve", "versitygw"): versitygw}
    if tuple(sys.argv[1:]) not in kinds:
        sys.exit(__doc__)
    serve(kinds[tuple(sys.argv[1:])])
