#!/usr/bin/env python3
"""Generates the catalogue of tables written by Apache Hudi on Spark, for Lakebed to read. Needs `scripts/setup interop`.

    golden.py OUT [--only REGEX] [--versions 6,8,9] [--missing] [--judge] [--keep]

OUT/NAME.tar.gz holds table/ (the Hudi table, without .crc files; file times kept, as version 6 derives completion times
from them) and expected/*.jsonl (what Spark answers, encoded as rows.py says, all but CDC with the _hoodie_* columns).
OUT/catalogue.json lists every table: name, version, type, kind, what it shows, sizes, instants, and the queries with
their arguments, row counts and files. The rows are the same in every run; instant times, file ids and sizes are not.
--only and --versions run a part (its entries are merged into an existing catalogue), --missing skips what is listed
already, --judge also passes each table to the judge and
reports findings, --keep leaves the unpacked tables in OUT/NAME/. A kind that fails is listed under "failed".
"""
import argparse
import gzip
import json
import os
import re
import shutil
import sys
import tarfile
import time
import traceback

from hudi_spark import Hudi, explain

SCHEMA = "id int, name string, price double, part string, ts bigint"
KEYS = {"hoodie.datasource.write.recordkey.field": "id"}
SMALL = {
    # The default bloom filter takes 430 kB in the footer of every base file; these tables are small.
    "hoodie.bloom.index.filter.type": "SIMPLE", "hoodie.index.bloom.num_entries": "50", "hoodie.index.bloom.fpp": "0.01",
    "hoodie.upsert.shuffle.parallelism": "1", "hoodie.insert.shuffle.parallelism": "1",
    "hoodie.bulkinsert.shuffle.parallelism": "1", "hoodie.delete.shuffle.parallelism": "1",
    "hoodie.metadata.enable": "false", "hoodie.clean.automatic": "false", "hoodie.archive.automatic": "false",
    "hoodie.compact.inline": "false", "hoodie.compact.inline.max.delta.commits": "1",
    "hoodie.metadata.index.column.stats.enable": "false",
}
METADATA = {"hoodie.metadata.enable": "true"}
MADE_IN = "/tmp/hudi-golden"      # Hudi writes absolute paths into clean plans and the like: the same ones in every run
ALWAYS_FAILS = {   # a pre-commit check nothing passes: data files and markers are written, the instant stays inflight
    "hoodie.precommit.validators": "org.apache.hudi.client.validator.SqlQuerySingleResultPreCommitValidator",
    "hoodie.precommit.validators.single.value.sql.queries": "select count(*) from <TABLE_NAME>#-1",
}


def row(i, part="a", ts=1, **more):
    return {"id": i, "name": f"n{i}", "price": i + 0.5, "part": part, "ts": ts, **more}


def some(ids, ts=1, **more):
    """Rows spread over the partitions a, b, c by id."""
    return [row(i, "abc"[i % 3], ts, **more) for i in ids]


class Making:
    """A table in the making. Attributes may be changed by a kind before its first write."""

    def __init__(self, hudi, path, name, version, mor, partitioned):
        self.hudi, self.path, self.name, self.version, self.mor, self.partitioned = hudi, path, name, version, mor, partitioned
        self.schema = SCHEMA
        self.options = {**SMALL, **KEYS, "hoodie.table.name": name,
                        "hoodie.datasource.write.table.type": "MERGE_ON_READ" if mor else "COPY_ON_WRITE"}
        if partitioned:
            self.options["hoodie.datasource.write.partitionpath.field"] = "part"
        else:
            self.options["hoodie.datasource.write.keygenerator.class"] = "org.apache.hudi.keygen.NonpartitionedKeyGenerator"
        if version >= 9:
            self.options["hoodie.table.ordering.fields"] = "ts"
        else:
            self.options["hoodie.datasource.write.precombine.field"] = "ts"
        self.queries, self.skip = [], set()

    def write(self, rows, operation="upsert", schema=None, **options):
        o = {**self.options, **{k.replace("__", "."): v for k, v in options.items()}}
        return self.hudi.write(self.path, rows=rows, schema=schema or self.schema, operation=operation,
                               table_version=self.version, options=o)

    def fails(self, rows):
        try:
            self.write(rows, **{k.replace(".", "__"): v for k, v in ALWAYS_FAILS.items()})
        except Exception:  # noqa: BLE001 - it is meant to
            return
        raise RuntimeError("the write was to fail")

    def sql(self, statement, **options):
        """`$T` is the table's name, `$P` its path, `$O` an options argument that keeps the version."""
        o = {**SMALL, "hoodie.write.auto.upgrade": "false", "hoodie.write.table.version": str(self.version), **options}
        o = {k: v for k, v in o.items() if "," not in v}
        text = "options => '" + ",".join(f"{k}={v}" for k, v in o.items()) + "'"
        statement = statement.replace("$T", f"`{self.name}`" if not statement.startswith("CALL") else f"'{self.name}'")
        conf = {**o, **{k: v for k, v in self.options.items() if "keygenerator" in k}}
        if "grade_table" in statement:
            conf.pop("hoodie.write.table.version")
            conf.pop("hoodie.write.auto.upgrade")
        return self.hudi.sql(statement.replace("$P", self.path).replace("$O", text), tables={self.name: self.path},
                             set={} if statement.startswith("CALL run") else conf)["rows"]

    def instants(self, action=None, state="COMPLETED"):
        found = self.hudi.timeline(self.path, archived=False)["instants"]
        return [i for i in found if i["state"] == state and (action is None or i["action"] in action)]

    def history(self):
        """Inserts, updates that overlap, an older update that must lose, deletes, and an insert of a deleted key."""
        self.write(some(range(1, 9)), "insert")
        self.write(some([2, 3, 9], ts=2, price=20.25) + [row(4, "b", 0, name="too old")])
        self.write(some([5, 3], ts=3), "delete")
        self.write(some([5, 10], ts=4, name=None))

    def must(self, action, state="COMPLETED", count=1):
        """Fails unless the table has what its kind is to show (a procedure with nothing to do is silent)."""
        n = sum(i["action"] == action for i in self.instants(state=state))
        if n < count:
            raise RuntimeError(f"{n} {state} {action}: {self.hudi.timeline(self.path)['instants']}")

    # --- kinds: one method each; the doc string says what the table shows

    def kind_insert(self):
        """One insert commit."""
        self.write(some(range(1, 7)), "insert")

    def kind_bulk_insert(self):
        """One bulk insert."""
        self.write(some(range(1, 7)), "bulk_insert")

    def kind_basic(self):
        """Insert, upsert (with a row whose ordering value is too old), delete, re-insert of a deleted key."""
        self.history()

    def kind_compacted(self):
        """Log files, a completed compaction, log files after it."""
        self.history()
        self.sql("CALL run_compaction(op => 'schedule', path => '$P', $O)")
        self.sql("CALL run_compaction(op => 'run', path => '$P', $O)")
        self.must("commit")
        self.write(some([1, 11], ts=9))

    def kind_pending_compaction(self):
        """A compaction that is only requested, with log files before and after it."""
        self.history()
        self.sql("CALL run_compaction(op => 'schedule', path => '$P', $O)")
        self.must("compaction", "REQUESTED")
        self.write(some([1, 2, 11], ts=9))

    def kind_log_compacted(self):
        """Log compactions: the blocks of several delta commits folded into one, then those and later ones again."""
        folding = {"hoodie__log__compaction__inline": "true", "hoodie__log__compaction__enable": "true",
                   "hoodie__log__compaction__blocks__threshold": "2"}
        self.history()
        for ts in range(5, 9):
            self.write(some([2, 3, 5, 6, ts], ts=ts, price=ts * 1.25), **folding)
            self.write(some([ts - 3], ts=ts), "delete", **folding)
        self.must("deltacommit", count=10)

    def kind_clustered(self):
        """Clustering of small file groups, then an upsert into the new ones."""
        for k in range(3):
            self.write(some(range(k * 3 + 1, k * 3 + 4)), "insert", hoodie__parquet__small__file__limit="0",
                       hoodie__merge__allow__duplicate__on__inserts="true")
        self.sql("CALL run_clustering(path => '$P', op => 'schedule', $O)")
        self.sql("CALL run_clustering(path => '$P', op => 'execute', $O)")
        self.must("replacecommit")
        self.write(some([1, 11], ts=9))

    def kind_pending_clustering(self):
        """A clustering that is only requested."""
        for k in range(3):
            self.write(some(range(k * 3 + 1, k * 3 + 4)), "insert", hoodie__parquet__small__file__limit="0",
                       hoodie__merge__allow__duplicate__on__inserts="true")
        self.sql("CALL run_clustering(path => '$P', op => 'schedule', $O)")
        self.must("clustering" if self.version >= 8 else "replacecommit", "REQUESTED")

    def kind_cleaned(self):
        """Old slices removed by a clean."""
        self.history()
        self.write(some([1, 2], ts=8))
        if self.mor:
            self.sql("CALL run_compaction(op => 'schedule', path => '$P', $O)")
            self.sql("CALL run_compaction(op => 'run', path => '$P', $O)")
        self.sql("CALL run_clean(table => $T, clean_policy => 'KEEP_LATEST_FILE_VERSIONS', file_versions_retained => 1, $O)")
        self.must("clean")
        self.skip |= {"time_travel", "incremental"}

    def kind_savepoint(self):
        """A savepoint on the second write."""
        self.history()
        at = self.instants(("commit", "deltacommit"))[1]["time"]
        self.sql(f"CALL create_savepoint(table => $T, commit_time => '{at}')")
        self.must("savepoint")

    def kind_restored(self):
        """Savepoint on the second write, restore to it, one more write."""
        self.history()
        at = self.instants(("commit", "deltacommit"))[1]["time"]
        self.sql(f"CALL create_savepoint(table => $T, commit_time => '{at}')")
        self.sql(f"CALL rollback_to_savepoint(table => $T, instant_time => '{at}')")
        self.must("restore")
        self.write(some([12], ts=9))

    def kind_inflight(self):
        """A failed write: inflight instant, its data files and its markers are still there."""
        self.history()
        self.fails(some([1, 2, 20], ts=9))
        self.must("deltacommit" if self.mor else "commit", "INFLIGHT")

    def kind_rolled_back(self):
        """A failed write, rolled back by the next one."""
        self.history()
        self.fails(some([1, 2, 20], ts=9))
        self.write(some([21], ts=9))
        self.must("rollback")

    def kind_insert_overwrite(self):
        """insert_overwrite of one partition (replacecommit)."""
        self.history()
        self.write([row(31, "b", 9), row(32, "b", 9)], "insert_overwrite")
        self.must("replacecommit")

    def kind_insert_overwrite_table(self):
        """insert_overwrite_table (replacecommit)."""
        self.history()
        self.write(some([31, 32], ts=9), "insert_overwrite_table")
        self.must("replacecommit")

    def kind_delete_partition(self):
        """delete_partition of b (replacecommit without new files)."""
        self.history()
        self.write([row(1, "b", 9)], "delete_partition", hoodie__datasource__write__partitions__to__delete="b")
        self.must("replacecommit")

    def kind_add_column(self):
        """A column added by the writer; older files lack it."""
        self.write(some(range(1, 7)), "insert")
        self.write([{**r, "extra": f"x{r['id']}"} for r in some([2, 7], ts=2)], schema=SCHEMA + ", extra string")

    def kind_widen(self):
        """int to bigint and float to double between commits."""
        first = "id int, name string, n int, f float, part string, ts bigint"
        rows = [{"id": i, "name": f"n{i}", "n": i * 10, "f": i + 0.1, "part": "abc"[i % 3], "ts": 1} for i in range(1, 7)]
        self.write(rows, "insert", schema=first)
        self.write([{**rows[1], "n": 5_000_000_000, "f": 0.1, "ts": 2}, {**rows[2], "id": 7, "n": 7}],
                   schema=first.replace("n int", "n bigint").replace("f float", "f double"))

    def kind_schema_on_read(self):
        """ALTER TABLE with hoodie.schema.on.read.enable: add, rename, widen, drop a column; .hoodie/.schema is written."""
        self.write(some(range(1, 7)), "insert")
        on = {"hoodie.schema.on.read.enable": "true", "hoodie.datasource.write.schema.allow.auto.evolution.column.drop": "true"}
        self.sql("ALTER TABLE $T ADD COLUMNS (extra int)", **on)
        self.sql("ALTER TABLE $T RENAME COLUMN name TO title", **on)
        self.sql("ALTER TABLE $T ALTER COLUMN extra TYPE bigint", **on)
        self.sql("ALTER TABLE $T DROP COLUMN price", **on)
        self.sql("UPDATE $T SET title = 'new', extra = 5000000000 WHERE id = 2", **on)
        self.read_options = on

    def kind_bucket(self):
        """Simple bucket index, two buckets a partition: file ids begin with the bucket."""
        self.options.update({"hoodie.index.type": "BUCKET", "hoodie.bucket.index.num.buckets": "2",
                             "hoodie.bucket.index.hash.field": "id"})
        self.history()

    def kind_consistent_bucket(self):
        """Consistent hashing bucket index, two buckets: .hoodie/.bucket_index."""
        self.options.update({"hoodie.index.type": "BUCKET", "hoodie.bucket.index.num.buckets": "2",
                             "hoodie.index.bucket.engine": "CONSISTENT_HASHING", "hoodie.bucket.index.hash.field": "id",
                             "hoodie.bucket.index.min.num.buckets": "1", "hoodie.bucket.index.max.num.buckets": "4"})
        self.history()

    def kind_metadata(self):
        """Metadata table with its default partitions."""
        self.options.update(METADATA)
        self.options.pop("hoodie.metadata.index.column.stats.enable")
        self.history()

    def kind_record_index(self):
        """Metadata table with a record-level index, used as the index of the writes."""
        rli = {"hoodie.metadata.global.record.level.index.enable": "true", "hoodie.index.type": "GLOBAL_RECORD_LEVEL_INDEX"} \
            if self.version >= 9 else {"hoodie.metadata.record.index.enable": "true", "hoodie.index.type": "RECORD_INDEX"}
        self.options.update({**METADATA, **rli, "hoodie.metadata.record.index.min.filegroup.count": "2",
                             "hoodie.metadata.record.index.max.filegroup.count": "2"})
        self.history()

    def kind_metadata_full(self):
        """Metadata table with column stats, partition stats and bloom filters, compacted after few commits, and cleaned."""
        self.options.update({**METADATA, "hoodie.metadata.index.column.stats.enable": "true",
                             "hoodie.metadata.index.bloom.filter.enable": "true",
                             "hoodie.metadata.compact.max.delta.commits": "2"})
        self.history()
        self.sql("CALL run_clean(table => $T, clean_policy => 'KEEP_LATEST_FILE_VERSIONS', file_versions_retained => 1, $O)",
                 **METADATA)
        self.write(some([1], ts=9))
        self.skip |= {"time_travel", "incremental"}

    def kind_secondary_index(self):
        """A secondary index on name and an expression index on ts, made by CREATE INDEX."""
        self.options.update({**METADATA, "hoodie.metadata.record.index.enable": "true",
                             "hoodie.index.type": "RECORD_INDEX"})
        self.history()
        o = {**METADATA, "hoodie.metadata.record.index.enable": "true",     # building an index wants a lock provider
             "hoodie.write.lock.provider": "org.apache.hudi.client.transaction.lock.InProcessLockProvider"}
        self.sql("CREATE INDEX by_name ON $T (name)", **o)
        self.sql("CREATE INDEX by_day ON $T USING column_stats(ts) OPTIONS(expr='from_unixtime', format='yyyy-MM-dd')", **o)

    def kind_cdc_op_key_only(self):
        """CDC, supplemental mode OP_KEY_ONLY."""
        self._cdc("OP_KEY_ONLY")

    def kind_cdc_data_before(self):
        """CDC, supplemental mode DATA_BEFORE."""
        self._cdc("DATA_BEFORE")

    def kind_cdc_data_before_after(self):
        """CDC, supplemental mode DATA_BEFORE_AFTER."""
        self._cdc("DATA_BEFORE_AFTER")

    def _cdc(self, mode):
        self.options.update({"hoodie.table.cdc.enabled": "true", "hoodie.table.cdc.supplemental.logging.mode": mode})
        self.history()
        self.queries = ["cdc"]

    def kind_archived(self):
        """Ten commits, of which the archiver moved most away (v8+: two or more LSM files, one compaction of them)."""
        self.options.update({"hoodie.archive.automatic": "true", "hoodie.clean.automatic": "true",
                             "hoodie.clean.commits.retained": "1", "hoodie.keep.min.commits": "2", "hoodie.keep.max.commits": "3",
                             "hoodie.timeline.compaction.batch.size": "3", "hoodie.commits.archival.batch": "1"})
        for k in range(1, 11):
            self.write(some([k, 1], ts=k))
        if not any(i.get("archived") for i in self.hudi.timeline(self.path)["instants"]):
            raise RuntimeError("nothing was archived")
        self.skip |= {"time_travel", "incremental"}

    def kind_composite_key(self):
        """Two key fields: record keys `id:1,name:n1`."""
        self.options.update({"hoodie.datasource.write.recordkey.field": "id,name"})
        if self.partitioned:
            self.options["hoodie.datasource.write.keygenerator.class"] = "org.apache.hudi.keygen.ComplexKeyGenerator"
        self.write(some(range(1, 7)), "insert")
        self.write(some([2, 7], ts=2) + [row(3, "a", 2, name="")])
        self.write(some([1], ts=3), "delete")

    def kind_many_partition_fields(self):
        """Two partition fields, ComplexKeyGenerator: part=a/ts=1."""
        self.options.update({"hoodie.datasource.write.partitionpath.field": "part,ts",
                             "hoodie.datasource.write.hive_style_partitioning": "true",
                             "hoodie.datasource.write.keygenerator.class": "org.apache.hudi.keygen.ComplexKeyGenerator"})
        self.write(some(range(1, 7)), "insert")
        self.write(some([2, 7], ts=1, price=0.0))

    def kind_timestamp_keygen(self):
        """TimestampBasedKeyGenerator: milliseconds to yyyy/MM/dd."""
        self.options.update({"hoodie.datasource.write.partitionpath.field": "ts",
                             "hoodie.datasource.write.keygenerator.class": "org.apache.hudi.keygen.TimestampBasedKeyGenerator",
                             "hoodie.keygen.timebased.timestamp.type": "EPOCHMILLISECONDS",
                             "hoodie.keygen.timebased.output.dateformat": "yyyy/MM/dd", "hoodie.keygen.timebased.timezone": "UTC"})
        self.write([row(i, ts=1_700_000_000_000 + i * 50_000_000) for i in range(1, 7)], "insert")
        self.write([row(i, ts=1_700_000_000_000 + i * 50_000_000, name="new") for i in (2, 7)])

    def kind_hive_style(self):
        """Hive-style partition folders: part=a."""
        self.options["hoodie.datasource.write.hive_style_partitioning"] = "true"
        self.history()

    def _odd_partitions(self):
        odd = ["a b", "x/y", "50%", "k=v", "ä:ö", "2024-01-01 10:00:00"]
        self.write([row(i + 1, p) for i, p in enumerate(odd)], "insert")
        self.write([row(i + 1, p, 2) for i, p in enumerate(odd[:3])])

    def kind_url_encoded(self):
        """URL-encoded partition values with blank, slash, percent, equals, colon, umlaut."""
        self.options["hoodie.datasource.write.partitionpath.urlencode"] = "true"
        self._odd_partitions()

    def kind_url_encoded_hive(self):
        """The same, hive-style."""
        self.options["hoodie.datasource.write.hive_style_partitioning"] = "true"
        self.kind_url_encoded()

    def kind_null_partition(self):
        """Null and empty partition values: __HIVE_DEFAULT_PARTITION__."""
        self.write([row(1, None), row(2, ""), row(3, "a")], "insert")
        self.write([row(1, None, 2), row(4, None)])

    def kind_ordering_fields(self):
        """Event time by two ordering fields, compared left to right."""
        self.options.pop("hoodie.datasource.write.precombine.field", None)
        self.options["hoodie.table.ordering.fields"] = "ts,price"
        self.write(some(range(1, 7)), "insert")
        self.write([row(1, "b", 1, price=0.5, name="loses"), row(2, "c", 1, price=99.0, name="wins"), row(3, "a", 2, price=0.0, name="wins")])
        self.write([row(4, "b", 0), row(5, "c", 2)], "delete")

    def kind_commit_time(self):
        """Commit-time ordering: the last write wins, whatever its ts."""
        self.options.update({"hoodie.record.merge.mode": "COMMIT_TIME_ORDERING"} if self.version >= 8 else {
            "hoodie.datasource.write.payload.class": "org.apache.hudi.common.model.OverwriteWithLatestAvroPayload"})
        self.options.pop("hoodie.table.ordering.fields", None)
        if self.version >= 8:
            self.options.pop("hoodie.datasource.write.precombine.field", None)
        self.history()

    def kind_partial_update(self):
        """SQL MERGE INTO that sets one column: partial records in log blocks (header IS_PARTIAL)."""
        self.write(some(range(1, 7)), "insert")
        keep = {k: v for k, v in self.options.items() if k.startswith("hoodie.bloom") or k.startswith("hoodie.index")}
        self.sql("MERGE INTO $T t USING (SELECT 2 id, 77.0D price, 5L ts UNION ALL SELECT 3, 78.0D, 0L) s ON t.id = s.id "
                 "WHEN MATCHED THEN UPDATE SET price = s.price, ts = s.ts",
                 **{"hoodie.spark.sql.merge.into.partial.updates": "true", **keep})
        self.sql("UPDATE $T SET name = 'set' WHERE id = 4", **keep)

    def kind_types_new_lists(self):
        """The same with parquet.avro.write-old-list-structure=false: three-level lists, null elements in them."""
        conf = self.hudi.spark._jsc.hadoopConfiguration()
        conf.set("parquet.avro.write-old-list-structure", "false")
        try:
            self.kind_types(True)
        finally:
            conf.unset("parquet.avro.write-old-list-structure")

    def kind_types(self, new_lists=False):
        """All column types, nested ones, nulls, extremes, NaN and infinities (lists in Hudi's default two-level form)."""
        self.schema = ("id int, part string, ts bigint, b boolean, i8 tinyint, i16 smallint, i32 int, i64 bigint, f float, d double, "
                       "dec9 decimal(9,2), dec18 decimal(18,6), dec38 decimal(38,10), s string, bin binary, day date, t timestamp, "
                       "tl timestamp_ntz, st struct<a:int,b:string,c:struct<d:decimal(10,3),e:timestamp>>, li array<int>, "
                       "ls array<struct<k:string,v:double>>, m map<string,int>, ms map<string,struct<x:date>>, ll array<array<string>>")
        full = {"b": True, "i8": -128, "i16": -32768, "i32": -2147483648, "i64": -9223372036854775808, "f": 0.1, "d": 0.1,
                "dec9": "-1234567.89", "dec18": "123456789012.345678", "dec38": "-1234567890123456789012345678.0123456789",
                "s": "ä\u20ac\U0001f600 \"quoted\"\n\t\\", "bin": "AP8QgA==", "day": "1969-12-31", "t": "1969-12-31T23:59:59.999999Z",
                "tl": "2024-02-29T12:34:56.123456", "st": {"a": 1, "b": "x", "c": {"d": "1.250", "e": "2024-01-01T00:00:00.000001Z"}},
                "li": [1, 2, 3], "ls": [{"k": "a", "v": 1.5}, {"k": None, "v": None}], "m": {"z": 1, "a": None},
                "ms": {"k": {"x": "2000-01-01"}}, "ll": [["a", "b"], []]}
        if new_lists:
            full.update({"li": [1, None, 3], "ls": [{"k": "a", "v": 1.5}, None, {"k": None, "v": None}], "ll": [["a", None], [], None]})
        odd = {"f": "NaN", "d": "Infinity", "dec9": "0.00", "s": "", "bin": "", "day": "0001-01-01", "t": "2262-04-11T23:47:16.854775Z",
               "tl": "0001-01-01T00:00:00.000000", "li": [], "ls": [], "m": {}, "ms": {}, "ll": [], "i64": 9223372036854775807}
        more = {"f": -3.4028235e38, "d": 5e-324, "day": "9999-12-31", "t": "9999-12-31T23:59:59.999999Z", "dec38": "0E-10"}
        base = [{"id": i, "part": "abc"[i % 3], "ts": 1} for i in range(1, 6)]
        self.write([{**base[0], **full}, {**base[1], **odd}, base[2], {**base[3], **more}], "insert")
        self.write([{**base[0], **full, "ts": 2, "d": "-Infinity", "s": "updated"}, {**base[2], "ts": 2, **odd}, {**base[4], **full}])

    def kind_parquet_log(self):
        """Log blocks in Parquet format."""
        self.options["hoodie.logfile.data.block.format"] = "parquet"
        self.history()

    def kind_no_meta_fields(self):
        """hoodie.populate.meta.fields=false, appended by bulk inserts."""
        self.options["hoodie.populate.meta.fields"] = "false"
        self.write(some(range(1, 5)), "bulk_insert")
        self.write(some(range(5, 8)), "bulk_insert")
        self.skip |= {"incremental"}

    def kind_auto_key(self):
        """No record key: Hudi generates keys."""
        self.options.pop("hoodie.datasource.write.recordkey.field")
        self.options.pop("hoodie.datasource.write.precombine.field", None)
        self.options.pop("hoodie.table.ordering.fields", None)
        self.options.pop("hoodie.datasource.write.keygenerator.class", None)
        self.write(some(range(1, 5)), "insert")
        self.write(some(range(5, 8)), "insert")

    def kind_drop_partition_columns(self):
        """hoodie.datasource.write.drop.partition.columns: the files lack the partition column."""
        self.options["hoodie.datasource.write.drop.partition.columns"] = "true"
        self.options["hoodie.datasource.write.hive_style_partitioning"] = "true"
        self.history()

    def kind_soft_delete(self):
        """Deletes by the column _hoodie_is_deleted."""
        self.schema = SCHEMA + ", _hoodie_is_deleted boolean"
        self.write([{**r, "_hoodie_is_deleted": False} for r in some(range(1, 7))], "insert")
        self.write([{**r, "_hoodie_is_deleted": r["id"] == 2} for r in some([2, 3], ts=2)])

    def kind_moved(self):
        """A global index: an update moves a row to another partition."""
        self.options.update({"hoodie.index.type": "GLOBAL_SIMPLE", "hoodie.simple.index.update.partition.path": "true"})
        self.write(some(range(1, 7)), "insert")
        self.write([row(1, "c", 2), row(2, "a", 2)])

    def kind_upgraded(self):
        """Written as version 6, upgraded to 9 by Hudi, written again."""
        self.version = 6
        self.options.pop("hoodie.table.ordering.fields", None)
        self.options["hoodie.datasource.write.precombine.field"] = "ts"
        self.history()
        self.version = 9
        self.sql("CALL upgrade_table(table => $T, to_version => 'NINE')")
        self.options.pop("hoodie.datasource.write.precombine.field")
        self.options["hoodie.table.ordering.fields"] = "ts"
        self.write(some([1, 11], ts=9))

    def kind_downgraded(self):
        """Written as version 9, downgraded to 6 by Hudi, written again."""
        self.history()
        self.version = 6
        self.sql("CALL downgrade_table(table => $T, to_version => 'SIX')")
        self.options.pop("hoodie.table.ordering.fields", None)
        self.options["hoodie.datasource.write.precombine.field"] = "ts"
        self.write(some([1, 11], ts=9))


# kind: the tables made of it: version, c(opy on write) or m(erge on read), f(lat: not partitioned)
PLAN = {
    "insert": "9c 9m", "basic": "9c 9m 9cf 9mf 6c 6m 6cf 6mf 8c 8m 8cf 8mf", "bulk_insert": "9c",
    "compacted": "9m 6m 8m", "log_compacted": "9m 6m 8m", "pending_compaction": "9m 6m 8m", "clustered": "9c 9m 6c 8c", "pending_clustering": "9c 6c 8c",
    "cleaned": "9c 9m 6c 8m", "savepoint": "9c 6c 8c", "restored": "9c 9m 6m 8c", "inflight": "9c 9m 6c 6m 8m",
    "rolled_back": "9c 9m 6c 6m 8m", "insert_overwrite": "9c 9m 6c 8c", "insert_overwrite_table": "9c",
    "delete_partition": "9c 9m 6c", "add_column": "9c 9m 6m", "widen": "9c 9m 6c", "schema_on_read": "9c",
    "bucket": "9c 9m 6m 8m", "consistent_bucket": "9m", "metadata": "9c 9m 6c 8m", "record_index": "9c 9m 6c 8m",
    "metadata_full": "9c 9m 6m 8c", "secondary_index": "9c", "cdc_op_key_only": "9c", "cdc_data_before": "9c",
    "cdc_data_before_after": "9c 9m 6c 8c", "archived": "9c 9m 6c 8c", "composite_key": "9c 9m 9cf 6c",
    "many_partition_fields": "9c", "timestamp_keygen": "9c 9m 6c", "hive_style": "9c 6m", "url_encoded": "9c 6c",
    "url_encoded_hive": "9m", "null_partition": "9c 6c", "ordering_fields": "9c 9m", "commit_time": "9c 9m 6m 8m",
    "partial_update": "9m 8m", "types": "9c 9m 6m 8m", "types_new_lists": "9c 9m", "parquet_log": "9m 6m", "no_meta_fields": "9c", "auto_key": "9c",
    "drop_partition_columns": "9c", "soft_delete": "9c 9m", "moved": "9c 9m 6c", "upgraded": "9c 9m", "downgraded": "9c 9m",
}


def expect(t, folder):
    """Asks Spark everything the table can answer and writes the answers; returns their descriptions."""
    os.makedirs(folder)
    out = []

    def ask(file, **query):
        try:
            r = t.hudi.read(t.path, meta=query["query"] != "cdc", out=os.path.join(folder, file),
                            options=getattr(t, "read_options", None), **query)
            out.append({**query, "file": "expected/" + file, "count": r["count"]})
            return r["schema"]
        except Exception as e:  # noqa: BLE001 - an answer, too: Hudi refuses
            text, causes = explain(e)
            out.append({**query, "error": (causes or [text])[-1][:300]})

    schema = ask("snapshot.jsonl", query="snapshot")
    if t.mor:
        ask("read_optimized.jsonl", query="read_optimized")
    writes = t.instants(("commit", "deltacommit", "replacecommit"))
    new = t.version >= 8
    if "time_travel" not in t.skip:
        for n, i in enumerate(writes[:-1][:2]):
            ask(f"time_travel-{n}.jsonl", query="time_travel", as_of=i["time"])
    if "incremental" not in t.skip:
        ends = sorted(i["completion"] for i in writes) if new else [i["time"] for i in writes]
        if len(ends) > 2:
            ask("incremental-2.jsonl", query="incremental", begin=ends[0], end=ends[-2])
        ask("incremental-all.jsonl", query="incremental")
    if "cdc" in t.queries:
        ask("cdc.jsonl", query="cdc")
    return out, schema


def pack(folder, archive):
    """folder/{table,expected} as a tar.gz in a fixed order, without owners; file times are kept."""
    def plain(info):
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mode = 0o755 if info.isdir() else 0o644
        return info
    with open(archive, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as z, \
            tarfile.open(fileobj=z, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for base, dirs, names in os.walk(folder):
            dirs.sort()
            for n in sorted(names) + [d for d in dirs if not os.listdir(os.path.join(base, d))]:
                if not (n.startswith(".") and n.endswith(".crc")):
                    full = os.path.join(base, n)
                    tar.add(full, os.path.relpath(full, folder), recursive=False, filter=plain)


def make(hudi, out, name, kind, version, mor, partitioned, a, catalogue):
    """One table: written, asked, judged, packed, listed. A failure is noted in the catalogue."""
    begun, folder, archive = time.time(), os.path.join(MADE_IN, name), os.path.join(out, name + ".tar.gz")
    shutil.rmtree(folder, ignore_errors=True)
    path = os.path.join(folder, "table")
    t = Making(hudi, path, name, version, mor, partitioned)
    catalogue["tables"].pop(name, None)
    catalogue["failed"].pop(name, None)
    try:
        write = getattr(t, "kind_" + kind)
        write()
        queries, schema = expect(t, os.path.join(folder, "expected"))
        findings = hudi.judge(path)["findings"] if a.judge else []
        pack(folder, archive)
        size = sum(os.path.getsize(os.path.join(b, n)) for b, _, ns in os.walk(path) for n in ns if not n.endswith(".crc"))
        catalogue["tables"][name] = {
            "name": name, "version": t.version, "type": "mor" if mor else "cow", "kind": kind, "shows": write.__doc__,
            "archive": name + ".tar.gz", "bytes": size, "packed": os.path.getsize(archive),
            "options": {k: v for k, v in t.options.items() if k not in SMALL}, "schema": schema,
            "timeline": hudi.timeline(path)["instants"], "queries": queries, **({"findings": findings} if findings else {})}
        print(f"{name}: {size} bytes, {time.time() - begun:.1f} s", file=sys.stderr)
        for x in findings:
            print(f"   {x['severity']} {x['check']} {x['message'][:300]} {x.get('file', '')} {x.get('instant', '')}", file=sys.stderr)
        for q in queries:
            if "error" in q:
                print(f"   refused: {q}", file=sys.stderr)
    except Exception as e:  # noqa: BLE001 - noted, and on with the next
        text, causes = explain(e)
        catalogue["failed"][name] = (causes or [text])[-1][:500]
        print(f"{name}: FAILED {text[:300]} <- {(causes or [''])[-1][:300]}", file=sys.stderr)
        if not getattr(e, "java_exception", None):
            traceback.print_exc()
    if a.keep and os.path.isdir(folder):
        shutil.rmtree(os.path.join(out, name), ignore_errors=True)
        shutil.copytree(folder, os.path.join(out, name))
    shutil.rmtree(folder, ignore_errors=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--only", default="")
    p.add_argument("--versions", default="6,8,9")
    p.add_argument("--judge", action="store_true")
    p.add_argument("--keep", action="store_true")
    p.add_argument("--missing", action="store_true")
    a = p.parse_args()
    os.dup2(2, 1)       # nothing on stdout but what we print: there is nothing
    out = os.path.abspath(a.out)
    os.makedirs(out, exist_ok=True)
    listed = os.path.join(out, "catalogue.json")
    catalogue = {"tables": {}, "failed": {}}
    if os.path.exists(listed):
        with open(listed, encoding="utf-8") as f:
            old = json.load(f)
        catalogue = {"tables": {t["name"]: t for t in old["tables"]}, "failed": old["failed"]}
    hudi, t0 = Hudi(), time.time()
    hudi.spark.conf.set("spark.sql.shuffle.partitions", "1")
    versions = [int(v) for v in a.versions.split(",")]
    for kind, made in PLAN.items():
        for word in made.split():
            v, mor, partitioned = int(word[0]), word[1] == "m", not word.endswith("f")
            name = f"v{v}_{'mor' if mor else 'cow'}_{kind}" + ("" if partitioned else "_flat")
            if v not in versions or not re.search(a.only, name) or (a.missing and name in catalogue["tables"]):
                continue
            make(hudi, out, name, kind, v, mor, partitioned, a, catalogue)
            with open(listed, "w", encoding="utf-8") as f:
                json.dump({"tables": sorted(catalogue["tables"].values(), key=lambda x: x["name"]),
                           "failed": dict(sorted(catalogue["failed"].items()))}, f, indent=1, ensure_ascii=False)
    hudi.stop()
    print(f"{len(catalogue['tables'])} tables, {len(catalogue['failed'])} failed, {time.time() - t0:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
