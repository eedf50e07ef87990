import json

from ostiary.mcp_app import input_schema
from ostiary_tools.manage_collection import ManageCollection


def test_the_listing_of_the_tool_stays_small():
    """Every agent that may call it reads it at each start."""
    assert len(json.dumps(input_schema(ManageCollection.args))) + len(ManageCollection.title + ManageCollection.description) < 2_250
