"""The tables of the upstream store, as forward-only migrations, each in one transaction.

Imported only when a database is older than this version: sqlite-utils and what it brings stay out of memory
otherwise. `readings`, `gateways` and `details` are for everybody; the rest belongs to the receiver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

if TYPE_CHECKING:
    import sqlite3

MIGRATIONS = Migrations("edgegw upstream")

# `complete` is the size of the prefix that is held or named as lost, `tree` its compact range. `fork` is the size
# beyond which no receipt goes. `ended_*` is the end that a later epoch announced for this one. `newest` is a message.
_LOG = """
CREATE TABLE log(
    id INTEGER PRIMARY KEY, gateway TEXT NOT NULL, epoch TEXT NOT NULL, iss TEXT NOT NULL,
    simulated INTEGER NOT NULL DEFAULT 0, size INTEGER NOT NULL DEFAULT 0,
    complete INTEGER NOT NULL DEFAULT 0, tree BLOB NOT NULL DEFAULT x'', receipted INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0, proven INTEGER NOT NULL DEFAULT 0, fork INTEGER,
    ended_size INTEGER, ended_root BLOB, newest INTEGER NOT NULL DEFAULT 0, last_seen REAL NOT NULL,
    UNIQUE(gateway, epoch))
"""
# Messages as they came: the evidence. They lie apart so that the tables that are searched stay narrow.
_MESSAGE = "CREATE TABLE message(id INTEGER PRIMARY KEY, received REAL NOT NULL, bytes BLOB NOT NULL)"
_BATCH = """
CREATE TABLE batch(
    log INTEGER NOT NULL, first INTEGER NOT NULL, stop INTEGER NOT NULL, root BLOB NOT NULL,
    content BLOB NOT NULL, leaves BLOB NOT NULL, message INTEGER NOT NULL, PRIMARY KEY(log, first)) WITHOUT ROWID
"""
_HEAD = """
CREATE TABLE head(
    log INTEGER NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL,
    tree BLOB NOT NULL, message INTEGER NOT NULL, PRIMARY KEY(log, number)) WITHOUT ROWID
"""
# What is named as lost, and what is proven: separate stretches that do not touch each other.
_STRETCH = """
CREATE TABLE {}(
    log INTEGER NOT NULL, first INTEGER NOT NULL, stop INTEGER NOT NULL, PRIMARY KEY(log, first)) WITHOUT ROWID
"""
# Two contents where one log has room for one: `held` is what was there, `message` what contradicts it.
_CONFLICT = """
CREATE TABLE conflict(
    id INTEGER PRIMARY KEY, log INTEGER NOT NULL, verdict TEXT NOT NULL, place INTEGER NOT NULL,
    content BLOB NOT NULL, held BLOB, message BLOB NOT NULL, received REAL NOT NULL,
    UNIQUE(log, verdict, content))
"""
_NAME = """
CREATE TABLE name(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, unit TEXT NOT NULL, sensor TEXT NOT NULL,
    quantity TEXT NOT NULL, UNIQUE(name, unit))
"""
_READING = """
CREATE TABLE reading(
    log INTEGER NOT NULL, idx INTEGER NOT NULL, name INTEGER NOT NULL, t REAL NOT NULL, value REAL, text TEXT,
    q INTEGER, PRIMARY KEY(log, idx)) WITHOUT ROWID
"""
_DETAIL = """
CREATE TABLE detail(
    log INTEGER NOT NULL, idx INTEGER NOT NULL, fields TEXT NOT NULL, PRIMARY KEY(log, idx)) WITHOUT ROWID
"""
_READINGS = """
CREATE VIEW readings AS
SELECT log.gateway, log.epoch, reading.idx, name.sensor, name.quantity, reading.value, reading.text,
    nullif(name.unit, '') AS unit, reading.t, coalesce(reading.q, 2) AS q,
    coalesce((SELECT stop FROM proven WHERE proven.log = reading.log AND proven.first <= reading.idx
              ORDER BY proven.first DESC LIMIT 1) > reading.idx, 0) AS proven
FROM reading JOIN log ON log.id = reading.log JOIN name ON name.id = reading.name
"""
# A gap lies before a batch that does not begin where the one before it ends, or before a head beyond them all;
# what is named as lost is none.
_GATEWAYS = """
CREATE VIEW gateways AS
SELECT gateway, epoch, size, receipted, last_seen,
    (SELECT count(*) FROM (
        SELECT batch.first AS stop, max(log.complete, coalesce((
            SELECT stop FROM batch AS earlier WHERE earlier.log = log.id AND earlier.first < batch.first
            ORDER BY earlier.first DESC LIMIT 1), 0)) AS start
        FROM batch WHERE batch.log = log.id AND batch.first > log.complete
        UNION ALL
        SELECT log.size, max(log.complete, coalesce((
            SELECT stop FROM batch WHERE batch.log = log.id ORDER BY first DESC LIMIT 1), 0))
     ) AS hole
     WHERE hole.start < hole.stop AND coalesce((
        SELECT lost.stop FROM lost WHERE lost.log = log.id AND lost.first <= hole.start
        ORDER BY lost.first DESC LIMIT 1), 0) < hole.stop) AS gaps
FROM log
"""
_DETAILS = """
CREATE VIEW details AS
SELECT log.gateway, log.epoch, detail.idx, detail.fields FROM detail JOIN log ON log.id = detail.log
"""


@MIGRATIONS()
def first_tables(db: Database) -> None:
    """Logs with their messages, readings with their names, and the views that are the contract."""
    for statement in (_LOG, _MESSAGE, _BATCH, _HEAD, _CONFLICT, _NAME, _READING, _DETAIL):
        db.execute(statement)
    for table in ("lost", "proven"):
        db.execute(_STRETCH.format(table))
    db.execute("CREATE INDEX head_size ON head(log, size)")
    for statement in (_READINGS, _GATEWAYS, _DETAILS):
        db.execute(statement)
    db.execute("PRAGMA user_version = 1")


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database to this version."""
    MIGRATIONS.apply(Database(connection, execute_plugins=False))
