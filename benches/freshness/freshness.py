#!/usr/bin/env python3
"""How long after its commit at the source a row is visible to `lakebed query`.

A writer inserts and updates so many rows a second, in transactions of a hundredth of that, and notes when each commit returned. The daemon
commits every `--interval`. A reader runs `lakebed query 'SELECT max(id) …'` again and again, and notes when each query began and what it
showed: a row counts as visible from the begin of the first query that showed it, so that the time between two queries counts against us.
Everything runs on this machine. Percentiles over all transactions are printed, a line of JSON last.

    LAKEBED_BIN=target/release/lakebed benches/freshness/freshness.py [--rate 2000] [--seconds 60] [--interval 1s] [--table-type mor]
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))
from server import PASSWORD, USER, Server  # noqa: E402

PER_SECOND = 100


def write(server, rate, seconds, commits):
    """Changes rows at `rate`; notes (greatest id, time of the commit) of each transaction."""
    client = subprocess.Popen(["mariadb", "--no-defaults", f"--socket={server.socket}", "-uroot", "-N", "-B", "-n", "shop"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    # Half of the changes are inserts, half are updates of rows of the last minute.
    inserts = max(rate // PER_SECOND // 2, 1)
    began, last = time.monotonic(), 0
    for tick in range(seconds * PER_SECOND):
        wait = began + tick / PER_SECOND - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        first, last = last + 1, last + inserts
        values = ",".join(f"({i}, {i % 97}, 'note {i}')" for i in range(first, last + 1))
        client.stdin.write(f"BEGIN; INSERT INTO f VALUES {values}; UPDATE f SET n = n + 1 WHERE id BETWEEN "
                           f"{max(last - 3 * inserts, 1)} AND {max(last - 2 * inserts - 1, 1)}; COMMIT; SELECT {last};\n")
        client.stdin.flush()
        client.stdout.readline()
        commits.append((last, time.time()))
    client.stdin.close()
    client.wait()
    return last


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--interval", default="1s")
    parser.add_argument("--table-type", default="mor")
    args = parser.parse_args()
    binary = os.environ.get("LAKEBED_BIN", "target/release/lakebed")
    directory, server = tempfile.mkdtemp(prefix="lakebed-freshness-"), Server()
    daemon = None
    try:
        server.sql("CREATE TABLE shop.f (id BIGINT PRIMARY KEY, n INT, note VARCHAR(40))")
        lake, pipeline = os.path.join(directory, "lake"), os.path.join(directory, "f.yaml")
        with open(pipeline, "w") as file:
            file.write(f"pipeline:\n  name: freshness\nsource:\n  type: mysql\n  hostname: 127.0.0.1\n  port: {server.port}\n"
                       f"  username: {USER}\n  password: {PASSWORD}\n  tables: shop\\.f\nsink:\n  type: hudi\n  path: {lake}\n"
                       f"  table.type: {args.table_type}\n  commit.interval: {args.interval}\n")
        log = open(os.path.join(directory, "log"), "wb")
        daemon = subprocess.Popen([binary, "run", pipeline], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        table = os.path.join(lake, "shop", "f")
        while b"following the binary log" not in open(log.name, "rb").read():
            if daemon.poll() is not None:
                raise SystemExit(f"the daemon ended: {open(log.name).read()}")
            time.sleep(0.05)
        commits, seen = [], []
        writer = threading.Thread(target=write, args=(server, args.rate, args.seconds, commits))
        writer.start()
        total = max(args.rate // PER_SECOND // 2, 1) * args.seconds * PER_SECOND
        end = time.monotonic() + args.seconds + 60
        while time.monotonic() < end and (not seen or seen[-1][1] < total):
            began = time.time()
            shown = subprocess.run([binary, "query", "SELECT max(id) AS id FROM f", "-t", f"f={table}", "--format", "json"],
                                   check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
            seen.append((began, json.loads(shown or '{"id": null}')["id"] or 0))
        writer.join()
        ages, query = [], 0
        for last, committed in commits:
            while query < len(seen) and (seen[query][1] < last or seen[query][0] < committed):
                query += 1
            if query == len(seen):
                raise SystemExit(f"row {last} did not become visible")
            ages.append(seen[query][0] - committed)
        ages.sort()
        at = lambda part: round(ages[min(int(part * len(ages)), len(ages) - 1)], 3)
        result = {"changes_per_second": args.rate, "interval": args.interval, "table_type": args.table_type, "transactions": len(ages),
                  "queries": len(seen), "p50_s": at(0.5), "p95_s": at(0.95), "p99_s": at(0.99), "max_s": round(ages[-1], 3)}
        print(f"visible after: p50 {result['p50_s']} s, p95 {result['p95_s']} s, p99 {result['p99_s']} s, at most {result['max_s']} s")
        print(json.dumps(result))
    finally:
        if daemon:
            daemon.terminate()
            daemon.wait()
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
