"""Frames of stores made by hand, against values worked out by hand."""

import math
import tempfile
import unittest
from pathlib import Path

import made
import pandas as pd

import eliteloop


class Made(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory()
        top = Path(cls.place.name)
        made.run(top / "model" / "arm" / "seed-0").close()
        made.audit(top / "audit").close()
        cls.top = top
        cls.run_ = eliteloop.open_run(top / "model" / "arm" / "seed-0")
        cls.audit = eliteloop.open_run(top / "audit")

    @classmethod
    def tearDownClass(cls):
        cls.place.cleanup()

    def test_each_frame_has_the_columns_and_types_that_it_says(self):
        for record in (self.run_, self.audit):
            for table in record.tables:
                frame = getattr(record, table.name)
                self.assertEqual({name: str(dtype) for name, dtype in frame.dtypes.items()}, {c.name: c.dtype for c in table.columns})
                for column in table.columns:
                    self.assertIn(column.name, getattr(type(record), table.name).__doc__)
            self.assertEqual(list(record.frames()), [table.name for table in record.tables])
            self.assertEqual(len(record.columns), sum(len(table.columns) for table in record.tables))

    def test_a_quality_is_the_mean_over_seeds_without_repeats_where_none_failed(self):
        self.assertEqual(self.run_.qualities, {"start/plain": 0.5, "1/0": 0.75, "2/1": 0.25})
        own = self.run_.candidates.set_index("network")
        self.assertEqual(own.loc["1/0", "quality"], 0.75)
        self.assertTrue(math.isnan(own.loc["1/1", "quality"]))
        self.assertEqual(own.loc["1/1", "seeds"], 2)

    def test_the_order_of_additions_is_the_programs(self):
        # Python's own sum of these is 1.0 from 3.12 on.
        self.assertEqual(eliteloop.cycles.mean([0.1] * 10), 0.9999999999999999 / 10)

    def test_candidates_say_how_far_they_got(self):
        own = self.run_.candidates.set_index("network")
        self.assertEqual(list(own.index), ["1/0", "1/1", "1/2", "1/3", "2/0", "2/1", "3/0"])
        self.assertEqual(list(own["closed"]), [True] * 6 + [False])
        self.assertTrue(own.loc["3/0", "stage"] is pd.NA)
        self.assertEqual(own.loc["1/2", "line"], 3)
        self.assertEqual(own.loc["1/3", "completion"], "\ufffd")
        self.assertEqual(list(own["tokens"]), [2] * 7)
        # An elite of its own cycle; that the second keeps 1/0, held out, is in `elites`.
        self.assertEqual(own[["elite", "held_out"]].loc[["1/0", "1/1"]].values.tolist(), [[True, False], [False, False]])
        self.assertEqual(list(self.run_.elites["held_out"]), [False, True, False])

    def test_funnel_and_reasons_count_closed_cycles(self):
        self.assertEqual(self.run_.funnel.values.tolist(), [[1, 4, 3, 3, 2, 2, 2, 1, 1], [2, 2, 2, 2, 1, 1, 1, 1, 2]])
        expected = [
            [1, "parse", "not of the format", 1],
            [1, "trace", "syntax", 1],
            [1, "training", "training failed", 1],
            [2, "trace", "syntax", 1],
        ]
        self.assertEqual(self.run_.reasons.values.tolist(), expected)

    def test_deltas_gain_over_their_parent(self):
        own = self.run_.deltas
        self.assertEqual(list(own["network"]), ["1/0", "2/1"])
        self.assertEqual(list(own["gain"]), [0.25, -0.5])
        self.assertEqual(list(own["family"]), ["plain", "plain"])
        self.assertEqual(list(own["source_before"]), ["# start/plain\n", "# 1/0\n"])
        self.assertEqual(list(own["cheap_synflow"]), [0.0, 0.0])
        self.assertTrue(own["cheap_nwot"].isna().all())
        # Of 0.4, 0.6 and 0.9, whose squares about their mean add up to 0.38 / 3, over two degrees of freedom; 1/1 has one accuracy.
        self.assertAlmostEqual(self.run_.noise, math.sqrt(0.38 / 3 / 2), places=12)
        self.assertEqual(set(own["noise"]), {self.run_.noise})

    def test_cycles_have_mean_threshold_and_update(self):
        own = self.run_.cycles.set_index("cycle")
        self.assertEqual(list(own["quality_mean"]), [0.75, 0.25])
        self.assertEqual(list(own["asked"]), [4, 2])
        self.assertEqual(list(own["gamma"]), [0.75, 0.25])
        self.assertEqual(list(own["adapter_before"]), ["first", "second"])
        self.assertEqual(list(own["adapter_after"]), ["second", "third"])
        first = own.loc[1]
        self.assertEqual([first["steps"], first["steps_refused"], first["ending"], first["gate"]], [2, 1, "kl", "adopted"])
        self.assertEqual([first["loss_before"], first["loss_after"], first["loss_floor"], first["change"]], [3.0, 2.0, 0.5, 0.125])
        self.assertTrue(math.isnan(first["kl"]))
        self.assertTrue(own.loc[2, "examples"] is pd.NA)
        self.assertEqual(list(self.run_.tuning_steps["lr"]), [0.1, 0.05])
        self.assertEqual(list(self.run_.tuned_on["weight"]), [1.0])

    def test_seeds_are_unsigned(self):
        self.assertEqual(set(self.run_.trainings["seed"]), {2**64 - 1})
        self.assertEqual(list(self.run_.full_trainings["seed"]), [2**64 - 2])

    def test_an_audit_tells_cells_from_what_is_none(self):
        own = self.audit.samples
        self.assertEqual(list(own["is_cell"]), [True, True, True, False, False])
        self.assertEqual(list(own["elite"]), [False, True, False, False, False])
        self.assertEqual(self.audit.funnel.values.tolist(), [[1, 5, 3, 2, 1]])
        self.assertEqual(list(self.audit.exact["moment"]), ["before", "after"])
        self.assertEqual(list(self.audit.exact["expected"]), [0.5, 0.6])
        self.assertTrue(math.isnan(self.audit.updates.loc[0, "distance"]))
        self.assertEqual(list(self.audit.kernel["slots"]), [0, 1, 2])
        self.assertEqual(self.audit.cycles.loc[0, "quality_mean"], 0.625)
        self.assertTrue(self.audit.cycles.loc[0, "best_found_at"] is pd.NA)

    def test_all_below_a_folder_are_found_and_what_cannot_be_read_is_told(self):
        broken = self.top / "broken"
        broken.mkdir()
        (broken / "run.toml").write_text("")
        (broken / "run.sqlite").write_text("no database, but long enough to be taken for one" * 20)
        own = eliteloop.runs(self.top).set_index("folder")
        self.assertEqual(list(own.index), ["audit", "broken", "model/arm/seed-0"])
        self.assertIn("is not a run", own.loc["broken", "error"])
        row = own.loc["model/arm/seed-0"]
        self.assertEqual([row["cycles"], row["candidates"], row["measured"], row["seed"]], [2, 6, 2, 7])
        self.assertEqual([row["quality_mean"], row["quality_best"], row["best"], row["best_start"]], [0.5, 0.75, "1/0", 0.5])
        # The start and two cycles of a minute each.
        self.assertEqual(row["seconds"], 180.0)
        self.assertEqual(own.loc["audit", "quality_best"], 0.75)
        self.assertEqual(list(eliteloop.runs(self.top / "audit")["folder"]), ["."])
        with self.assertRaises(eliteloop.EliteloopError):
            eliteloop.runs(self.top / "nothing")


if __name__ == "__main__":
    unittest.main()
