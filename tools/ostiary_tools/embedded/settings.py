"""What the server is told: its settings, who may log in, and whom each user of the system may be.

Three files of ours, written anew at every start, so that an upgrade or an edit by
hand leaves nothing behind. Nobody is trusted: only the listed roles may log in, over
the socket, when the kernel names the caller as the user who owns this home.
"""

from pathlib import Path

from ostiary_tools.embedded.names import ADMIN, LOGIN_ROLES
from ostiary_tools.embedded.place import PORT, Place

_MAP = "ostiary"

_SETTINGS = """\
# Written by ostiary at every start: edits are lost. What `alter system` sets is kept, and wins.
# First what initdb found out about this machine.
include '{data_dir}/postgresql.conf'

# A socket in a private directory, and no network.
listen_addresses = ''
port = {port}
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
hba_file = '{conf_dir}/hba.conf'
ident_file = '{conf_dir}/ident.conf'

# A guest on somebody's machine: small memory, enough sessions for several processes.
max_connections = 200
# Taken when it is used: an index of vectors that fits in here is walked and written many times as fast.
shared_buffers = 256MB
work_mem = 8MB
maintenance_work_mem = 64MB
max_wal_size = 512MB
# Who keeps the log and is gone must not fill the disk.
max_slot_wal_keep_size = 8GB
max_parallel_workers_per_gather = 1
jit = off
huge_pages = off

# What changes is noted, so that a backup can be of that alone.
summarize_wal = on

# What was acknowledged survives a power cut.
fsync = on
full_page_writes = on
synchronous_commit = on

# A client that vanished must not leave its statement running.
client_connection_check_interval = 2s

# A week of logs. Statements of agents belong in the audit table, not here.
logging_collector = on
log_directory = '{log_dir}'
log_filename = 'postgres-%a.log'
log_file_mode = 0600
log_rotation_age = 1d
log_rotation_size = 0
log_truncate_on_rotation = on
log_line_prefix = '%m [%p] %u@%d '
log_min_error_statement = panic
timezone = 'UTC'
log_timezone = 'UTC'
"""

_HBA = """\
# Written by ostiary at every start: edits are lost. Who is not listed is refused.
# TYPE  DATABASE  USER  METHOD
local   all       {roles}  peer map={map}
# Backups of the whole cluster.
local   replication  {admin}  peer map={map}
"""

_IDENT = """\
# Written by ostiary at every start: edits are lost.
# MAP  SYSTEM-USER  DATABASE-USER
{lines}
"""


def settings_file(place: Place) -> Path:
    """The file the server is started with."""
    return place.conf_dir / "postgres.conf"


def write(place: Place, socket_dir: Path, caller: str) -> None:
    """Write the three files; `caller` is the system's user who may log in. Blocking."""
    settings = _SETTINGS.format(
        data_dir=_quoted(place.data_dir),
        socket_dir=_quoted(socket_dir),
        conf_dir=_quoted(place.conf_dir),
        log_dir=_quoted(place.log_dir),
        port=PORT,
    )
    hba = _HBA.format(roles=",".join(LOGIN_ROLES), admin=ADMIN, map=_MAP)
    user = '"' + caller.replace('"', '""') + '"'
    ident = _IDENT.format(lines="\n".join(f"{_MAP} {user} {role}" for role in LOGIN_ROLES))
    for path, text in (
        (settings_file(place), settings),
        (place.conf_dir / "hba.conf", hba),
        (place.conf_dir / "ident.conf", ident),
    ):
        fresh = path.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.chmod(0o644)  # no secret in them, and a server of another user must read them
        fresh.rename(path)


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace("'", "''")
