#!/usr/bin/env python3
"""Times queries of Lakebed beside other readers, on one machine and the same files.

scan    a snapshot of a copy-on-write table of 5 million rows, all columns aggregated, against DataFusion's Python package on the bare
        Parquet files (`lakebed table files --latest`)
merge   a snapshot of a merge-on-read table of 2 million rows of which a fifth lies in logs, against hudi-rs (Python package `hudi`) and
        Apache Hudi on Spark local[2]
lookup  one row by its key out of 10 million

Each is a process of its own, from its start to its end; seconds of CPU are those of all its threads. The readers take turns; medians
are printed, a line of JSON last. Results are compared: a reader that answers something else fails the run. The data are seeded.

    LAKEBED_BIN=target/release/lakebed benches/query/query.py [--repeat N] [--only scan|merge|lookup] [--skip-spark]

Run it with the Python of `scripts/setup path` that has duckdb, hudi and datafusion (`pip install datafusion`); Spark needs
`scripts/setup interop`.
"""
import argparse
import ast
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
INTEROP = os.path.join(HERE, "..", "..", "tests", "interop")
ROWS = """SELECT i AS id, (hash(i) % 100000)::INT AS customer, ['new', 'paid', 'sent', 'returned'][1 + (i % 4)::INT] AS status,
  ((hash(i * 3) % 1000000) / 100)::DECIMAL(18,4) AS total, (i % 50)::INT AS quantity, 'note ' || md5(i::VARCHAR) AS note,
  i / 7 AS weight, i % 2 = 0 AS paid FROM range({first}, {last}) t(i) {where}"""
SUMS = ("SELECT count(*) AS n, sum(id) AS ids, sum(customer) AS customers, max(status) AS status, sum(total) AS total, "
        "sum(quantity) AS quantity, max(note) AS note, max(weight) AS weight, count(*) FILTER (WHERE paid) AS paid FROM t")

DATAFUSION = """
import json, sys
from datafusion import SessionConfig, SessionContext
context = SessionContext(SessionConfig().with_target_partitions(2))
files = json.load(open(sys.argv[2]))
context.register_parquet("t", files[0]) if len(files) == 1 else context.register_parquet("t", sys.argv[3])
print(json.dumps(context.sql(sys.argv[1]).to_pylist()[0], default=str))
"""
HUDI_RS = """
import json, sys
sys.path.insert(0, sys.argv[3])
import hudi_rs, pyarrow, pyarrow.compute as c
columns = ["id", "customer", "status", "total", "quantity", "note", "weight", "paid"]
t = pyarrow.Table.from_batches(hudi_rs.read(sys.argv[2], columns=columns))
s = lambda name: c.sum(t[name]).as_py()
m = lambda name: c.max(t[name]).as_py()
print(json.dumps({"n": t.num_rows, "ids": s("id"), "customers": s("customer"), "status": m("status"), "total": s("total"),
                  "quantity": s("quantity"), "note": m("note"), "weight": m("weight"), "paid": s("paid")}, default=str))
"""
SPARK = """
import json, os, sys
sys.path.insert(0, sys.argv[3])
import hudi_spark
# With the compiler of a user's JVM, not the tests' quick one.
spark, work = hudi_spark.start(conf={"spark.driver.extraJavaOptions": "-Duser.timezone=UTC"})
spark.read.format("hudi").load(sys.argv[2]).createOrReplaceTempView("t")
answer = spark.sql(sys.argv[1]).collect()[0].asDict()
ticks = open(f"/proc/{spark._jvm.java.lang.ProcessHandle.current().pid()}/stat").read().rpartition(")")[2].split()[11:13]
answer["jvm_cpu_seconds"] = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
print(json.dumps(answer, default=str))
spark.stop()
"""


def run(command):
    """(answer, wall seconds, CPU seconds) of a process and its children."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode:
        raise SystemExit(f"{command[:3]}: exit code {result.returncode}\n{result.stderr[-3000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return result.stdout, wall, cpu


def lakebed(*arguments):
    return run([os.environ["LAKEBED_BIN"], *arguments])


def parquet(path, first, last, where=""):
    import duckdb
    duckdb.sql(f"COPY ({ROWS.format(first=first, last=last, where=where)}) TO '{path}' (FORMAT parquet)")


def write(table, path, op, table_type="cow"):
    new = ["--table-type", table_type, "--record-key", "id"] if op == "bulk-insert" else []
    lakebed("table", "write", table, "--input", path, "--op", op, *new)


def normal(answer):
    row = json.loads(answer.strip().splitlines()[-1])
    return {name: round(float(value), 4) if name in ("total", "weight") else value for name, value in row.items()}


def compare(name, readers, repeat):
    """Lets the readers take turns; returns {reader: (wall, cpu)} medians."""
    times, answers = {reader: [] for reader in readers}, {}
    for _ in range(repeat):
        for reader, command in readers.items():
            answer, wall, cpu = run(command)
            answers[reader] = normal(answer)
            # The JVM is no child of the process that was measured.
            times[reader].append((wall, cpu + answers[reader].pop("jvm_cpu_seconds", 0)))
    first = answers["lakebed"]
    for reader, answer in answers.items():
        if answer != first:
            raise SystemExit(f"{name}: {reader} answers {answer}, lakebed {first}")
    medians = {r: tuple(statistics.median(t[i] for t in ts) for i in (0, 1)) for r, ts in times.items()}
    for reader, (wall, cpu) in medians.items():
        ratio = "" if reader == "lakebed" else f", {cpu / medians['lakebed'][1]:.2f} times Lakebed's CPU, {wall / medians['lakebed'][0]:.2f} times its time"
        print(f"{name}: {reader} {wall:.2f} s, {cpu:.2f} s of CPU{ratio}", flush=True)
    return {"what": name, **{r: {"seconds": round(w, 3), "cpu_seconds": round(c, 3)} for r, (w, c) in medians.items()}}


def query(table, sql=SUMS):
    return [os.environ["LAKEBED_BIN"], "query", sql, "-t", f"t={table}", "--format", "json"]


def scan(directory, repeat):
    table, rows = f"{directory}/scan", f"{directory}/scan.parquet"
    parquet(rows, 0, 5_000_000)
    write(table, rows, "bulk-insert")
    files = ast.literal_eval(lakebed("table", "files", table, "--latest")[0])
    bare = f"{directory}/bare"
    os.mkdir(bare)
    for path in files:
        os.link(path, os.path.join(bare, os.path.basename(path)))
    listed = f"{directory}/files.json"
    with open(listed, "w", encoding="utf-8") as f:
        json.dump([os.path.join(bare, n) for n in os.listdir(bare)], f)
    return compare("scan", {"lakebed": query(table), "datafusion": [sys.executable, "-c", DATAFUSION, SUMS, listed, bare + "/"]}, repeat)


def merge(directory, repeat, spark):
    table, rows, changed = f"{directory}/merge", f"{directory}/rows.parquet", f"{directory}/changed.parquet"
    parquet(rows, 0, 2_000_000)
    parquet(changed, 0, 2_000_000, "WHERE i % 5 = 3")
    write(table, rows, "bulk-insert", "mor")
    write(table, changed, "upsert")
    readers = {"lakebed": query(table), "hudi-rs": [sys.executable, "-c", HUDI_RS, SUMS, table, INTEROP]}
    if spark:
        readers["spark"] = [sys.executable, "-c", SPARK, SUMS, table, INTEROP]
    return compare("merge", readers, repeat)


def lookup(directory, repeat):
    table, rows = f"{directory}/lookup", f"{directory}/lookup.parquet"
    parquet(rows, 0, 10_000_000)
    write(table, rows, "bulk-insert")
    times = []
    for i in range(10 * repeat + 1):
        key = (i * 7_919_993) % 10_000_000
        answer, wall, cpu = run(query(table, f"SELECT * FROM t WHERE id = {key}"))
        if json.loads(answer.strip())["id"] != key:
            raise SystemExit(f"lookup of {key}: {answer}")
        times.append((wall, cpu))
    wall, cpu = (statistics.median(t[i] for t in times[1:]) for i in (0, 1))
    print(f"lookup: {1000 * wall:.0f} ms, {1000 * cpu:.0f} ms of CPU; first {1000 * times[0][0]:.0f} ms", flush=True)
    return {"what": "lookup", "rows": 10_000_000, "seconds": round(wall, 4), "cpu_seconds": round(cpu, 4)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--only", choices=["scan", "merge", "lookup"])
    p.add_argument("--skip-spark", action="store_true")
    a = p.parse_args()
    directory, results = tempfile.mkdtemp(prefix="lakebed-query-"), []
    try:
        for name, work in {"scan": lambda: scan(directory, a.repeat), "merge": lambda: merge(directory, a.repeat, not a.skip_spark),
                           "lookup": lambda: lookup(directory, a.repeat)}.items():
            if a.only in (None, name):
                results.append(work())
    finally:
        shutil.rmtree(directory)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
