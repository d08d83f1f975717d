#!/usr/bin/env python3
"""The JSON encoding of rows of `lakebed query --format json`, shared by all readers here, and a comparison of two row files.

    rows.py diff A.jsonl B.jsonl [--ignore col,col] [--limit N]     exit 0 equal, 1 different (differences on stdout)
    rows.py show FILE.parquet                                       a Parquet file in the encoding

One object a line, keys in schema order. Integers and booleans plain; decimals as strings with their full scale;
float and double as shortest round-trip numbers, "NaN" / "Infinity" / "-Infinity" as strings; dates YYYY-MM-DD; times
HH:MM:SS[.ffffff]; timestamps YYYY-MM-DDTHH:MM:SS.ffffffZ in UTC, without Z for local ones (always six digits, nine for
nanosecond types); binary as base64; struct and map as objects (map keys sorted), list as array; null as null.
Spark's own JSON reader accepts exactly these spellings, so a file written here can be given back to `hudi_spark.py write`.

`diff` compares *parsed* lines as multisets: key order, line order and number spelling (1e20 / 1E+20) do not matter.
"""
import argparse
import base64
import collections
import json
import math
import struct
import sys

import pyarrow as pa
import pyarrow.types as pt


def _float32(x):
    """The shortest decimal that reads back as the same 32-bit float."""
    for digits in range(1, 10):
        y = float(f"{x:.{digits}g}")
        try:
            if struct.unpack("f", struct.pack("f", y))[0] == x:
                return y
        except OverflowError:       # rounded above the largest float: more digits needed
            continue
    return x


def _number(x, single):
    if x is None:
        return None
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "Infinity" if x > 0 else "-Infinity"
    return _float32(x) if single else x


def _date(days):
    """Days since 1970-01-01 to YYYY-MM-DD in the proleptic Gregorian calendar, any year."""
    era, doe = divmod(days + 719468, 146097)
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    month = mp + 3 if mp < 10 else mp - 9
    year = yoe + era * 400 + (month <= 2)
    return f"{year:04d}-{month:02d}-{doy - (153 * mp + 2) // 5 + 1:02d}"


_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def _time(n, per, full):
    sec, frac = divmod(n, per)
    digits = 9 if per == 10**9 else 6
    text = f"{sec // 3600:02d}:{sec // 60 % 60:02d}:{sec % 60:02d}"
    return text + f".{frac * (10**digits // per):0{digits}d}" if full or frac else text


def _timestamp(n, per, zone):
    day, rest = divmod(n, 86400 * per)
    return f"{_date(day)}T{_time(rest, per, True)}" + ("Z" if zone else "")


def _ints(array, width):
    return array.cast(pa.int64() if width == 64 else pa.int32()).to_pylist()


def values(array):
    """An Arrow array as a list of values ready for json.dumps."""
    t = array.type
    if isinstance(array, pa.ChunkedArray):
        return [v for chunk in array.chunks for v in values(chunk)]
    if pt.is_dictionary(t):
        return values(array.dictionary_decode())
    if isinstance(t, pa.ExtensionType) or isinstance(t, getattr(pa, "BaseExtensionType", ())):
        return values(array.storage)
    valid = array.is_valid().to_pylist()
    if pt.is_struct(t):
        columns = [(t.field(i).name, values(c)) for i, c in enumerate(array.flatten())]
        return [{n: c[i] for n, c in columns} if ok else None for i, ok in enumerate(valid)]
    if pt.is_map(t):
        offsets, keys, items = array.offsets.to_pylist(), values(array.keys), values(array.items)
        return [dict(sorted((str(keys[j]), items[j]) for j in range(offsets[i], offsets[i + 1]))) if ok else None
                for i, ok in enumerate(valid)]
    if pt.is_list(t) or pt.is_large_list(t):
        offsets, inner = array.offsets.to_pylist(), values(array.values)
        return [inner[offsets[i]:offsets[i + 1]] if ok else None for i, ok in enumerate(valid)]
    if pt.is_floating(t):
        return [_number(v, not pt.is_float64(t)) for v in array.to_pylist()]
    if pt.is_decimal(t):
        return [None if v is None else format(v, "f") for v in array.to_pylist()]
    if pt.is_binary(t) or pt.is_large_binary(t) or pt.is_fixed_size_binary(t) or pt.is_binary_view(t):
        return [None if v is None else base64.b64encode(v).decode() for v in array.to_pylist()]
    if pt.is_timestamp(t):
        return [None if v is None else _timestamp(v, _PER_SECOND[t.unit], t.tz) for v in _ints(array, 64)]
    if pt.is_date32(t):
        return [None if v is None else _date(v) for v in _ints(array, 32)]
    if pt.is_date64(t):
        return [None if v is None else _date(v // 86400000) for v in _ints(array, 64)]
    if pt.is_time(t):
        return [None if v is None else _time(v, _PER_SECOND[t.unit], False)
                for v in _ints(array, 64 if pt.is_time64(t) else 32)]
    return [v if v is None or isinstance(v, (bool, int, str)) else str(v) for v in array.to_pylist()]


def encode(batches, meta=True, sort_by=(), drop=(), json_columns=()):
    """Record batches as a list of JSON lines, sorted by the columns `sort_by` (text order), then by the line itself.

    meta=False leaves out `_hoodie_*` columns, `drop` names columns needed only for sorting, `json_columns` hold JSON
    text that is to appear as an object (before and after images of a CDC query).
    """
    out = []
    for batch in batches:
        names = batch.schema.names
        columns = [values(batch.column(i)) for i in range(len(names))]
        for name in json_columns:
            if name in names:
                i = names.index(name)
                columns[i] = [None if v is None else json.loads(v) for v in columns[i]]
        shown = [i for i, n in enumerate(names) if (meta or not n.startswith("_hoodie_")) and n not in drop]
        order = [names.index(n) for n in sort_by if n in names]
        for r in range(batch.num_rows):
            line = json.dumps({names[i]: columns[i][r] for i in shown}, ensure_ascii=False, separators=(",", ":"))
            out.append(([str(columns[i][r]) for i in order], line))
    out.sort()
    return [line for _, line in out]


def write(lines, path):
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(line + "\n" for line in lines)


def emit(lines, path=None):
    """Lines to a file, or to stdout."""
    if path and path != "-":
        write(lines, path)
    else:
        sys.stdout.writelines(line + "\n" for line in lines)


def _canonical(line, ignore):
    def walk(v):
        if isinstance(v, dict):
            return {k: walk(x) for k, x in v.items()}
        if isinstance(v, list):
            return [walk(x) for x in v]
        # 1.0 and 1 are the same number to a reader of JSON, except for -0.0, which is kept apart
        return int(v) if isinstance(v, float) and v.is_integer() and abs(v) < 2**53 and math.copysign(1, v) > 0 else v
    row = json.loads(line)
    for name in ignore:
        row.pop(name, None)
    return json.dumps(walk(row), sort_keys=True, ensure_ascii=False)


def diff(a, b, ignore=()):
    """Lines only in a, lines only in b, both canonical and sorted."""
    ca = collections.Counter(_canonical(x, ignore) for x in a if x.strip())
    cb = collections.Counter(_canonical(x, ignore) for x in b if x.strip())
    return sorted((ca - cb).elements()), sorted((cb - ca).elements())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    s = p.add_subparsers(dest="cmd", required=True)
    d = s.add_parser("diff")
    d.add_argument("a")
    d.add_argument("b")
    d.add_argument("--ignore", default="")
    d.add_argument("--limit", type=int, default=20)
    f = s.add_parser("show")
    f.add_argument("file")
    a = p.parse_args()
    if a.cmd == "show":
        import pyarrow.parquet as pq
        emit(encode(pq.ParquetFile(a.file).read().to_batches()))
        return 0
    with open(a.a, encoding="utf-8") as x, open(a.b, encoding="utf-8") as y:
        only_a, only_b = diff(x, y, [c for c in a.ignore.split(",") if c])
    for sign, lines in (("-", only_a), ("+", only_b)):
        for line in lines[:a.limit]:
            print(sign, line)
        if len(lines) > a.limit:
            print(sign, f"... {len(lines) - a.limit} more")
    return 1 if only_a or only_b else 0


if __name__ == "__main__":
    sys.exit(main())
