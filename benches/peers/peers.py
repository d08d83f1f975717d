#!/usr/bin/env python3
"""Times Lakebed beside the fastest tools that do the first half of its work, on one machine and the same data.

load    a table of 2 million rows into a copy-on-write Hudi table, until the process has exited (all rows committed), against
        `mariadb-dump` of the same table to /dev/null
stream  one million row changes (half updates, four tenths inserts, one tenth deletes, in transactions of 1000 rows) of a table of half a
        million rows into a committed merge-on-read table, against `mariadb-binlog --base64-output=decode-rows -v` of the same
        log files to /dev/null. The lake is put back to its state before the changes for every repetition.

The two alternate; the medians and their ratio are printed, a line of JSON last. The data are seeded: every run has the same.
The server runs on the same machine, with everything in its buffer pool; peers.py warms that up first.

    LAKEBED_BIN=target/release/lakebed benches/peers/peers.py [--rows N] [--changes N] [--repeat N] [--only load|stream]
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time

from server import PASSWORD, USER, Server

COLUMNS = """(id BIGINT PRIMARY KEY, customer INT UNSIGNED NOT NULL, status VARCHAR(12) NOT NULL, total DECIMAL(18,4), quantity INT,
  note VARCHAR(200), created DATETIME(6) NOT NULL, changed TIMESTAMP NULL, weight DOUBLE, paid BOOL)"""
VALUES = """seq, CRC32(seq) % 100000, ELT(1 + seq % 4, 'new', 'paid', 'sent', 'returned'), (CRC32(seq * 3) % 1000000) / 100,
  seq % 50, CONCAT('note ', MD5(seq)), '2026-01-01' + INTERVAL seq SECOND, '2026-01-01 00:00:00' + INTERVAL seq % 86400 SECOND,
  seq / 7, seq % 2"""


def fill(server, table, rows):
    server.sql(f"CREATE TABLE shop.{table} {COLUMNS}")
    step = 100_000
    server.sql("".join(f"INSERT INTO shop.{table} SELECT {VALUES} FROM shop.seq_{i}_to_{min(i + step - 1, rows)};"
                       for i in range(1, rows + 1, step)))
    server.sql(f"ANALYZE TABLE shop.{table}; SELECT count(*), sum(length(note)) FROM shop.{table}")


def change(server, rows, changes):
    """Writes the changes into log files of their own and returns those."""
    server.sql("FLUSH BINARY LOGS")
    before = server.log_files()
    updates, inserts = changes // 2, changes * 4 // 10
    deletes = changes - updates - inserts
    statements = []
    for i in range(0, updates, 1000):
        first = min(i * 7919 % rows + 1, rows - 999)     # scattered ranges of 1000 rows each
        statements.append(f"UPDATE shop.stream SET status = 'paid', total = total + 1, quantity = quantity + {i % 7 + 1} "
                          f"WHERE id BETWEEN {first} AND {first + 999};")
    statements += [f"INSERT INTO shop.stream SELECT {VALUES} FROM shop.seq_{rows + i + 1}_to_{rows + i + 1000};"
                   for i in range(0, inserts, 1000)]
    statements += [f"DELETE FROM shop.stream WHERE id BETWEEN {i + 1} AND {i + 1000};" for i in range(0, deletes, 1000)]
    server.sql("".join(statements) + "FLUSH BINARY LOGS;")
    return [f for f in server.log_files() if f not in before[:-1]][:-1]


def pipeline(directory, server, table, table_type):
    path = os.path.join(directory, f"{table}.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"""pipeline:
  name: peers
source:
  type: mysql
  hostname: 127.0.0.1
  port: {server.port}
  username: {USER}
  password: {PASSWORD}
  tables: shop.{table}
sink:
  type: hudi
  path: {directory}/lake
  table.type: {table_type}
""")
    return path


def timed(command, **how):
    began = time.monotonic()
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **how)
    took = time.monotonic() - began
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {result.returncode}\n{result.stderr[-3000:]}")
    return took


def lakebed(path):
    return [os.environ["LAKEBED_BIN"], "run", path, "--until-current"]


def count(directory, table):
    out = subprocess.run([os.environ["LAKEBED_BIN"], "query", "SELECT count(*) AS n FROM t", "-t", f"t={directory}/lake/shop/{table}",
                          "--format", "json"], check=True, text=True, stdout=subprocess.PIPE).stdout
    return json.loads(out)["n"]


def load(server, rows, repeat):
    fill(server, "load", rows)
    dump = ["mariadb-dump", "--no-defaults", f"--socket={server.socket}", "-uroot", "--single-transaction", "--quick", "shop", "load"]
    ours, theirs = [], []
    for _ in range(repeat):
        theirs.append(timed(dump))
        directory = tempfile.mkdtemp(prefix="lakebed-peers-")
        ours.append(timed(lakebed(pipeline(directory, server, "load", "cow"))))
        if count(directory, "load") != rows:
            raise SystemExit(f"the lake holds {count(directory, 'load')} rows of {rows}")
        shutil.rmtree(directory)
    return report("load", rows, ours, theirs, "mariadb-dump")


def stream(server, rows, changes, repeat):
    fill(server, "stream", rows)
    directory = tempfile.mkdtemp(prefix="lakebed-peers-")
    path, lake = pipeline(directory, server, "stream", "mor"), f"{directory}/lake"
    timed(lakebed(path))
    shutil.copytree(lake, f"{directory}/before")
    files = change(server, rows, changes)
    expected = int(server.sql("SELECT count(*) FROM shop.stream"))
    decode = ["mariadb-binlog", "--no-defaults", "--base64-output=decode-rows", "-v", *files]
    timed(decode)
    ours, theirs = [], []
    for _ in range(repeat):
        theirs.append(timed(decode))
        shutil.rmtree(lake)
        shutil.copytree(f"{directory}/before", lake)
        ours.append(timed(lakebed(path)))
        if count(directory, "stream") != expected:
            raise SystemExit(f"the lake holds {count(directory, 'stream')} rows of {expected}")
    shutil.rmtree(directory)
    print(f"stream: {sum(os.path.getsize(f) for f in files) / 1e6:.0f} MB of log")
    return report("stream", changes, ours, theirs, "mariadb-binlog")


def report(name, rows, ours, theirs, peer):
    o, t = statistics.median(ours), statistics.median(theirs)
    show = lambda times: " ".join(f"{x:.2f}" for x in times)  # noqa: E731
    print(f"{name}: lakebed {o:.2f} s ({rows / o:,.0f} rows/s; {show(ours)}), {peer} {t:.2f} s ({show(theirs)}), ratio {o / t:.2f}", flush=True)
    return {"what": name, "rows": rows, "lakebed_seconds": round(o, 3), "peer": peer, "peer_seconds": round(t, 3), "ratio": round(o / t, 3)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rows", type=int, default=2_000_000)
    p.add_argument("--changes", type=int, default=1_000_000)
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--only", choices=["load", "stream"])
    a = p.parse_args()
    server, results = Server(), []
    try:
        if a.only != "stream":
            results.append(load(server, a.rows, a.repeat))
        if a.only != "load":
            results.append(stream(server, a.rows // 4, a.changes, a.repeat))
    finally:
        server.stop()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
