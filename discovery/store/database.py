"""The ledger's file: schema and lock; opening, checking and copying it; explanations of its errors."""

import errno
import fcntl
import os
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from shlex import quote

from discovery.core.errors import LedgerError
from discovery.store.arrays import sync_folder

FILE, COPY, LOCK, ARRAYS = "ledger.sqlite", "ledger.copy.sqlite", "lock", "arrays"
CHECKPOINTS = f"{ARRAYS}/checkpoints"

SCHEMA_VERSION = 3

_MEASURED = """
    split TEXT NOT NULL, task TEXT NOT NULL, seed INTEGER NOT NULL, lifetime INTEGER NOT NULL,
    key TEXT NOT NULL, score REAL, final REAL, auc REAL, nonfinite_step INTEGER, outcome BLOB, error TEXT,
    detail TEXT NOT NULL, seconds REAL NOT NULL, compile_seconds REAL NOT NULL, worker TEXT NOT NULL,
    attempts INTEGER NOT NULL, device TEXT NOT NULL, recorded_at TEXT NOT NULL"""

_NEW_IN_3 = """
CREATE TABLE responses (
    id TEXT PRIMARY KEY REFERENCES proposals, kind TEXT NOT NULL, tree_digest TEXT, text TEXT NOT NULL,
    metrics TEXT NOT NULL, error TEXT, recorded_at TEXT NOT NULL);
CREATE TABLE retries (
    id TEXT NOT NULL, error TEXT NOT NULL, detail TEXT NOT NULL, seconds REAL NOT NULL, worker TEXT NOT NULL,
    attempts INTEGER NOT NULL, device TEXT NOT NULL, recorded_at TEXT NOT NULL);"""

SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE generations (
    generation INTEGER PRIMARY KEY, state_digest TEXT NOT NULL, answer_digest TEXT, metrics TEXT NOT NULL,
    closed_at TEXT NOT NULL, answer TEXT NOT NULL DEFAULT '{{}}');
CREATE TABLE proposals (
    id TEXT PRIMARY KEY, generation INTEGER NOT NULL, idx INTEGER NOT NULL, split TEXT NOT NULL,
    pair INTEGER NOT NULL, kind TEXT NOT NULL, asked_digest TEXT NOT NULL, params_digest TEXT NOT NULL,
    fitness REAL, algorithm TEXT, parents TEXT NOT NULL DEFAULT '[]', operator TEXT NOT NULL DEFAULT '',
    source_text TEXT NOT NULL DEFAULT '');
CREATE TABLE evaluations (
    id TEXT PRIMARY KEY, proposal TEXT NOT NULL REFERENCES proposals, generation INTEGER NOT NULL,
    until INTEGER NOT NULL, begun INTEGER NOT NULL,{_MEASURED}, checkpoint TEXT,
    UNIQUE (proposal, task, seed, lifetime, until));
CREATE TABLE reports (
    id TEXT PRIMARY KEY, subject TEXT NOT NULL, source TEXT NOT NULL, command TEXT NOT NULL,
    variant TEXT NOT NULL,{_MEASURED});
CREATE TABLE tests (
    id INTEGER PRIMARY KEY, command TEXT NOT NULL, subjects TEXT NOT NULL, tasks TEXT NOT NULL,
    seeds INTEGER NOT NULL, first_seed INTEGER NOT NULL, recorded_at TEXT NOT NULL);
{_NEW_IN_3}
CREATE INDEX evaluations_of_generation ON evaluations (generation);
CREATE INDEX proposals_of_generation ON proposals (generation);
PRAGMA user_version = {SCHEMA_VERSION};
"""


MIGRATIONS = {
    2: f"""{_NEW_IN_3}
    ALTER TABLE generations RENAME COLUMN mean_digest TO answer_digest;
    ALTER TABLE generations ADD COLUMN answer TEXT NOT NULL DEFAULT '{{}}';
    ALTER TABLE proposals ADD COLUMN algorithm TEXT;
    ALTER TABLE proposals ADD COLUMN parents TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE proposals ADD COLUMN operator TEXT NOT NULL DEFAULT '';
    ALTER TABLE proposals ADD COLUMN source_text TEXT NOT NULL DEFAULT '';
    ALTER TABLE evaluations ADD COLUMN checkpoint TEXT;
    UPDATE evaluations SET
        id = substr(id, 1, instr(id, '/')) || 'answer' || substr(id, instr(id, '/') + 5),
        proposal = 'g' || generation || '/answer' WHERE proposal = 'g' || generation || '/mean';
    UPDATE proposals SET id = 'g' || generation || '/answer' WHERE id = 'g' || generation || '/mean';
    """
}
"""The migration from each older schema to the next."""


def acquire_lock(folder: Path) -> int:
    """Take the writer's lock; the kernel frees it when the descriptor is closed or the process dies."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
        os.close(descriptor)
        raise LedgerError(f"run {folder} is being written by {holder}; wait for it, or stop it") from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def build_database(folder: Path, meta: Mapping[str, str]) -> None:
    """Make the ledger of a new run: it exists completely or not at all."""
    temporary = folder / f".{FILE}"
    temporary.unlink(missing_ok=True)
    with closing(sqlite3.connect(temporary, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = MEMORY")  # A partial ledger is never used.
        db.executescript(f"BEGIN; {SCHEMA}")
        db.executemany("INSERT INTO meta VALUES (?, ?)", [(key, str(value)) for key, value in meta.items()])
        db.execute("COMMIT")
    os.replace(temporary, folder / FILE)
    sync_folder(folder)


def open_writer(folder: Path) -> sqlite3.Connection:
    """A connection whose commits survive a power cut; a ledger of an older schema is migrated.

    Before that, the older one is copied to the same folder.
    """
    db = _connect(folder / FILE, "mode=rw")
    try:
        if (version := version_of(db)) != SCHEMA_VERSION:
            with closing(sqlite3.connect(folder / f"ledger.schema{version}.sqlite")) as copy:
                db.backup(copy)
            migrate(db)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("BEGIN IMMEDIATE")  # Fails at once if it cannot be written.
        db.execute("ROLLBACK")
    except BaseException:
        db.close()
        raise
    return db


def open_reader(folder: Path) -> tuple[sqlite3.Connection, str | None]:
    """A connection that cannot write, and a folder to remove afterwards, if any.

    A ledger of an older schema is not changed: a migrated copy is read.
    """
    db, scratch = _open_as_it_is(folder)
    if version_of(db) not in MIGRATIONS:
        return db, scratch
    scratch = scratch or tempfile.mkdtemp(prefix="discovery-")
    path = Path(scratch) / f"migrated-{FILE}"
    with closing(db), closing(sqlite3.connect(path, isolation_level=None)) as copy:
        db.backup(copy)
        migrate(copy)
    return _connect(path, "mode=ro"), scratch


def _open_as_it_is(folder: Path) -> tuple[sqlite3.Connection, str | None]:
    scratch = None
    db = _connect(folder / FILE, "mode=ro")
    try:
        db.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.DatabaseError as error:
        db.close()
        if not error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_IOERR_SHM")):
            raise
        # In a folder that cannot be written, SQLite cannot set up what readers share with a writer.
        log = folder / f"{FILE}-wal"
        if log.exists() and log.stat().st_size:  # It holds commits of a run that was killed.
            scratch = tempfile.mkdtemp(prefix="discovery-")
            shutil.copy(folder / FILE, scratch)
            shutil.copy(log, scratch)
            db = _connect(Path(scratch) / FILE, "mode=ro")
        else:
            db = _connect(folder / FILE, "immutable=1")
    return db, scratch


def _connect(path: Path, how: str) -> sqlite3.Connection:
    """A connection to a file that exists, without Python's implicit transactions."""
    uri = f"{path.resolve().as_uri()}?{how}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=20.0)
    db.row_factory = sqlite3.Row
    return db


def version_of(db: sqlite3.Connection) -> int:
    """The version of a ledger's schema."""
    return db.execute("PRAGMA user_version").fetchone()[0]


def migrate(db: sqlite3.Connection) -> None:
    """Bring a ledger of an older schema to this program's, in one transaction."""
    db.execute("PRAGMA foreign_keys = OFF")
    steps = [f"{MIGRATIONS[v]} PRAGMA user_version = {v + 1};" for v in range(version_of(db), SCHEMA_VERSION)]
    try:
        db.executescript(f"BEGIN IMMEDIATE; {''.join(steps)} COMMIT;")
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def check_database(folder: Path, db: sqlite3.Connection) -> None:
    """Raise unless the file is whole, and of this program's schema or of one that can be migrated."""
    problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    version = version_of(db)
    if problem != "ok" or version == 0:
        raise LedgerError(_damaged(folder, problem if problem != "ok" else "it holds no tables of ours"))
    if version != SCHEMA_VERSION and version not in MIGRATIONS:
        age, remedy = (
            ("newer", "update rl-discovery")
            if version > SCHEMA_VERSION
            else ("older", "use the version of rl-discovery that wrote it")
        )
        raise LedgerError(
            f"the ledger of {folder} has schema {version}, {age} than the {SCHEMA_VERSION} of this program; "
            f"{remedy}"
        )


def write_copy(db: sqlite3.Connection, folder: Path) -> None:
    """Copy the ledger to `COPY`, replacing the former copy when the new one is safely on disk."""
    temporary = folder / f".{COPY}"
    try:
        temporary.unlink(missing_ok=True)
        with closing(sqlite3.connect(temporary)) as copy:
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            db.backup(copy)
            if not _is_whole(copy):
                return  # The former copy is better than none.
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, folder / COPY)
        sync_folder(folder)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def explained(folder: Path, doing: str, closed: int | None = None) -> Iterator[None]:
    """Turn errors of SQLite and the system into a `LedgerError` that says what to do."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # A bug here, not a problem of the disk.
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(_explanation(error, folder, doing, closed)) from error


def _explanation(error: Exception, folder: Path, doing: str, closed: int | None) -> str:
    name = getattr(error, "sqlite_errorname", None) or ""
    number = getattr(error, "errno", None)
    go_on = f"then try again (`discovery resume {folder}` continues a search)"
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return _damaged(folder, str(error))
    # SQLite reports an I/O error if a file next to the ledger does not fit.
    full = name.startswith("SQLITE_IOERR") and shutil.disk_usage(folder).free < 2**17
    if full or name == "SQLITE_FULL" or number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        what = f"the disk is full; free some space, {go_on}"
    elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")) or number in (
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
    ):
        what = f"no permission, or a read-only disk ({error}); make the folder writable, {go_on}"
    elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        what = f"another program has {FILE} locked; close it, {go_on}"
    else:
        what = f"{error}; check the disk, {go_on}"
    return f"cannot {doing} in {folder}: {what}. {safe_generations(closed)}"


def safe_generations(closed: int | None) -> str:
    """Which generations are safe, for a message."""
    if closed is None:
        return "what was recorded is safe"
    if closed < 0:
        return "no generation was closed yet"
    return "generation 0 is safe" if closed == 0 else f"generations 0 to {closed} are safe"


def _damaged(folder: Path, why: str) -> str:
    """The message for a damaged ledger: what is lost, and how to continue from the copy."""
    message = f"the ledger of {folder} is damaged ({' '.join(why.split())}); it was not changed"
    copy, file = folder / COPY, quote(str(folder / FILE))
    with suppress(sqlite3.Error), closing(_connect(copy, "immutable=1")) as db:
        if _is_whole(db):
            last = db.execute("SELECT max(generation) FROM generations").fetchone()[0]
            return (
                f"{message}. In its copy, {safe_generations(last)}; to continue from there, and repeat "
                f"what came later: `rm -f {file}* && cp {quote(str(copy))} {file} && "
                f"discovery resume {quote(str(folder))}`"
            )
    return f"{message}. Restore {folder / FILE} from your backup, or begin a new run"


def _is_whole(db: sqlite3.Connection) -> bool:
    return db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
