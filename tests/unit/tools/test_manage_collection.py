import json
import subprocess
import sys

from ostiary.mcp_app import input_schema
from ostiary_tools.manage_collection import ManageCollection


def test_the_listing_of_the_tool_stays_small():
    """Every agent that may call it reads it at each start."""
    assert len(json.dumps(input_schema(ManageCollection.args))) + len(ManageCollection.title + ManageCollection.description) < 2_250


def test_the_tool_and_its_command_need_no_extra_to_be_imported():
    code = "import ostiary.cli, ostiary_tools, sys; list(ostiary_tools.pack()); import ostiary.local_calls, ostiary.file_indexing"
    missing = "import sys; sys.modules.update(dict.fromkeys(('numpy', 'pgvector', 'wordllama', 'chromadb'))); "
    done = subprocess.run([sys.executable, "-c", missing + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
