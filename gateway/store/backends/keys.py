"""Every key of the Redis store, and nothing else builds one.

The keys of one migration share its hash tag, and so do those of the fleet, so that each transaction stays
within one slot where the keyspace is sharded behind a proxy.

    gw:{<migration>}:state            hash     epoch, version, run, doc, write_id
    gw:{<migration>}:events           list     audit events; seq is the index plus one
    gw:{<migration>}:pin:<key>        string   arm|run|ruleset, with a ttl
    gw:{<migration>}:note:<key>       string   a sealed note, with a ttl
    gw:{<migration>}:<run>:<arm>      set      units enrolled
    gw:{<migration>}:<run>:claims     hash     <length of failure>:<failure>:<unit> → replica, with a ttl
    gw:{<migration>}:tally:<scope>    hash     replica → JSON, with a ttl that each write renews
    gw:{<migration>}:documents        set      names
    gw:{<migration>}:document:<name>  hash     epoch, body
    gw:{<migration>}:counts           zset     replicas that have counted → when their counts end
    gw:{<migration>}:counts:<replica> string   JSON, with a ttl
    gw:{@fleet}:migrations            set      names
    gw:{@fleet}:replicas              zset     replicas → when their heartbeat ends
    gw:{@fleet}:replica:<replica>     string   JSON, with a ttl
    gw:{@fleet}:lease                 string   holder, with a ttl
    gw:{@fleet}:epoch                 integer  the last fencing epoch given out
    gw:{@fleet}:secret                string   32 bytes
    gw:{@fleet}:changed               channel  a migration's name, published with each write of its state
"""

from gateway.core.types import Arm

_FLEET = "gw:{@fleet}"

MIGRATIONS = f"{_FLEET}:migrations"
REPLICAS = f"{_FLEET}:replicas"
LEASE = f"{_FLEET}:lease"
EPOCH = f"{_FLEET}:epoch"
SECRET = f"{_FLEET}:secret"
CHANGED = f"{_FLEET}:changed"


def replica(replica_id: str) -> str:
    """Return the key of one process's heartbeat."""
    return f"{_FLEET}:replica:{replica_id}"


def state(migration: str) -> str:
    """Return the key of a migration's state."""
    return f"{_of(migration)}:state"


def events(migration: str) -> str:
    """Return the key of a migration's audit log."""
    return f"{_of(migration)}:events"


def pin(migration: str, key: str) -> str:
    """Return the key of one conversation's pin; `key` is hashed already."""
    return f"{_of(migration)}:pin:{key}"


def note(migration: str, key: str) -> str:
    """Return the key of what must be repeated for one answer; `key` is hashed already."""
    return f"{_of(migration)}:note:{key}"


def enrolled(migration: str, run: int, arm: Arm) -> str:
    """Return the key of the units that one arm has enrolled in one run."""
    return f"{_of(migration)}:{run}:{arm.value}"


def claims(migration: str, run: int) -> str:
    """Return the key of who claimed which first failure of a run."""
    return f"{_of(migration)}:{run}:claims"


def claimed(failure: str, unit_key: str) -> str:
    """Return the field of one first failure; no two are alike, whatever they are called."""
    return f"{len(failure)}:{failure}:{unit_key}"


def tally(migration: str, scope: str) -> str:
    """Return the key of what every process has counted in one scope."""
    return f"{_of(migration)}:tally:{scope}"


def documents(migration: str) -> str:
    """Return the key of the names of a migration's documents."""
    return f"{_of(migration)}:documents"


def document(migration: str, name: str) -> str:
    """Return the key of one document."""
    return f"{_of(migration)}:document:{name}"


def counting(migration: str) -> str:
    """Return the key of the replicas that have counted for a migration."""
    return f"{_of(migration)}:counts"


def counts(migration: str, replica_id: str) -> str:
    """Return the key of one process's counts."""
    return f"{_of(migration)}:counts:{replica_id}"


def _of(migration: str) -> str:
    return f"gw:{{{migration}}}"
