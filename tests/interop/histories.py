#!/usr/bin/env python3
"""Random histories: tables that Apache Hudi on Spark writes by dice, and what it answers. Needs `scripts/setup interop`.

    histories.py OUT SEED [SEED...] [--keep]

A seed makes the same table settings and the same steps in every run. What comes out is what golden.py makes: OUT/catalogue.json
and OUT/SEED.tar.gz with table/ and expected/*.jsonl; queries that Spark refuses are not among them.
"""
import argparse
import json
import os
import random
import sys

import golden
from golden import METADATA, SCHEMA, Making, row
from hudi_spark import Hudi

IDS = 24
STEPS = 9


class History(Making):
    """A table by dice. `done` tells the steps, for whoever looks at a difference."""

    def __init__(self, hudi, path, name, version, mor, partitioned):
        super().__init__(hudi, path, name, version, mor, partitioned)
        self.dice = random.Random(int(name))
        self.done, self.ts, self.columns, self.pending = [], 0, 0, False

    def kind_random(self):
        """Steps by dice."""
        self.settings()
        self.load()
        steps = [self.change] * 5 + [self.load, self.delete, self.delete, self.add_column, self.fail, self.clean, self.metadata]
        steps += [self.overwrite, self.drop_partition] if self.partitioned else [self.overwrite]
        steps += [self.compact] * 2 + [self.plan_compaction, self.fold_logs] if self.mor else [self.cluster]
        for _ in range(STEPS):
            step = self.dice.choice(steps)
            step()
            self.done.append(step.__name__)
        # The newest rows lie in logs, or in slices of their own.
        self.change()
        print(f"{self.name}: v{self.version} {'mor' if self.mor else 'cow'} {self.tells} {' '.join(self.done)}", file=sys.stderr)

    def settings(self):
        dice, tells = self.dice, []
        if dice.random() < 0.4:
            tells.append("commit_time")
            if self.version >= 8:
                self.options["hoodie.record.merge.mode"] = "COMMIT_TIME_ORDERING"
                self.options.pop("hoodie.datasource.write.precombine.field", None)
                self.options.pop("hoodie.table.ordering.fields", None)
            else:
                self.options["hoodie.datasource.write.payload.class"] = "org.apache.hudi.common.model.OverwriteWithLatestAvroPayload"
        if dice.random() < 0.4:
            mode = dice.choice(["OP_KEY_ONLY", "DATA_BEFORE", "DATA_BEFORE_AFTER"])
            tells.append(mode)
            self.options.update({"hoodie.table.cdc.enabled": "true", "hoodie.table.cdc.supplemental.logging.mode": mode})
            self.queries = ["cdc"]
        if dice.random() < 0.3:
            tells.append("bucket")
            self.options.update({"hoodie.index.type": "BUCKET", "hoodie.bucket.index.num.buckets": "2",
                                 "hoodie.bucket.index.hash.field": "id"})
        if dice.random() < 0.3:
            tells.append("small_files")
            self.options["hoodie.parquet.small.file.limit"] = "0"
        self.tells = ",".join(tells) or "plain"

    def rows(self, ids):
        rows = []
        for i in ids:
            ts = max(0, self.ts - self.dice.choice([0, 0, 0, 1, 3]))
            rows.append(row(i, "abc"[i % 3], ts, price=self.dice.randrange(400) / 4,
                            name=self.dice.choice([None, "", f"n{i}", f"at {ts}"])))
            for n in range(self.columns):
                rows[-1][f"more{n}"] = self.dice.choice([None, i * 10 + n])
        return rows

    def ids(self, most):
        return self.dice.sample(range(IDS), self.dice.randint(1, most))

    def put(self, rows, operation, **options):
        self.ts += 1
        more = "".join(f", more{n} int" for n in range(self.columns))
        self.write(rows, operation, schema=SCHEMA + more, **options)

    # --- steps

    def load(self):
        self.put(self.rows(self.ids(IDS)), "upsert")

    def change(self):
        self.put(self.rows(self.ids(6)), "upsert")

    def delete(self):
        self.put(self.rows(self.ids(5)), "delete")

    # Nobody plans to compact file groups and then replaces them.

    def overwrite(self):
        if not self.pending:
            self.put(self.rows(self.ids(6)), "insert_overwrite")

    def drop_partition(self):
        part = self.dice.choice("abc")
        if not self.pending:
            self.put([row(1, part)], "delete_partition", hoodie__datasource__write__partitions__to__delete=part)

    def add_column(self):
        self.columns = min(3, self.columns + 1)
        self.change()

    def fail(self):
        """Hudi itself cannot roll a write back once services have completed after it: so the next step does."""
        self.fails(self.rows(self.ids(6)))
        self.change()

    def metadata(self):
        """From now on the table carries a metadata table, or not."""
        self.options.update(METADATA if self.options["hoodie.metadata.enable"] == "false" else {"hoodie.metadata.enable": "false"})

    def clean(self):
        self.sql("CALL run_clean(table => $T, clean_policy => 'KEEP_LATEST_FILE_VERSIONS', file_versions_retained => 2, $O)")
        if any(i["action"] == "clean" for i in self.instants()):
            self.skip |= {"time_travel", "incremental"}
            self.queries = []

    def plan_compaction(self):
        self.sql("CALL run_compaction(op => 'schedule', path => '$P', $O)")
        self.pending = bool(self.instants(("compaction",), "REQUESTED"))

    def compact(self):
        self.plan_compaction()
        self.sql("CALL run_compaction(op => 'run', path => '$P', $O)")
        self.pending = False

    def cluster(self):
        if "hoodie.index.type" in self.options:
            return
        self.sql("CALL run_clustering(path => '$P', op => 'schedule', $O)")
        self.sql("CALL run_clustering(path => '$P', op => 'execute', $O)")

    def fold_logs(self):
        self.put(self.rows(self.ids(6)), "upsert", hoodie__log__compaction__inline="true",
                 hoodie__log__compaction__enable="true", hoodie__log__compaction__blocks__threshold="2")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("seeds", nargs="+", type=int)
    p.add_argument("--keep", action="store_true")
    a = p.parse_args()
    a.judge = False
    os.dup2(2, 1)
    os.makedirs(a.out, exist_ok=True)
    catalogue = {"tables": {}, "failed": {}}
    hudi = Hudi()
    hudi.spark.conf.set("spark.sql.shuffle.partitions", "1")
    golden.Making = History
    golden.MADE_IN = os.path.join(os.path.abspath(a.out), "made")
    for seed in a.seeds:
        dice = random.Random(f"shape {seed}")
        version, mor, partitioned = dice.choice([6, 8, 9, 9]), dice.random() < 0.6, dice.random() < 0.6
        golden.make(hudi, os.path.abspath(a.out), str(seed), "random", version, mor, partitioned, a, catalogue)
    for table in catalogue["tables"].values():
        table["queries"] = [q for q in table["queries"] if "error" not in q]
    with open(os.path.join(a.out, "catalogue.json"), "w", encoding="utf-8") as f:
        json.dump({"tables": list(catalogue["tables"].values()), "failed": catalogue["failed"]}, f, indent=1)
    hudi.stop()


if __name__ == "__main__":
    sys.exit(main())
