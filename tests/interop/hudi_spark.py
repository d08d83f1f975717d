#!/usr/bin/env python3
"""Apache Hudi on Spark as the judge of tables, one JVM for many questions. Needs `scripts/setup interop`.

    PY=$(scripts/setup path)/bin/python; $PY hudi_spark.py serve             one JSON command a line in, one JSON answer a line out
    $PY hudi_spark.py read  PATH [--query Q] [--out FILE] [--meta] [key=value ...]
    $PY hudi_spark.py judge PATH [--probe] [--fast]         exit 0 accepted, 1 findings (JSON lines on stdout)
    $PY hudi_spark.py write PATH --input FILE ... | sql STATEMENT ... | timeline PATH | view PATH | dump PATH ... | info PATH

The JVM takes some 6 s to start, a command afterwards 0.1-3 s: test suites should `serve`. Answers of `serve`:
{"ok":true,...,"seconds":s} or {"ok":false,"error":"Class: message","causes":[...]}; the first line it prints is
{"ok":true,"ready":true,...}. `id` of a command is repeated in its answer. Spark's own noise goes to stderr. It ends at
the end of stdin or with {"cmd":"stop"}. On the command line any argument of a command may be given as --name VALUE
(lists a,b; flags bare; JSON where a JSON object or list is wanted) and hoodie options as key=value. Of the process, not
of a command: --timezone ZONE (of the JVM; UTC), --memory 2g, spark.x=y. Environment: HUDI_BUNDLE_JAR,
HUDI_SPARK_CLASSPATH (more jars, e.g. hadoop-aws for s3a:// paths), HUDI_SPARK_LOG (ERROR).

Commands and their arguments ("path" is a local path or a URL known to Hadoop; "options" = Hudi options, passed through):

read      path, query = snapshot | read_optimized | incremental | time_travel | cdc; begin, end (incremental and cdc,
          (begin, end]: COMPLETION times for table version 8+, instant times for 6; default: from the earliest),
          as_of, columns [..], filter (SQL), meta (keep _hoodie_* columns), options, out (file; without it: "rows")
          -> count, schema, columns. Rows are encoded as rows.py says and sorted by record key.
write     path, input (JSON lines or Parquet file) or rows [..], schema (Spark DDL, or an Avro schema .avsc file),
          operation (upsert, insert, bulk_insert, delete, insert_overwrite, insert_overwrite_table, delete_partition),
          mode (append, overwrite), table_version (6, 8, 9), select [SQL expressions], options
          -> instants added. Auto-upgrade is off; an existing table keeps its version.
sql       sql (one statement or a list), tables {name: path} (registered for CALL .. table => and DML), views {name: path}
          (read only), set {conf: value}, out -> the last statement's rows. E.g. CALL run_compaction(op => 'run', path => '..')
timeline  path, archived (default true) -> instants as HoodieTableMetaClient sees them
view      path, all (uncommitted slices too) -> partitions, file groups, slices as HoodieTableFileSystemView sees them
dump      path and instant (all its states, active or archived), or file (log file: blocks; HFile: entries; Parquet:
          footer), records (number of records to show per block) -> JSON made by Hudi's own classes
info      path -> table config, schema, version
judge     path, fast (no deep look into files), probe (also lets Spark upsert into, compact and clean a COPY), bucket
          {"fields": [..], "count": n}, -> findings [] = accepted; every finding has check, severity, message
"""
import glob
import json
import os
import shutil
import sys
import tempfile
import time

import rows

BUNDLE = "hudi-spark3.5-bundle_2.12-*.jar"


def _find_bundle():
    for pattern in filter(None, [os.environ.get("HUDI_BUNDLE_JAR"), os.path.join(sys.prefix, "jars", BUNDLE)]):
        found = sorted(glob.glob(pattern))
        if found:
            return found[-1]
    sys.exit("no Hudi bundle: run `scripts/setup interop`, call this with its Python, or set HUDI_BUNDLE_JAR")


def start(timezone="UTC", memory="2g", conf=None):
    """A Spark session with Hudi. The JVM's zone matters: tables with timeline timezone LOCAL take instants in it."""
    java17 = sorted(glob.glob("/usr/lib/jvm/java-17-openjdk-*"))
    if "JAVA_HOME" not in os.environ and java17:
        os.environ["JAVA_HOME"] = java17[0]
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYARROW_IGNORE_TIMEZONE", "1")
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession
    work = tempfile.mkdtemp(prefix="hudi-spark-")
    builder = (
        SparkSession.builder.master("local[2]").appName("judge")
        .config("spark.driver.memory", memory)
        # On the class path, not in spark.jars: that would copy 80 MB for every session.
        .config("spark.driver.extraClassPath", os.pathsep.join(filter(None, [_find_bundle(), os.environ.get("HUDI_SPARK_CLASSPATH")])))
        .config("spark.driver.extraJavaOptions",
                f"-Duser.timezone={timezone} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dderby.system.home={work}")
        .config("spark.serializer", "org.apache.spark.serializer.KryoSerializer")
        .config("spark.kryo.registrator", "org.apache.spark.HoodieSparkKryoRegistrar")
        .config("spark.sql.extensions", "org.apache.spark.sql.hudi.HoodieSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.hudi.catalog.HoodieCatalog")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.warehouse.dir", os.path.join(work, "warehouse"))
        .config("spark.local.dir", work)
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.parquet.datetimeRebaseModeInRead", "CORRECTED")
        .config("spark.sql.parquet.datetimeRebaseModeInWrite", "CORRECTED")
        .config("spark.sql.parquet.int96RebaseModeInWrite", "CORRECTED"))
    for k, v in (conf or {}).items():
        builder = builder.config(k, v)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel(os.environ.get("HUDI_SPARK_LOG", "ERROR"))
    return spark, work


def explain(e):
    """An exception as (text, causes): the Java chain if there is one."""
    chain = []
    j = getattr(e, "java_exception", None)
    if j is None:
        j = getattr(e, "_origin", None)
    seen = 0
    while j is not None and seen < 12:
        chain.append(f"{j.getClass().getSimpleName()}: {j.getMessage()}")
        j = j.getCause()
        seen += 1
    text = f"{type(e).__name__}: {e}" if not chain else chain[0]
    if len(text) > 2000:
        text = text[:2000] + "..."
    return text, [c[:2000] for c in chain[1:]]


class Table:
    """A table as Hudi's own meta client, timeline and file system view see it."""

    def __init__(self, hudi, path):
        self.hudi, self.path = hudi, path
        jvm = hudi.jvm
        self.conf = jvm.org.apache.hudi.hadoop.fs.HadoopFSUtils.getStorageConf(hudi.spark._jsc.hadoopConfiguration())
        self.client = (jvm.org.apache.hudi.common.table.HoodieTableMetaClient.builder()
                       .setConf(self.conf).setBasePath(path).build())
        self.config = self.client.getTableConfig()
        self.version = self.config.getTableVersion().versionCode()
        self.storage = self.client.getStorage()
        self.engine = jvm.org.apache.hudi.common.engine.HoodieLocalEngineContext(self.conf)

    def key_fields(self):
        f = self.config.getRecordKeyFields()
        return list(f.get()) if f.isPresent() else []

    def partition_fields(self):
        f = self.config.getPartitionFields()
        return [x.split(":")[0] for x in f.get()] if f.isPresent() else []

    def ordering_fields(self):
        return list(self.config.getOrderingFields())

    def metadata_partitions(self):
        return sorted(self.config.getMetadataPartitions())

    # --- timeline

    @staticmethod
    def instant_json(i, archived=False):
        r = {"time": i.requestedTime(), "action": i.getAction(), "state": i.getState().toString(),
             "completion": i.getCompletionTime()}
        return {**r, "archived": True} if archived else r

    def active(self):
        return list(self.client.getActiveTimeline().getInstants())

    def archived_timeline(self):
        return self.client.getArchivedTimeline()

    def all_files_of_timeline(self):
        """Every file of the active timeline folder: (name, instant or None if Hudi cannot parse the name)."""
        out = []
        for info in self.storage.listDirectEntries(self.client.getTimelinePath()):
            name = info.getPath().getName()
            if info.isDirectory() or name.startswith("hoodie.properties") or name.endswith(".crc"):
                continue
            try:
                out.append((name, info, self.client.createNewInstant(info)))
            except Exception:  # noqa: BLE001 - Hudi throws for a name it does not know
                out.append((name, info, None))
        return out

    def decode(self, timeline, i, archived=False):
        """One instant's content as a Python object, decoded by the class that Hudi uses for it; None if empty."""
        action, state = i.getAction(), i.getState().toString()
        if archived and self.version < 8:       # the old archive hands out JSON
            return json.loads(bytes(timeline.getInstantDetails(i).get()))
        if timeline.isEmpty(i):
            return None
        plan = state != "COMPLETED"
        if action in ("commit", "deltacommit"):
            return json.loads(timeline.readCommitMetadata(i).toJsonString())
        if action in ("replacecommit", "clustering"):
            if state == "REQUESTED":
                return _avro(timeline.readRequestedReplaceMetadata(i))
            if state == "INFLIGHT":
                # An overwrite's inflight file holds commit metadata; a clustering's is empty (or its plan, before 1.0).
                try:
                    return json.loads(timeline.readReplaceCommitMetadata(i).toJsonString())
                except Exception:  # noqa: BLE001
                    try:
                        return json.loads(timeline.readCommitMetadata(i).toJsonString())
                    except Exception:  # noqa: BLE001
                        return _avro(timeline.readRequestedReplaceMetadata(i))
            return json.loads(timeline.readReplaceCommitMetadata(i).toJsonString())
        if action in ("compaction", "logcompaction"):
            return _avro(timeline.readCompactionPlan(i))
        if action == "clean":
            return _avro(timeline.readCleanerPlan(i) if plan else timeline.readCleanMetadata(i))
        if action == "rollback":
            return _avro(timeline.readRollbackPlan(i) if plan else timeline.readRollbackMetadata(i))
        if action == "restore":
            return _avro(timeline.readRestorePlan(i) if plan else timeline.readRestoreMetadata(i))
        if action == "savepoint":
            return _avro(timeline.readSavepointMetadata(i))
        if action == "indexing":
            if plan:
                return _avro(timeline.readIndexPlan(i))
            cls = self.hudi.java_class("org.apache.hudi.avro.model.HoodieIndexCommitMetadata")
            return _avro(timeline.readInstantContent(i, cls))
        raise ValueError(f"unknown action {action}")

    # --- files

    def view(self):
        v = self.hudi.jvm.org.apache.hudi.common.table.view.HoodieTableFileSystemView
        v = v.fileListingBasedFileSystemView(
            self.engine, self.client, self.client.getActiveTimeline().filterCompletedAndCompactionInstants())
        v.loadAllPartitions()
        return v

    def partitions(self):
        """Partition paths by listing: those with a partition metafile."""
        m = self.hudi.jvm.org.apache.hudi.metadata.FileSystemBackedTableMetadata(self.engine, self.config, self.storage, self.path)
        return sorted(m.getAllPartitionPaths())

    def groups(self, everything=False):
        """[{partition, file_id, replaced, slices: [{base_instant, base, logs}]}], slices newest first."""
        view, out = self.view(), []
        for partition in self.partitions():
            latest = {f.getFileId(): f.getBaseInstantTime() for f in view.getLatestFileSlices(partition).toArray()}
            kinds = [(g, False) for g in view.getAllFileGroups(partition).toArray()]
            kinds += [(g, True) for g in view.getAllReplacedFileGroups(partition).toArray()]
            for g, replaced in kinds:
                slices = []
                stream = g.getAllRawFileSlices() if everything else g.getAllFileSlices()
                for s in stream.toArray():
                    base = s.getBaseFile()
                    slices.append({
                        "base_instant": s.getBaseInstantTime(),
                        "latest": not replaced and latest.get(s.getFileId()) == s.getBaseInstantTime(),
                        "base": ({"name": base.get().getFileName(), "size": base.get().getFileSize()}
                                 if base.isPresent() else None),
                        "logs": [{"name": f.getFileName(), "size": f.getFileSize(), "instant": f.getDeltaCommitTime()}
                                 for f in s.getLogFiles().sorted(
                                     self.hudi.jvm.org.apache.hudi.common.model.HoodieLogFile.getLogFileComparator()).toArray()],
                    })
                out.append({"partition": partition, "file_id": g.getFileGroupId().getFileId(), "replaced": replaced,
                            "slices": slices})
        pending = {
            "compaction": [{"instant": p.getLeft(), "partition": p.getRight().getPartitionPath(),
                            "file_id": p.getRight().getFileId()} for p in view.getPendingCompactionOperations().toArray()],
            "clustering": [{"instant": p.getRight().requestedTime(), "partition": p.getLeft().getPartitionPath(),
                            "file_id": p.getLeft().getFileId()} for p in view.getFileGroupsInPendingClustering().toArray()]}
        view.close()
        return out, pending

    def _next(self, iterator):
        """iterator.next(), but by reflection: py4j turns the exceptions of Java iterators into StopIteration."""
        new = self.hudi.spark._sc._gateway.new_array
        lang = self.hudi.jvm.java.lang
        return lang.Class.forName("java.util.Iterator").getMethod("next", new(lang.Class, 0)).invoke(iterator, new(lang.Object, 0))

    def log_blocks(self, path, records=0):
        """Blocks of a log file, read by Hudi's reader: type, header, number of records, the first `records` of them."""
        jvm = self.hudi.jvm
        sp = jvm.org.apache.hudi.storage.StoragePath(path)
        log = jvm.org.apache.hudi.common.model.HoodieLogFile(sp, self.storage.getPathInfo(sp).getLength())
        avro = getattr(jvm, "org.apache.hudi.common.model.HoodieRecord$HoodieRecordType").AVRO
        schema = None
        if path.endswith(".cdc"):       # the one kind whose reader wants to be told the schema
            resolver = jvm.org.apache.hudi.common.table.TableSchemaResolver(self.client)
            schema = jvm.org.apache.hudi.common.table.cdc.HoodieCDCUtils.schemaBySupplementalLoggingMode(
                self.config.cdcSupplementalLoggingMode(), resolver.getTableSchema(False))
        reader = jvm.org.apache.hudi.common.table.log.HoodieLogFormat.newReader(self.storage, log, schema)
        out = []
        try:
            while reader.hasNext():
                b = self._next(reader)
                kind = b.getBlockType().toString()
                block = {"type": kind, "header": {k.toString(): v for k, v in dict(b.getLogBlockHeader()).items()}}
                place = b.getBlockContentLocation()
                if place.isPresent():
                    block["content_position"] = place.get().getContentPositionInLogFile()
                    block["content_length"] = place.get().getBlockSize()
                if kind == "CORRUPT_BLOCK":
                    out.append(block)
                    continue
                footer = {k.toString(): v for k, v in dict(b.getLogBlockFooter()).items()}
                if footer:
                    block["footer"] = footer
                sample, n = [], 0
                if kind == "DELETE_BLOCK":
                    for d in b.getRecordsToDelete():
                        n += 1
                        if n <= records:
                            sample.append({"key": d.getRecordKey(), "partition": d.getPartitionPath(),
                                           "ordering": str(d.getOrderingValue())})
                elif kind == "COMMAND_BLOCK":
                    block["command"] = b.getType().toString()
                else:
                    it = b.getRecordIterator(avro)
                    while it.hasNext():
                        r = self._next(it)
                        n += 1
                        if n <= records:
                            sample.append(_loads(r.getData().toString()))
                    it.close()
                block["count"] = n
                if records:
                    block["records"] = sample
                positions = b.getRecordPositions() if kind in ("AVRO_DATA_BLOCK", "PARQUET_DATA_BLOCK", "DELETE_BLOCK") else None
                if positions is not None and not positions.isEmpty():
                    block["positions"] = positions.getLongCardinality()
                out.append(block)
        finally:
            reader.close()
        return out


def _loads(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def _avro(record):
    return _loads(record.toString())


class Hudi:
    """The commands. Each takes keyword arguments and returns a dict; errors are exceptions."""

    def __init__(self, **how):
        self.spark, self.work = start(**how)
        self.jvm = self.spark._jvm
        self._registered = {}
        # Loaded first, so that its schema object is the interned one. Otherwise a Spark read of a metadata table fails
        # with ArrayIndexOutOfBoundsException in HoodieMetadataPayload.getInsertValue (it compares schemas by identity).
        self.java_class("org.apache.hudi.metadata.HoodieMetadataPayload")

    def stop(self):
        self.spark.stop()
        shutil.rmtree(self.work, ignore_errors=True)

    def java_class(self, name):
        return self.jvm.java.lang.Class.forName(name, True, self.jvm.java.lang.Thread.currentThread().getContextClassLoader())

    def table(self, path):
        return Table(self, path)

    def version_of(self, path):
        try:
            return self.table(path).version
        except Exception:  # noqa: BLE001 - no table yet
            return None

    # --- read

    def frame(self, path, query="snapshot", begin=None, end=None, as_of=None, options=None):
        o = {}
        if query == "snapshot" or query == "time_travel":
            o["hoodie.datasource.query.type"] = "snapshot"
            if query == "time_travel":
                o["as.of.instant"] = str(as_of)
        elif query == "read_optimized":
            o["hoodie.datasource.query.type"] = "read_optimized"
        elif query in ("incremental", "cdc"):
            o["hoodie.datasource.query.type"] = "incremental"
            o["hoodie.datasource.read.begin.instanttime"] = str(begin or "000")
            if end:
                o["hoodie.datasource.read.end.instanttime"] = str(end)
            if query == "cdc":
                o["hoodie.datasource.query.incremental.format"] = "cdc"
        else:
            raise ValueError(f"unknown query {query}")
        o.update(options or {})
        return self.spark.read.format("hudi").options(**o).load(path)

    def _rows(self, df, **how):
        return rows.encode(df._collect_as_arrow(), **how)

    def read(self, path, query="snapshot", begin=None, end=None, as_of=None, columns=None, filter=None, meta=False,
             options=None, out=None):
        df = self.frame(path, query, begin, end, as_of, options)
        if filter:
            df = df.where(filter)
        present = set(df.columns)
        keys = [c for c in ("_hoodie_record_key", "_hoodie_partition_path") if c in present]
        if query == "cdc":
            keys = ["ts_ms"]
        elif not keys:
            keys = self.table(path).key_fields()
        drop = []
        if columns:
            drop = [k for k in keys if k not in columns]
            df = df.select(*[f"`{c}`" for c in columns], *[f"`{k}`" for k in drop])
        schema = [{"name": f.name, "type": f.dataType.simpleString(), "nullable": f.nullable} for f in df.schema.fields
                  if f.name not in drop and (meta or not f.name.startswith("_hoodie_"))]
        lines = self._rows(df, meta=meta or bool(columns), sort_by=keys, drop=drop,
                           json_columns=("before", "after") if query == "cdc" else ())
        return self._result(lines, out, schema=schema)

    @staticmethod
    def _result(lines, out, **more):
        if out:
            rows.write(lines, out)
            return {"count": len(lines), "out": out, **more}
        return {"count": len(lines), **more, "rows": [json.loads(x) for x in lines]}

    # --- write

    def _input(self, input, rows_, schema, select):
        if schema and schema.endswith(".avsc"):
            with open(schema, encoding="utf-8") as f:
                j = self.jvm.org.apache.avro.Schema.Parser().parse(f.read())
            schema = self.jvm.org.apache.spark.sql.avro.SchemaConverters.toSqlType(j).dataType().sql()[len("STRUCT<"):-1]
        if rows_ is not None:
            input = os.path.join(self.work, "input.jsonl")
            with open(input, "w", encoding="utf-8") as f:
                f.writelines(json.dumps(r, ensure_ascii=False) + "\n" for r in rows_)
        if input.endswith(".parquet"):
            df = self.spark.read.parquet(input)
        else:
            reader = self.spark.read.option("mode", "FAILFAST")
            df = (reader.schema(schema) if schema else reader).json(input)
        return df.selectExpr(*select) if select else df

    def write(self, path, input=None, rows=None, schema=None, operation="upsert", mode="append", table_version=None,
              select=None, options=None):
        before = {} if mode == "overwrite" else self._instants(path)
        self.write_frame(self._input(input, rows, schema, select), path, operation, mode, table_version, options)
        return {"instants": [i for k, i in self._instants(path).items() if before.get(k) != i]}

    def write_frame(self, df, path, operation="upsert", mode="append", table_version=None, options=None):
        o = {"hoodie.table.name": os.path.basename(path.rstrip("/")),
             "hoodie.datasource.write.operation": operation,
             "hoodie.write.auto.upgrade": "false",
             "hoodie.embed.timeline.server": "false",
             "hoodie.write.markers.type": "DIRECT"}
        version = table_version or (None if mode == "overwrite" else self.version_of(path))
        if version:
            o["hoodie.write.table.version"] = str(version)
        o.update(options or {})
        df.write.format("hudi").options(**o).mode(mode).save(path)

    def _instants(self, path):
        try:
            return {(i.requestedTime(), i.getAction()): Table.instant_json(i) for i in self.table(path).active()}
        except Exception:  # noqa: BLE001 - no table yet
            return {}

    # --- SQL

    def sql(self, sql, tables=None, views=None, set=None, out=None):
        for name, path in (tables or {}).items():
            if self._registered.get(name) != path:
                self.spark.sql(f"DROP TABLE IF EXISTS `{name}`")
                self.spark.sql(f"CREATE TABLE `{name}` USING hudi LOCATION '{path}'")
                self._registered[name] = path
            else:
                self.spark.sql(f"REFRESH TABLE `{name}`")
        for name, path in (views or {}).items():
            self.frame(path).createOrReplaceTempView(name)
        old = {}
        for k, v in (set or {}).items():
            old[k] = self.spark.conf.get(k, None)
            self.spark.conf.set(k, v)
        try:
            df = None
            for statement in [sql] if isinstance(sql, str) else sql:
                df = self.spark.sql(statement)
            return self._result(self._rows(df) if df is not None and df.columns else [], out)
        finally:
            for k, v in old.items():
                self.spark.conf.unset(k) if v is None else self.spark.conf.set(k, v)

    # --- inspection

    def info(self, path):
        t = self.table(path)
        resolver = self.jvm.org.apache.hudi.common.table.TableSchemaResolver(t.client)
        return {"version": t.version, "type": t.config.getTableType().toString(), "keys": t.key_fields(),
                "partition_fields": t.partition_fields(), "ordering_fields": t.ordering_fields(),
                "metadata_partitions": t.metadata_partitions(),
                "properties": dict(sorted(dict(t.config.getProps()).items())),
                "schema": _loads(resolver.getTableSchema(False).toString())}

    def timeline(self, path, archived=True):
        t = self.table(path)
        out = []
        if archived:
            out = [Table.instant_json(i, True) for i in t.archived_timeline().getInstants()]
        return {"version": t.version, "instants": out + [Table.instant_json(i) for i in t.active()]}

    def view(self, path, all=False):
        groups, pending = self.table(path).groups(all)
        return {"groups": groups, "pending": pending}

    def dump(self, path, instant=None, file=None, records=0):
        t = self.table(path)
        if instant:
            out = []
            for name, _, i in sorted(t.all_files_of_timeline(), key=lambda x: x[0]):
                if i is not None and i.requestedTime() == instant:
                    out.append({"file": name, **Table.instant_json(i), "content": t.decode(t.client.getActiveTimeline(), i)})
            if not out:
                timeline = t.archived_timeline()
                timeline.loadCompletedInstantDetailsInMemory()
                out = [{**Table.instant_json(i, True), "content": t.decode(timeline, i, True)}
                       for i in timeline.getInstants() if i.requestedTime() == instant]
            if not out:
                raise ValueError(f"no instant {instant} in the active or archived timeline")
            return {"instants": out}
        full = file if "://" in file or os.path.isabs(file) else os.path.join(path, file)
        if ".log." in os.path.basename(full):
            return {"blocks": t.log_blocks(full, records)}
        if full.endswith(".hfile"):
            return {"entries": self._hfile(t, full)}
        import pyarrow.parquet as pq
        f = pq.ParquetFile(full)
        meta = {k.decode(): v.decode("utf-8", "replace") for k, v in (f.metadata.metadata or {}).items()}
        return {"rows": f.metadata.num_rows, "row_groups": f.metadata.num_row_groups, "created_by": f.metadata.created_by,
                "footer": {k: v for k, v in meta.items() if not k.startswith("ARROW:")}, "schema": str(f.schema),
                **({"sample": [json.loads(x) for x in rows.encode(f.read().slice(0, records).to_batches())]} if records else {})}

    def _hfile(self, t, full):
        """Keys and decoded records of an HFile (a base file of the metadata table)."""
        jvm = self.jvm
        sp = jvm.org.apache.hudi.storage.StoragePath(full)
        kind = getattr(jvm, "org.apache.hudi.common.model.HoodieRecord$HoodieRecordType").AVRO
        config = jvm.org.apache.hudi.common.config.HoodieReaderConfig()
        reader = (jvm.org.apache.hudi.io.storage.HoodieIOFactory.getIOFactory(t.storage).getReaderFactory(kind)
                  .getFileReader(config, sp, jvm.org.apache.hudi.common.model.HoodieFileFormat.HFILE,
                                 jvm.org.apache.hudi.common.util.Option.empty()))
        it, out = reader.getRecordIterator(reader.getSchema()), []
        while it.hasNext():
            r = it.next()
            out.append(_loads(r.getData().toString()))
        reader.close()
        return out

    def judge(self, path, fast=False, probe=False, bucket=None, options=None):
        import judge
        return judge.judge(self, path, fast, probe, bucket, options)


COMMANDS = ("read", "write", "sql", "timeline", "view", "dump", "info", "judge")


def serve(answers, **how):
    t0 = time.time()
    hudi = Hudi(**how)

    def answer(obj):
        answers.write(json.dumps(obj, ensure_ascii=False) + "\n")
        answers.flush()

    answer({"ok": True, "ready": True, "spark": hudi.spark.version, "bundle": os.path.basename(_find_bundle()),
            "seconds": round(time.time() - t0, 3)})
    for line in sys.stdin:
        if not line.strip():
            continue
        t0, ident = time.time(), None
        try:
            args = json.loads(line)
            ident, cmd = args.pop("id", None), args.pop("cmd")
            if cmd == "stop":
                break
            if cmd not in COMMANDS:
                raise ValueError(f"unknown command {cmd}")
            result = {"ok": True, **getattr(hudi, cmd)(**args)}
        except Exception as e:  # noqa: BLE001 - the server answers, whatever happens
            text, causes = explain(e)
            result = {"ok": False, "error": text, "causes": causes}
        if ident is not None:
            result["id"] = ident
        answer({**result, "seconds": round(time.time() - t0, 3)})
    hudi.stop()


def _argument(name, text):
    if name in ("columns", "select") and not text.startswith("["):
        return text.split(",")
    if text[:1] in "[{" or name == "records":
        return json.loads(text)
    return text


def main():
    # Answers go to the real stdout; whatever the JVM prints there goes to stderr.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    argv = sys.argv[1:]
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__, file=answers)
        return 0 if argv else 2
    cmd, rest, args, options = argv[0], argv[1:], {}, {}
    how = {}
    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            name = word[2:].replace("-", "_")
            value = _argument(name, rest.pop(0)) if rest and not rest[0].startswith("--") and name not in (
                "meta", "fast", "probe", "all") else True
            (how if name in ("timezone", "memory") else args)[name] = value
        elif "=" in word and cmd != "sql":
            k, v = word.split("=", 1)
            options[k] = v
        elif cmd == "sql":
            args.setdefault("sql", []).append(word)
        else:
            args["path"] = word
    conf = {k: options.pop(k) for k in list(options) if k.startswith("spark.")}
    if cmd == "serve":
        serve(answers, conf=conf, **how)
        return 0
    if cmd not in COMMANDS:
        print(__doc__, file=sys.stderr)
        return 2
    if "path" in args and "://" not in args["path"]:
        args["path"] = os.path.abspath(args["path"])
    if options:
        args["options"] = options
    hudi = Hudi(conf=conf, **how)
    try:
        result = getattr(hudi, cmd)(**args)
    except Exception as e:  # noqa: BLE001
        text, causes = explain(e)
        print("\n  caused by ".join([text, *causes]), file=sys.stderr)
        return 3
    finally:
        hudi.stop()
    if cmd in ("read", "sql") and "rows" in result:
        for r in result["rows"]:
            print(json.dumps(r, ensure_ascii=False, separators=(",", ":")), file=answers)
    elif cmd == "judge":
        for f in result["findings"]:
            print(json.dumps(f, ensure_ascii=False), file=answers)
        print(json.dumps({k: v for k, v in result.items() if k != "findings"}), file=sys.stderr)
        return 1 if any(f["severity"] == "error" for f in result["findings"]) else 0
    else:
        print(json.dumps(result, ensure_ascii=False, indent=1), file=answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
