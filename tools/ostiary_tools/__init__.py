"""What can be done to a database: the tools, the SQL they judge, and the drivers beneath."""

from collections.abc import Iterable
from typing import Any

from ostiary_tools.api import Tool

__all__ = ["pack"]


def pack() -> Iterable[Tool[Any]]:
    """Ostiary's own tools, through the entry point that every pack uses."""
    # imported here so that `import ostiary_tools` stays light for whoever only wants its types
    from ostiary_tools.apply_change import ApplyChange
    from ostiary_tools.audit import AuditLogTool, AuditVerifyTool
    from ostiary_tools.create_backup import CreateBackup
    from ostiary_tools.describe import Describe
    from ostiary_tools.explain import Explain
    from ostiary_tools.explain_slow_query import ExplainSlowQuery
    from ostiary_tools.export import Export
    from ostiary_tools.index_documents import IndexDocuments
    from ostiary_tools.job import JobTool
    from ostiary_tools.list_backups import ListBackups
    from ostiary_tools.manage_collection import ManageCollection
    from ostiary_tools.propose_change import ProposeChange
    from ostiary_tools.query import Query
    from ostiary_tools.question_to_sql import QuestionToSql
    from ostiary_tools.resources import NameCompletion, TableResources
    from ostiary_tools.restore_backup import RestoreBackup
    from ostiary_tools.revert_change import RevertChange
    from ostiary_tools.search import Search
    from ostiary_tools.search_schema import SearchSchema
    from ostiary_tools.verify_backup import VerifyBackup
    from ostiary_tools.whoami import Whoami

    return (
        SearchSchema(),
        Describe(),
        Query(),
        Export(),
        Search(),
        JobTool(),
        ProposeChange(),
        ApplyChange(),
        RevertChange(),
        Explain(),
        Whoami(),
        AuditLogTool(),
        AuditVerifyTool(),
        TableResources(),
        NameCompletion(),
        QuestionToSql(),
        ExplainSlowQuery(),
        ManageCollection(),
        IndexDocuments(),
        CreateBackup(),
        ListBackups(),
        VerifyBackup(),
        RestoreBackup(),
    )
