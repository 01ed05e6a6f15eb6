"""Frames of runs that the program made, against its own views and its own report.

ELITELOOP_RUN and ELITELOOP_AUDIT are their folders, ELITELOOP_PROGRAM the program; what is not given is skipped.
"""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import made

import eliteloop


def given(name):
    value = os.environ.get(name)
    if not value:
        raise unittest.SkipTest(f"{name} is not set")
    return Path(value).resolve()


def listed(frame, *names):
    """Rows as lists, None for what is missing."""
    return frame[list(names)].astype(object).where(frame[list(names)].notna(), None).values.tolist()


class OfProgram:
    """A copy of what is recorded, and what the program says of it."""

    variable = ""

    @classmethod
    def setUpClass(cls):
        folder = given(cls.variable)
        place = tempfile.TemporaryDirectory()
        cls.addClassCleanup(place.cleanup)
        # `report` writes its page into the folder.
        cls.folder = Path(place.name) / "copy"
        shutil.copytree(folder, cls.folder)
        cls.record = eliteloop.open_run(cls.folder)
        cls.place = Path(place.name)

    def program(self, *arguments):
        # From the checkout, whose tables and images the program takes.
        done = subprocess.run([given("ELITELOOP_PROGRAM"), *arguments], capture_output=True, text=True, check=False, cwd=made.ROOT)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def report(self):
        out = self.place / "tables"
        self.program("report", self.folder, "--data", out)
        return {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}

    def assert_same(self, frame, names, rows, fields):
        """Columns of a frame are fields of rows of the report, numbers to the last bit but one."""
        ours, theirs = listed(frame, *names), [[row[field] for field in fields] for row in rows]
        self.assertEqual(len(ours), len(theirs))
        for own, other in zip(ours, theirs):
            for name, a, b in zip(names, own, other):
                if isinstance(a, float) and b is not None:
                    self.assertAlmostEqual(a, b, delta=1e-12 * max(1.0, abs(b)), msg=name)
                else:
                    self.assertEqual(a, b, name)

    def cycles_are_the_reports(self, tables):
        names = ["cycle", "examples", "steps", "loss_before", "loss_after", "held_out_loss_before", "held_out_loss_after", "loss_logged"]
        fields = ["cycle", "examples", "steps", "loss_before", "loss_after", "held_out_before", "held_out_after", "logged_loss"]
        self.assert_same(self.record.cycles, ["gamma", *names], tables["cycles"], ["gamma", *fields])

    def test_the_head_of_the_chain_is_what_verify_says(self):
        self.program("verify", self.folder, "--quick", "--head", self.record.chain_head)


class OfRun(OfProgram, unittest.TestCase):
    variable = "ELITELOOP_RUN"

    def test_curves_and_trainings_are_the_views(self):
        names = ["network", "seed_index", "repeat", "epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy"]
        view = self.record.sql("SELECT * FROM learning_curve ORDER BY network, seed_index, epoch")
        self.assertGreater(len(view), 0)
        self.assertEqual(listed(self.record.curves, *names), listed(view, *names))
        names = ["network", "seed_index", "repeat", "accuracy", "epochs", "parameters", "synflow", "nwot"]
        view = self.record.sql("SELECT * FROM score ORDER BY network, seed_index")
        self.assertEqual(listed(self.record.trainings, *names), listed(view, *names))
        view = self.record.sql("SELECT * FROM rescored ORDER BY cycle")
        self.assertEqual(listed(self.record.rescored, *view.columns), listed(view, *view.columns))

    def test_qualities_are_what_sql_averages(self):
        view = self.record.sql(
            "SELECT network, avg(accuracy) FROM score WHERE repeat = 0 GROUP BY network HAVING count(*) = count(accuracy) ORDER BY network"
        )
        self.assertEqual(sorted(self.record.qualities), list(view["network"]))
        for network, quality in view.values:
            self.assertAlmostEqual(self.record.qualities[network], quality, places=14)

    def test_frames_are_the_tables_of_the_report(self):
        tables = self.report()
        candidates = self.record.candidates.query("closed")
        names = ["cycle", "index", "parent", "stage", "quality", "elite", "held_out", "jaccard", "parent_jaccard", "parameters", "macs"]
        fields = [*names[:7], "nearest_jaccard", "parent_jaccard", "parameters", "macs"]
        self.assert_same(candidates, names, tables["candidates"], fields)
        self.assertEqual(listed(candidates, "quality"), [[row["quality"]] for row in tables["candidates"]], "to the bit")
        stages = ["asked", "parsed", "applied", "traced", "within_budget", "novel", "trained", "elite"]
        self.assert_same(self.record.funnel, ["cycle", *stages], tables["cycles"], ["cycle", *stages])
        self.cycles_are_the_reports(tables)
        starts = self.record.networks.query("start").assign(name=lambda frame: frame["network"].str[len("start/") :])
        self.assert_same(starts, ["name", "quality"], tables["start"], ["name", "quality"])
        reasons = {(row["cycle"], row["gate"], row["reason"], row["count"]) for row in tables["reasons"]}
        self.assertEqual(set(map(tuple, listed(self.record.reasons, "cycle", "gate", "reason", "count"))), reasons)
        if tables["lineage"]:
            self.assertAlmostEqual(tables["lineage"][-1]["quality"], eliteloop.runs(self.folder).loc[0, "quality_best"], places=12)

    def test_deltas_are_what_school_writes(self):
        file = self.place / "deltas.jsonl"
        self.program("school", self.folder, "--table", file)
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        rows = [{**row, **{f"cheap_{name}": value for name, value in row["cheap"].items()}} for row in rows]
        names = ["source_before", "format", "completion", "parent_quality", "quality", "noise", "family"]
        fields = ["parent", "format", "delta", "parent_quality", "quality", "noise", "family"]
        cheap = ["cheap_parameters", "cheap_synflow", "cheap_nwot", "cheap_first_epoch"]
        self.assertGreater(len(rows), 0)
        self.assert_same(self.record.deltas, [*names, *cheap], rows, [*fields, *cheap])


class OfAudit(OfProgram, unittest.TestCase):
    variable = "ELITELOOP_AUDIT"

    def test_frames_are_the_tables_of_the_report(self):
        tables = self.report()
        samples = self.record.samples.assign(parent=lambda frame: frame["parent"].fillna(""))
        names = ["cycle", "index", "parent", "quality"]
        self.assert_same(samples, names, tables["candidates"], names)
        fields = ["asked", "traced", "trained", "elite"]
        self.assert_same(self.record.funnel, ["asked", "cells", "queried", "elite"], tables["cycles"], fields)
        self.cycles_are_the_reports(tables)

    def test_means_are_what_sql_averages(self):
        view = self.record.sql("SELECT cycle, count(*) AS asked, avg(quality) AS mean, max(quality) AS best FROM sample GROUP BY cycle")
        names = ["cycle", "asked", "quality_mean", "quality_best"]
        self.assert_same(self.record.cycles, names, view.to_dict("records"), list(view.columns))


if __name__ == "__main__":
    unittest.main()
