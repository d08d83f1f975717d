#!/usr/bin/env python3
"""The Parquet files of a copy-on-write table (or of read-optimised slices) as DuckDB reads them. Needs `scripts/setup`.

    duck.py read FILE.parquet ... | @LIST [--meta] [--columns a,b] [--out FILE]    rows in the encoding of rows.py
    duck.py sql 'SELECT ... FROM t' FILE.parquet ... | @LIST [--out FILE]          SQL over them, as table t

@LIST is a file with one path a line ("-": stdin). DuckDB has no Hudi reader of its own: whoever calls this says which
files are the latest slices, e.g. `hudi_rs.py files PATH | sed "s|^|PATH/|" | duck.py read @-`.
Files of different schemas are joined by column name (union_by_name), as an evolved table needs it.
"""
import argparse
import sys

import rows


def files_of(words):
    out = []
    for w in words:
        if w.startswith("@"):
            with sys.stdin if w == "@-" else open(w[1:], encoding="utf-8") as f:
                out += [x.strip() for x in f if x.strip()]
        else:
            out.append(w)
    return out


def query(sql, files):
    import duckdb
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    listed = ", ".join("'" + f.replace("'", "''") + "'" for f in files)
    con.execute(f"CREATE VIEW t AS SELECT * FROM read_parquet([{listed}], union_by_name = true, hive_partitioning = false)")
    return con.sql(sql).to_arrow_table().to_batches()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("cmd", choices=["read", "sql"])
    p.add_argument("words", nargs="+")
    p.add_argument("--meta", action="store_true")
    p.add_argument("--columns")
    p.add_argument("--out")
    a = p.parse_args()
    sql = a.words.pop(0) if a.cmd == "sql" else "SELECT " + (a.columns or "*") + " FROM t"
    keys = () if a.cmd == "sql" else ("_hoodie_record_key", "_hoodie_partition_path")
    rows.emit(rows.encode(query(sql, files_of(a.words)), a.meta or bool(a.columns) or a.cmd == "sql", keys), a.out)


if __name__ == "__main__":
    main()
