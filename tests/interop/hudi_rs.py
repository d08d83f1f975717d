#!/usr/bin/env python3
"""A table as hudi-rs (PyPI `hudi`) reads it, in the encoding of rows.py, sorted by record key. Needs `scripts/setup`.

    hudi_rs.py read PATH [--query snapshot|read_optimized|time_travel|incremental] [--begin I] [--end I] [--as-of I]
                         [--columns a,b] [--filter FIELD OP VALUE]... [--meta] [--out FILE] [--storage k=v]...
    hudi_rs.py info PATH        instants, schema
    hudi_rs.py files PATH       base files of the latest slices (what duck.py wants)

begin and end: (begin, end], COMPLETION times for table version 8+, instant times for 6. PATH may be an s3:// URL with
--storage options. Exit status: 0 read, 3 refused or failed (message on stderr).
What it does not do (0.5.0): read `hoodie.record.merge.mode` (it merges by the ordering field, or takes the latest), more
than one ordering field, COW tables with log files, dropped partition columns.
"""
import argparse
import json
import os
import sys

import rows


def table(path, storage=()):
    from hudi import HudiTableBuilder
    builder = HudiTableBuilder.from_base_uri(path if "://" in path else os.path.abspath(path))   # refuses relative paths
    if storage:
        builder = builder.with_storage_options(dict(s.split("=", 1) for s in storage))
    return builder.build()


def read(path, query="snapshot", begin=None, end=None, as_of=None, columns=None, filters=(), storage=()):
    from hudi import HudiQueryType, HudiReadOptions
    o = HudiReadOptions()
    if filters:
        o = o.with_filters([tuple(f) for f in filters])
    if columns:
        o = o.with_projection(list(columns))
    if query == "incremental":
        o = o.with_query_type(HudiQueryType.Incremental)
        if begin:
            o = o.with_start_timestamp(begin)
        if end:
            o = o.with_end_timestamp(end)
    elif query == "time_travel":
        o = o.with_as_of_timestamp(as_of)
    elif query == "read_optimized":
        o = o.with_hudi_option("hoodie.read.use.read_optimized.mode", "true")
    elif query != "snapshot":
        raise ValueError(f"hudi-rs has no {query} query")
    return table(path, storage).read(o)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("cmd", choices=["read", "info", "files"])
    p.add_argument("path")
    p.add_argument("--query", default="snapshot")
    p.add_argument("--begin")
    p.add_argument("--end")
    p.add_argument("--as-of")
    p.add_argument("--columns", type=lambda s: s.split(","))
    p.add_argument("--filter", nargs=3, action="append", default=[])
    p.add_argument("--meta", action="store_true")
    p.add_argument("--out")
    p.add_argument("--storage", action="append", default=[])
    a = p.parse_args()
    try:
        if a.cmd == "read":
            batches = read(a.path, a.query, a.begin, a.end, a.as_of, a.columns, a.filter, a.storage)
            rows.emit(rows.encode(batches, a.meta or bool(a.columns), ("_hoodie_record_key", "_hoodie_partition_path")), a.out)
            return 0
        t = table(a.path, a.storage)
        if a.cmd == "files":
            for s in t.get_file_slices():
                print(s.base_file_relative_path())
            return 0
        timeline = t.get_timeline()
        print(json.dumps({
            "name": t.table_name, "type": t.table_type, "timezone": t.timezone,
            "instants": [[i.timestamp, i.action, i.state] for kind in ("commits", "deltacommits", "replacecommits")
                         for i in getattr(timeline, f"get_completed_{kind}")()],
            "schema": [[f.name, str(f.type), f.nullable] for f in t.get_schema()]}, indent=1))
        return 0
    except BaseException as e:  # noqa: BLE001 - Rust panics arrive as BaseException
        if isinstance(e, (KeyboardInterrupt, SystemExit)):
            raise
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
