"""Exports, read back: by readers written here from the formats' descriptions, and by the tools themselves where they are installed."""

import contextlib
import io
import json
import os
import sqlite3
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import made
import pandas as pd

import eliteloop
from eliteloop import export
from eliteloop.__main__ import main
from eliteloop.export import scalars
from eliteloop.export.tensorboard import crc32c

# Of the made run: the mean quality of its two cycles, and the curve of its elite 1/0.
QUALITY = [(1, 0.75), (2, 0.25)]
CURVE = [(1, 0.2), (2, 0.4)]


def wanted(module):
    """The module, or a skip where it is not installed."""
    try:
        return __import__(module, fromlist=["_"])
    except ImportError:
        raise unittest.SkipTest(f"{module} is not installed") from None


def unmasked(crc):
    rotated = (crc - 0xA282EAD8) % 2**32
    return (rotated >> 17 | rotated << 15) % 2**32


def records(content):
    """The messages of a file of TFRecords, their checksums checked."""
    while content:
        (length,) = struct.unpack_from("<Q", content)
        assert unmasked(struct.unpack_from("<I", content, 8)[0]) == crc32c(content[:8])
        message, end = content[12 : 12 + length], 12 + length
        assert unmasked(struct.unpack_from("<I", content, end)[0]) == crc32c(message)
        yield message
        content = content[end + 4 :]


def fields(message):
    """The fields of a message by number; the last of equal ones."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            value |= (message[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if message[at - 1] < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            found[key >> 3] = varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or varint()
            found[key >> 3] = message[at : at + size]
            at += size
    return found


class Made(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = Path(place.name)
        made.run(self.place / "run").close()
        made.audit(self.place / "audit").close()
        self.run_ = eliteloop.open_run(self.place / "run")
        self.audit = eliteloop.open_run(self.place / "audit")
        self.out = self.place / "out"


class Exports(Made):
    def test_json_lines_are_the_frames(self):
        for record in (self.run_, self.audit):
            export.to_jsonl(record, self.out)
            for name, frame in record.frames().items():
                rows = [json.loads(line) for line in (self.out / f"{name}.jsonl").read_text().splitlines()]
                expected = [[None if pd.isna(value) else value for value in row] for row in frame.itertuples(index=False, name=None)]
                self.assertEqual([list(row.values()) for row in rows], expected)
        self.assertIn('"seed": 18446744073709551615', (self.out / "trainings.jsonl").read_text())
        self.assertGreater(len((self.out / "columns.jsonl").read_text().splitlines()), 50)

    def test_parquet_keeps_values_and_types(self):
        wanted("pyarrow")
        for record in (self.run_, self.audit):
            export.to_parquet(record, self.out)
            for name, frame in record.frames().items():
                pd.testing.assert_frame_equal(pd.read_parquet(self.out / f"{name}.parquet"), frame)

    def test_parquet_without_pyarrow_says_so(self):
        with mock.patch.dict(sys.modules, {"pyarrow": None}), self.assertRaises(eliteloop.EliteloopError) as refused:
            export.to_parquet(self.run_, self.out)
        self.assertIn("pyarrow", refused.exception.message)

    def test_the_checksum_is_castagnolis(self):
        # The check value of CRC-32C, and the vectors of RFC 3720, B.4.
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)
        self.assertEqual(crc32c(bytes(32)), 0x8A9136AA)
        self.assertEqual(crc32c(b"\xff" * 32), 0x62A8AB43)

    def test_event_files_have_a_scalar_per_record(self):
        export.to_tensorboard(self.run_, self.out)
        (file,) = (self.out / "run").glob("events.out.tfevents.*")
        first, *rest = (fields(message) for message in records(file.read_bytes()))
        self.assertEqual(first[3], b"brain.Event:2")
        found = {}
        for event in rest:
            value = fields(fields(event[5])[1])
            point = (event[2], struct.unpack("<f", value[2])[0])
            found.setdefault(value[1].decode(), []).append((*point, struct.unpack("<d", event[1])[0]))
        # Begun at 03:04 on 2 January 2026; the start and each cycle took a minute.
        start = 1767323040.0
        self.assertEqual(found["cycles/quality_mean"], [(1, 0.75, start + 120), (2, 0.25, start + 180)])
        # One that is missing in a cycle is left out of it.
        self.assertEqual([point[:2] for point in found["cycles/loss_before"]], [(1, 3.0)])
        self.assertNotIn("cycles/kl", found)
        self.assertEqual(sorted(path.name for path in (self.out / "run" / "curves").iterdir()), ["1-0-seed0", "2-1-seed0"])
        export.to_tensorboard(self.run_, self.out, curves="all")
        self.assertEqual(len(list((self.out / "run" / "curves").iterdir())), 7)

    def test_tensorboard_reads_event_files(self):
        module = wanted("tensorboard.backend.event_processing.event_accumulator")
        for record in (self.run_, self.audit):
            export.to_tensorboard(record, self.out)
            read = module.EventAccumulator(str(self.out / record.name))
            read.Reload()
            points = [(cycle, name, value) for cycle, numbers in scalars.by_cycle(record) for name, value in numbers.items()]
            self.assertEqual(set(read.Tags()["scalars"]), {name for _, name, _ in points})
            for cycle, name, value in points:
                self.assertIn((cycle, struct.unpack("<f", struct.pack("<f", value))[0]), [(e.step, e.value) for e in read.Scalars(name)])

    def test_mlflows_files_have_a_line_per_value(self):
        export.to_mlflow(self.run_, self.out)
        export.to_mlflow(self.run_, self.out)
        export.to_mlflow(self.audit, self.out)
        (experiment,) = self.out.iterdir()
        self.assertEqual(len(list(experiment.glob("*/meta.yaml"))), 2)
        run = experiment / scalars.identity(self.run_)
        lines = (run / "metrics" / "cycles" / "quality_mean").read_text().splitlines()
        self.assertEqual(lines, ["1767323160000 0.75 1", "1767323220000 0.25 2"])
        self.assertEqual((run / "params" / "proxy.dataset").read_text(), "synthetic")
        self.assertEqual((run / "tags" / "eliteloop.chain_head").read_text(), "link 2")

    def test_mlflow_reads_its_files(self):
        mlflow = wanted("mlflow")
        export.to_mlflow(self.run_, self.out)
        with mock.patch.dict(os.environ, {"MLFLOW_ALLOW_FILE_STORE": "true"}):
            client = mlflow.MlflowClient(self.out.as_uri())
            (run,) = client.search_runs([client.get_experiment_by_name("eliteloop").experiment_id])
            history = client.get_metric_history(run.info.run_id, "cycles/quality_mean")
            curve = client.get_metric_history(run.info.run_id, "curves/1-0-seed0/valid_accuracy")
        self.assertEqual([(m.step, m.value) for m in history], QUALITY)
        self.assertEqual([(m.step, m.value) for m in curve], CURVE)
        self.assertEqual(run.data.params, scalars.settings(self.run_))
        self.assertEqual([run.info.run_name, run.info.status], ["run", "RUNNING"])

    def test_trackios_file_has_a_row_per_step(self):
        file = self.out / "project.db"
        for record in (self.run_, self.run_, self.audit):
            export.to_trackio(record, file)
        with contextlib.closing(sqlite3.connect(file)) as db:
            names = [name for name, in db.execute("SELECT run_name FROM configs ORDER BY run_name")]
            self.assertEqual(names, ["audit", "run", "run/1-0-seed0", "run/2-1-seed0"])
            rows = db.execute("SELECT step, metrics, timestamp FROM metrics WHERE run_name = 'run' ORDER BY step").fetchall()
        self.assertEqual([(step, json.loads(metrics)["cycles/quality_mean"]) for step, metrics, _ in rows], QUALITY)
        self.assertEqual(rows[0][2], "2026-01-02T03:06:00+00:00")

    def test_trackio_reads_its_file(self):
        wanted("trackio")
        export.to_trackio(self.run_, self.out / "project.db")
        # In a process of its own: trackio takes its folder from the environment once.
        code = (
            "import json; from trackio.sqlite_storage import SQLiteStorage as S; S.init_db('project');"
            "logs = {name: S.get_logs('project', name) for name in S.get_runs('project')};"
            "print(json.dumps([S.get_projects(), logs, S.get_run_config('project', 'run')]))"
        )
        environment = {**os.environ, "TRACKIO_DIR": str(self.out), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        projects, logs, config = json.loads(done.stdout)
        self.assertEqual(projects, ["project"])
        self.assertEqual([(log["step"], log["cycles/quality_mean"]) for log in logs["run"]], QUALITY)
        self.assertEqual([(log["step"], log["valid_accuracy"]) for log in logs["run/1-0-seed0"]], CURVE)
        self.assertEqual(config["proxy.dataset"], "synthetic")

    def test_trackio_leaves_what_is_not_its_own(self):
        self.out.mkdir()
        for name in ("other.db", "not a project.db", "project.sqlite"):
            with contextlib.closing(sqlite3.connect(self.out / "other.db")) as db, db:
                db.execute("CREATE TABLE IF NOT EXISTS mine (a)")
            with self.assertRaises(eliteloop.EliteloopError):
                export.to_trackio(self.run_, self.out / name)
        with contextlib.closing(sqlite3.connect(self.out / "other.db")) as db:
            self.assertEqual(db.execute("SELECT name FROM sqlite_master").fetchall(), [("mine",)])


class CommandLine(Made):
    def done(self, *arguments):
        """Exit code, and what was said."""
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            try:
                code = main([str(argument) for argument in arguments])
            except SystemExit as end:
                code = end.code
        return code, out.getvalue() + err.getvalue()

    def test_it_writes_and_says_where(self):
        before = sorted(path.name for path in (self.place / "run").iterdir())
        self.assertEqual(self.done(self.place / "run", "--as", "jsonl", "--out", self.out), (0, f"{self.out}\n"))
        self.assertTrue((self.out / "candidates.jsonl").is_file())
        self.assertEqual(self.done(self.place / "run", "--as", "mlflow", "--out", self.out / "m", "--curves", "none")[0], 0)
        self.assertEqual(sorted(path.name for path in (self.place / "run").iterdir()), before)

    def test_mistakes_are_told_with_code_2(self):
        run = self.place / "run"
        for arguments, said in [
            ((self.place / "nothing", "--as", "jsonl", "--out", self.out), "there is no run in"),
            ((run, "--as", "jsonl", "--out", run / "export"), "is inside the run"),
            ((run, "--as", "jsonl", "--out", self.out, "--curves", "all"), "--curves says nothing to jsonl"),
            ((run, "--as", "csv", "--out", self.out), "invalid choice"),
            ((run, "--as", "trackio", "--out", self.out), "is no name for a file of trackio"),
        ]:
            code, text = self.done(*arguments)
            self.assertEqual(code, 2, text)
            self.assertIn(said, text)
        self.assertFalse(self.out.exists())
        (self.place / "file").write_text("")
        self.assertEqual(self.done(run, "--as", "jsonl", "--out", self.place / "file" / "below")[0], 1)


if __name__ == "__main__":
    unittest.main()
