"""Which fixture modules there are."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = [
    "fix_hangs",
    "fix_postgres",
    "fix_replica",
    "fix_audit",
    "fix_embedded",
    "fix_faults",
    "fix_server",
    "fix_fortress",
    "fix_pages",
    "fix_identity",
    "fix_vectors",
    "fix_chroma",
    "fix_objects",
    "fix_trouble",
    "fix_indexing",
    "fix_copies",
    "fix_full",
    "fix_moments",
    "fix_custody",
    "fix_killing",
    "fix_planned",
    "fix_damage",
    "fix_person",
    "fix_external",
    "fix_incremental",
    "fix_log",
]
