import contextlib
import errno
import hashlib
import os
import random
import re
import signal
import socket
import sqlite3

import pytest
import studies

from superpose.files import DataError
from superpose.studies import results


@pytest.fixture(scope="module")
def process():
    return studies.quick_processes()


def run(process, target, *arguments):
    """Run a function in another process to its end; return its exit status."""
    child = process.Process(target=target, args=arguments)
    child.start()
    child.join(60)
    return child.exitcode


FIRST, SECOND = (f"{socket.gethostname()}-{number}.sqlite" for number in (0, 1))


def files(folder):
    return sorted(path.name for path in folder.glob("*.sqlite"))


def test_a_folder_that_does_not_exist_holds_nothing(tmp_path):
    assert results.read(tmp_path / "missing") == {}
    assert not (tmp_path / "missing").exists()


def test_what_was_put_is_read(tmp_path):
    folder = tmp_path / "made" / "below"
    with results.writer(folder) as put:
        put({"a": "1", "b": ""})
        assert results.read(folder) == {"a": "1", "b": ""}  # before the writer is closed
        put({})
        put({"c": "Δ\x00\n"})
    assert results.read(str(folder)) == {"a": "1", "b": "", "c": "Δ\x00\n"}


def test_a_key_that_is_there_is_left_as_it_is(tmp_path):
    with results.writer(tmp_path) as put:
        put({"a": "1"})
        put({"a": "2", "b": "3"})
    assert results.read(tmp_path) == {"a": "1", "b": "3"}


def put_and_fail(folder):
    with results.writer(folder) as put:
        put({"a": "1"})
        raise ZeroDivisionError


def test_an_error_between_puts_keeps_what_was_put(tmp_path):
    with pytest.raises(ZeroDivisionError):
        put_and_fail(tmp_path)
    assert results.read(tmp_path) == {"a": "1"}


def test_an_error_inside_a_put_keeps_nothing_of_it(tmp_path):
    with results.writer(tmp_path) as put:
        with pytest.raises(UnicodeEncodeError):
            put({"a": "1", "b": "\ud800"})
        put({"c": "3"})
    assert results.read(tmp_path) == {"c": "3"}


def test_how_results_came_about_is_beside_them_and_in_the_same_put(tmp_path):
    with results.writer(tmp_path) as put:
        put({"a": "1"}, origins={"a": "of run"}, runs={"run": "here"})
        with pytest.raises(UnicodeEncodeError):
            put({"b": "1"}, origins={"b": "of run"}, runs={"run": "\ud800"})
        put({"c": "2"}, runs={"run": "again"})
    assert results.read(tmp_path) == {"a": "1", "c": "2"}
    (path,) = results.files(tmp_path)
    assert results.records(path) == results.Records({"a": "1", "c": "2"}, {"a": "of run"}, {"run": "here"})


def of_an_earlier_version(path, contents):
    """Write the file that versions before the tables of origins and runs wrote."""
    rows = [(key, hashlib.sha256(f"{key}\n{text}".encode()).hexdigest(), text) for key, text in contents.items()]
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE results (key TEXT PRIMARY KEY, sha256 TEXT NOT NULL, content TEXT NOT NULL)")
        connection.executemany("INSERT INTO results VALUES (?, ?, ?)", rows)


def test_a_file_of_an_earlier_version_is_read_and_added_to(tmp_path):
    of_an_earlier_version(tmp_path / "0.sqlite", {"old": "1"})
    of_an_earlier_version(tmp_path / FIRST, {"older": "2"})
    assert results.read(tmp_path) == {"old": "1", "older": "2"}
    assert results.records(tmp_path / "0.sqlite") == results.Records({"old": "1"}, {}, {})
    with results.writer(tmp_path) as put:
        put({"new": "3"}, origins={"new": "here"})
    assert results.read(tmp_path) == {"old": "1", "older": "2", "new": "3"}
    assert results.records(tmp_path / FIRST).origins == {"new": "here"}


def test_two_hosts_never_write_to_one_file(tmp_path, monkeypatch):
    """Locks between hosts may not work on a network's file system, so the files differ by name."""
    with results.writer(tmp_path) as here:
        monkeypatch.setattr(socket, "gethostname", lambda: "other/host")
        with results.writer(tmp_path) as there:
            here({"a": "1"})
            there({"b": "2"})
    assert files(tmp_path) == sorted([FIRST, "other_host-0.sqlite"])
    assert results.read(tmp_path) == {"a": "1", "b": "2"}


def test_two_live_writers_take_different_files(tmp_path):
    with results.writer(tmp_path) as one, results.writer(tmp_path) as two:
        one({"a": "1"})
        two({"b": "2"})
        assert files(tmp_path) == [FIRST, SECOND]
    with results.writer(tmp_path) as put:
        put({"c": "3"})
    assert files(tmp_path) == [FIRST, SECOND]
    assert results.read(tmp_path) == {"a": "1", "b": "2", "c": "3"}


def test_the_file_of_a_killed_writer_is_taken_again(process, tmp_path):
    ready = process.Event()
    child = process.Process(target=studies.hold, args=(tmp_path, ready))
    child.start()
    assert ready.wait(60)
    with results.writer(tmp_path) as put:
        put({"beside": "2"})
    assert files(tmp_path) == [FIRST, SECOND]
    os.kill(child.pid, signal.SIGKILL)
    child.join(60)
    assert results.read(tmp_path) == {"held": "1", "beside": "2"}
    before = (tmp_path / SECOND).read_bytes()
    with results.writer(tmp_path) as put:
        put({"after": "3"})
    assert files(tmp_path) == [FIRST, SECOND]
    assert (tmp_path / SECOND).read_bytes() == before
    assert results.read(tmp_path) == {"held": "1", "beside": "2", "after": "3"}


def test_writers_in_four_processes_keep_everything(process, tmp_path):
    expected = {f"{name} {i}": f"{name}{i}" for name in "abcd" for i in range(25)} | {"of all": "1"}
    children = [process.Process(target=studies.put_many, args=(tmp_path, name, 25)) for name in "abcd"]
    for child in children:
        child.start()
    seen = 0
    while any(child.is_alive() for child in children):
        found = results.read(tmp_path)
        assert found.items() <= expected.items()
        assert len(found) >= seen
        seen = len(found)
    assert [child.exitcode for child in children] == [0] * 4
    assert results.read(tmp_path) == expected


def test_death_between_statements_keeps_all_of_a_put_or_none(process, tmp_path):
    kept = []
    for step in range(100):
        folder = tmp_path / str(step)
        status = run(process, studies.put_until_statement, folder, step)
        kept.append(results.read(folder))
        if status == 0:
            break
        assert status == 9
        with results.writer(folder) as put:
            put(studies.SECOND)
        assert results.read(folder) == kept[-1] | studies.SECOND
    stages = [{}, studies.FIRST, studies.FIRST | studies.SECOND]
    assert all(found in stages for found in kept)
    reached = [stages.index(found) for found in kept]
    assert reached == sorted(reached)
    assert set(reached) == {0, 1, 2}
    assert len(reached) > 2 * (len(studies.FIRST) + 2)  # every insertion, and its begin and commit, was died at


def test_death_inside_a_write_keeps_all_of_a_put_or_none(process, tmp_path):
    torn, whole = 0, 0
    for size in range(0, 64_000, 4000):
        folder = tmp_path / str(size)
        status = run(process, studies.put_until_size, folder, size)
        journal = folder / f"{FIRST}-journal"
        torn += journal.exists() and (folder / FIRST).stat().st_size > 28_672
        found = results.read(folder)
        assert found == (studies.FIRST if status else studies.FIRST | studies.SECOND)
        assert status in (0, -signal.SIGXFSZ)
        whole += status == 0
        with results.writer(folder) as put:
            put(studies.SECOND)
        assert results.read(folder) == studies.FIRST | studies.SECOND
    assert torn > 0  # some deaths left a file half written, which reading put right
    assert whole > 0


def test_death_while_the_file_is_made_harms_nothing(process, tmp_path):
    stages = []
    for size in range(0, 40_000, 2500):
        folder = tmp_path / str(size)
        status = run(process, studies.create_until_size, folder, size)
        stages.append(results.read(folder))
        assert stages[-1] == ({} if status else studies.FIRST)
        with results.writer(folder) as put:
            put(studies.SECOND)
        assert results.read(folder) == stages[-1] | studies.SECOND
    assert {} in stages
    assert studies.FIRST in stages


def on_a_full_disk(process, folder):
    told = process.Queue()
    assert run(process, studies.put_on_a_full_disk, folder, told) == 0
    return told.get(timeout=60)


def test_a_full_disk_keeps_what_was_put_before(process, tmp_path):
    on_a_full_disk(process, tmp_path)
    assert results.read(tmp_path) == studies.FIRST


def test_a_full_disk_is_a_data_error(process, tmp_path):
    assert on_a_full_disk(process, tmp_path)[0] == "DataError"


@pytest.fixture
def sound(tmp_path):
    """The bytes of a file of results, the results, and a folder to put altered bytes in."""
    with results.writer(tmp_path / "sound") as put:
        for i in range(12):
            key = f"{i:064x}"
            put({key: f'[{{"score": {i / 7}}}]'}, origins={key: f'{{"cell": {i}}}'}, runs={"run": "here"})
    (tmp_path / "altered").mkdir()
    return (tmp_path / "sound" / FIRST).read_bytes(), results.read(tmp_path / "sound"), tmp_path / "altered"


def read_altered(folder, data):
    """Return what reading these bytes gives: results, or the words of the DataError."""
    for path in folder.iterdir():
        path.unlink()
    (folder / FIRST).write_bytes(data)
    try:
        return results.read(folder)
    except DataError as error:
        return str(error)


def damaged(found):
    return isinstance(found, str) and f"{FIRST} was damaged or altered; delete it" in found


def flipped(data, position, bits):
    return data[:position] + bytes([data[position] ^ bits]) + data[position + 1 :]


def test_every_flipped_byte_is_noticed_or_without_effect(sound):
    data, expected, folder = sound
    draw = random.Random(0)
    positions = draw.sample([i for i, byte in enumerate(data) if byte], 50)  # the empty space tells nothing
    found = [read_altered(folder, flipped(data, position, draw.randrange(1, 256))) for position in positions]
    assert [one for one in found if one != expected and not damaged(one)] == []
    assert sum(damaged(one) for one in found) > 25


@pytest.mark.parametrize("bits", [1, 4, 16, 64])
@pytest.mark.parametrize("part", [b"0.14285714285714285", b"0" * 63 + b"7"])
def test_every_flipped_byte_of_a_row_is_noticed(sound, part, bits):
    data, _, folder = sound
    for offset in range(len(part)):
        assert damaged(read_altered(folder, flipped(data, data.index(part) + offset, bits))), offset


@pytest.mark.parametrize("position", [104, 4100], ids=["tables", "rows"])
def test_a_count_that_hides_results_is_noticed(sound, position):
    data, _, folder = sound
    found = [read_altered(folder, flipped(data, position, bits)) for bits in (2, 4, 8)]
    assert all(damaged(one) for one in found), found


@pytest.mark.parametrize(
    ("place", "offset"),
    [(b'"score"', 0), (b"sha256 TEXT", 2), (b"CREATE TABLE", 10), (b"SQLite format", 47)],
    ids=["text", "a column's name", "the definition", "the format's number"],
)
def test_damage_that_sqlite_reports_in_other_ways(sound, place, offset):
    data, _, folder = sound
    assert damaged(read_altered(folder, flipped(data, data.index(place) + offset, 0x80)))


def test_a_truncated_file_is_noticed(sound):
    data, _, folder = sound
    draw = random.Random(1)
    for length in [1, 15, 16, 99, 100, 4095, 4096, 8191, 8192, len(data) - 1, *draw.sample(range(1, len(data)), 10)]:
        assert damaged(read_altered(folder, data[:length])), length


def test_an_empty_file_holds_nothing(sound):
    """SQLite leaves one when a process dies before it made the table."""
    _, _, folder = sound
    assert read_altered(folder, b"") == {}


def test_text_in_place_of_a_file_is_noticed(sound):
    _, _, folder = sound
    assert damaged(read_altered(folder, b"key,content\n" * 1000))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE results SET content = '[{\"score\": 9}]' WHERE rowid = 3",
        "UPDATE results SET key = 'other' WHERE rowid = 3",
        "UPDATE results SET sha256 = '' WHERE rowid = 3",
        "UPDATE results SET content = CAST(content AS BLOB)",
        "UPDATE results SET key = NULL WHERE rowid = 3",
        "UPDATE origins SET content = '{}' WHERE rowid = 3",
        "UPDATE runs SET content = 'elsewhere'",
    ],
)
def test_altered_rows_are_noticed(sound, change):
    data, _, folder = sound
    (folder / FIRST).write_bytes(data)
    connection = sqlite3.connect(folder / FIRST)
    with connection:
        connection.execute(change)
    connection.close()
    with pytest.raises(DataError, match="was damaged or altered; delete it, and its results are computed again"):
        results.read(folder)


def test_after_deletion_of_a_damaged_file_the_folder_works_again(sound):
    data, expected, folder = sound
    assert damaged(read_altered(folder, data[:5000]))
    (folder / FIRST).unlink()
    with results.writer(folder) as put:
        put(expected)
    assert results.read(folder) == expected


def test_a_file_that_another_process_keeps_locked(tmp_path, monkeypatch):
    with results.writer(tmp_path) as put:
        put({"a": "1"})
    monkeypatch.setattr(results, "WAIT", 0.05)
    other = sqlite3.connect(tmp_path / FIRST)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DataError, match=re.escape(FIRST) + r" cannot be read \(database is locked\)"):
        results.read(tmp_path)
    other.close()
    assert results.read(tmp_path) == {"a": "1"}


def test_a_folder_in_place_of_a_file(tmp_path):
    (tmp_path / FIRST).mkdir()
    with pytest.raises(DataError, match=re.escape(FIRST) + " cannot be read .*; check its permissions and"):
        results.read(tmp_path)


def open_writer(folder):
    with results.writer(folder) as put:
        put({"a": "1"})


@pytest.mark.parametrize("below", [".", "folder"])
def test_a_file_in_place_of_the_folder(tmp_path, below):
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        open_writer(tmp_path / "taken" / below)


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(results, "open", refused, raising=False)  # modes of files do not hold root back
    with pytest.raises(DataError, match="cannot be written"):
        open_writer(tmp_path)


@pytest.mark.parametrize("content", [b"no database " * 1000, None], ids=["damaged", "a folder"])
def test_a_file_that_cannot_be_written(tmp_path, content):
    if content:
        (tmp_path / FIRST).write_bytes(content)
    else:
        (tmp_path / FIRST).mkdir()
    with pytest.raises(DataError, match=re.escape(FIRST)):
        open_writer(tmp_path)
