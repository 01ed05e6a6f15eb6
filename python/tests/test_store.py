"""How a store is opened: what goes on, what stopped, what is none of ours."""

import sqlite3
import tempfile
import unittest
from pathlib import Path

import made

import eliteloop
from eliteloop import store


def state(folder):
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()}


class Opening(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.folder = Path(place.name) / "a ?run#"
        self.writer = made.run(self.folder)
        self.addCleanup(self.writer.close)

    def test_a_run_that_goes_on_is_read_from_its_log_as_of_now(self):
        self.assertGreater((self.folder / "run.sqlite-wal").stat().st_size, 0)
        self.writer.execute("INSERT INTO meta VALUES ('finished', 'not yet committed')")
        record = eliteloop.open_run(self.folder)
        self.assertFalse(record.is_finished)
        self.writer.commit()
        self.assertFalse(record.is_finished)
        self.assertTrue(eliteloop.open_run(self.folder).is_finished)

    def test_a_run_that_stopped_is_read_and_nothing_is_left_beside_it(self):
        self.writer.close()
        before = state(self.folder)
        self.assertEqual(sorted(before), ["run.sqlite", "run.toml"])
        self.assertEqual(len(eliteloop.open_run(self.folder).candidates), 7)
        self.assertEqual(state(self.folder), before)

    def test_a_writer_that_comes_while_a_copy_is_made_has_it_made_again(self):
        self.writer.close()
        copies = []

        def copy(path, how, into):
            original(path, how, into)
            copies.append(how)
            if len(copies) == 1:
                self.writer = sqlite3.connect(path)
                self.writer.execute("INSERT INTO meta VALUES ('finished', 'now')")
                self.writer.commit()

        original, store._copy = store._copy, copy
        self.addCleanup(setattr, store, "_copy", original)
        self.assertTrue(eliteloop.open_run(self.folder).is_finished)
        self.assertEqual(copies, ["immutable=1", "mode=ro"])
        self.writer.close()

    def test_a_copy_is_not_written_to(self):
        record = eliteloop.open_run(self.folder)
        with self.assertRaises(sqlite3.Error):
            record.sql("DELETE FROM cycle")
        self.assertEqual(record.sql("SELECT count(*) AS n FROM cycle")["n"].tolist(), [3])

    def test_another_format_is_refused_with_both_numbers(self):
        self.writer.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
        self.writer.commit()
        with self.assertRaises(eliteloop.EliteloopError) as refused:
            eliteloop.open_run(self.folder)
        self.assertIn("store format 99; this reader reads 4", refused.exception.message)
        self.assertTrue(refused.exception.hint)

    def test_a_table_that_came_later_is_empty(self):
        self.writer.execute("DROP TABLE full_training")
        self.writer.commit()
        self.assertEqual(len(eliteloop.open_run(self.folder).full_trainings), 0)

    def test_the_format_is_the_programs(self):
        text = (made.ROOT / "src" / "record" / "store.rs").read_text()
        self.assertIn(f'FORMAT: &str = "{store.FORMAT}"', text)

    def test_the_version_is_the_programs(self):
        text = (made.ROOT / "Cargo.toml").read_text()
        self.assertIn(f'version = "{eliteloop.__version__}"', text[: text.index("[dependencies]")])

    def test_what_is_no_store_is_told(self):
        other = self.folder.parent / "other"
        other.mkdir()
        for content in (b"", b"no database, but long enough to be taken for one" * 20):
            (other / "run.sqlite").write_bytes(content)
            with self.assertRaises(eliteloop.EliteloopError) as refused:
                eliteloop.open_run(other)
            self.assertIn("is not a run of eliteloop", refused.exception.message)
        with self.assertRaises(eliteloop.EliteloopError) as refused:
            eliteloop.open_run(self.folder.parent / "nothing")
        self.assertIn("there is no run in", refused.exception.message)

    def test_settings_are_those_of_the_file(self):
        record = eliteloop.open_run(self.folder)
        self.assertEqual(record.settings["proxy"], {"dataset": "synthetic"})
        (self.folder / "run.toml").unlink()
        with self.assertRaises(eliteloop.EliteloopError):
            eliteloop.open_run(self.folder).settings["proxy"]


if __name__ == "__main__":
    unittest.main()
