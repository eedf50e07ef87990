"""The name the server gives an output column that has none (its `FigureColname`)."""

from typing import Any

from pglast import ast, enums

_NAMED = {
    "A_ArrayExpr": "array",
    "CoalesceExpr": "coalesce",
    "GroupingFunc": "grouping",
    "JsonArrayAgg": "json_arrayagg",
    "JsonArrayConstructor": "json_array",
    "JsonArrayQueryConstructor": "json_array",
    "JsonObjectAgg": "json_objectagg",
    "JsonObjectConstructor": "json_object",
    "JsonParseExpr": "json",
    "JsonScalarExpr": "json_scalar",
    "JsonSerializeExpr": "json_serialize",
    "RowExpr": "row",
    "XmlSerialize": "xmlserialize",
}
_XML = {
    enums.XmlExprOp.IS_XMLCONCAT: "xmlconcat",
    enums.XmlExprOp.IS_XMLELEMENT: "xmlelement",
    enums.XmlExprOp.IS_XMLFOREST: "xmlforest",
    enums.XmlExprOp.IS_XMLPARSE: "xmlparse",
    enums.XmlExprOp.IS_XMLPI: "xmlpi",
    enums.XmlExprOp.IS_XMLROOT: "xmlroot",
}
_JSON = {
    enums.JsonExprOp.JSON_EXISTS_OP: "json_exists",
    enums.JsonExprOp.JSON_QUERY_OP: "json_query",
    enums.JsonExprOp.JSON_VALUE_OP: "json_value",
}
_STRONG, _WEAK = 2, 1


def column_name(node: Any) -> str | None:
    """The name, or `None` where the server would write `?column?`."""
    return _name(node)[1]


def _name(node: Any) -> tuple[int, str | None]:  # noqa: PLR0911 -- one return a kind of node is the plainest way to say it
    kind = type(node).__name__
    if kind == "ColumnRef":
        words = [p for p in node.fields if isinstance(p, ast.String)]
        return (_STRONG, str(words[-1].sval)) if words else (0, None)
    if kind == "A_Indirection":
        words = [p for p in node.indirection if isinstance(p, ast.String)]
        return (_STRONG, str(words[-1].sval)) if words else _name(node.arg)
    if kind == "FuncCall":
        return _STRONG, str(node.funcname[-1].sval)
    if kind == "A_Expr" and node.kind == enums.A_Expr_Kind.AEXPR_NULLIF:
        return _STRONG, "nullif"
    if kind == "TypeCast":
        strength, name = _name(node.arg)
        return (strength, name) if strength > _WEAK else (_WEAK, str(node.typeName.names[-1].sval))
    if kind == "CollateClause":
        return _name(node.arg)
    if kind == "CaseExpr":
        strength, name = _name(node.defresult)
        return (strength, name) if strength > _WEAK else (_WEAK, "case")
    return _fixed(node, kind)


def _fixed(node: Any, kind: str) -> tuple[int, str | None]:
    if kind == "SubLink":
        return _sublink(node)
    if kind == "MinMaxExpr":
        return _STRONG, "greatest" if node.op == enums.MinMaxOp.IS_GREATEST else "least"
    if kind == "SQLValueFunction":
        return _STRONG, node.op.name.removeprefix("SVFOP_").removesuffix("_N").lower()
    if kind == "XmlExpr":
        return (_STRONG, _XML[node.op]) if node.op in _XML else (0, None)
    if kind == "JsonFuncExpr":
        return (_STRONG, _JSON[node.op]) if node.op in _JSON else (0, None)
    return (_STRONG, _NAMED[kind]) if kind in _NAMED else (0, None)


def _sublink(node: Any) -> tuple[int, str | None]:
    kinds = enums.SubLinkType
    if node.subLinkType == kinds.EXISTS_SUBLINK:
        return _STRONG, "exists"
    if node.subLinkType == kinds.ARRAY_SUBLINK:
        return _STRONG, "array"
    if node.subLinkType != kinds.EXPR_SUBLINK:
        return 0, None
    query = node.subselect
    while query.op != enums.SetOperation.SETOP_NONE:
        query = query.larg
    if query.valuesLists:
        return _STRONG, "column1"
    if not query.targetList:
        return 0, None
    target = query.targetList[0]
    return _STRONG, str(target.name) if target.name else column_name(target.val) or "?column?"
