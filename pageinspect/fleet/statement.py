# SPDX-License-Identifier: GPL-2.0-only
"""Checks SQL of the user: one SELECT statement on the tables, and expressions without subqueries.

The type of a statement does not suffice: a WITH clause of a SELECT may have COPY, INSERT or DELETE.
Therefore the parsed statement is searched, and what is not known to only read tables is refused.
DuckDB parses without looking at a table or file.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_NODES = ("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE")
"""Nodes of queries that only read."""
_SOURCES = ("BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT")
"""What may be in a FROM clause."""
_FUNCTIONS = ("unnest", "range", "generate_series")
"""Functions that may be in a FROM clause. Others read files, settings or text as SQL."""
_ONE = "give one SELECT statement, without a semicolon in it"


_NAMED = {
    "SHOW REF": "SHOW, DESCRIBE or SUMMARIZE",
    "MULTI": "PIVOT without values (ON … IN (…))",
    "TRANSACTION": "BEGIN, COMMIT or ROLLBACK",
    "LOAD": "LOAD or INSTALL",
    "MERGE INTO": "MERGE",
}
"""What SQL has of statements and nodes for which DuckDB has names of its own."""


def refusal(what: str, hint: str) -> UsageError:
    """Return the error for SQL that is refused or wrong."""
    return UsageError(f"SQL: {what}", hint)


def tables_of(connection: "DuckDBPyConnection", query: str, known: Iterable[str]) -> set[str]:
    """Return the tables that a query reads. Raises UsageError unless it is one SELECT on `known`.

    Names are compared without case, as SQL does; those of `known` are in lower case.
    """
    import duckdb

    try:
        statements = connection.extract_statements(query)
    except duckdb.Error as error:
        raise refusal(first_line(error), _ONE) from None
    if len(statements) != 1:
        raise refusal(f"{len(statements) or 'no'} statements", _ONE)
    kind = statements[0].type
    if kind != duckdb.StatementType.SELECT:
        raise refusal(f"{_in_sql(kind.name)} is refused", _ONE)
    tree = _parsed(connection, query)
    named = set(_names_of_queries(tree))
    used = set()
    for node in _objects(tree):
        _check_node(node)
        if node.get("type") == "BASE_TABLE":
            used.add(_table_name(node, known, named))
    return used.intersection(known)


def check_expression(connection: "DuckDBPyConnection", text: str) -> None:
    """Raise UsageError unless the text is one expression of SQL without a subquery."""
    hint = "give one condition on columns of the table snapshots, such as \"source = 'live'\""
    # What is correct with parentheses and without them is one expression, and not nothing.
    _parsed(connection, f"SELECT 1 WHERE {text}", hint)
    (statement,) = _parsed(connection, condition(text), hint)["statements"]
    clause = statement["node"]["where_clause"]
    for node in _objects(clause):
        if node.get("class") in {"SUBQUERY", "PARAMETER", "WINDOW"}:
            raise refusal(f"{node['class'].lower()} is refused in an expression", hint)


def condition(text: str) -> str:
    """Return a SELECT with an expression as its condition; a comment in it ends with its line."""
    return f"SELECT 1 WHERE ({text}\n)"


def first_line(error: Exception) -> str:
    """Return the first line of a message of DuckDB, without the name of its class."""
    text = str(error).strip().partition("\n")[0]
    return re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", text) or "it failed"


def _in_sql(name: str) -> str:
    """Return what SQL has for a name that DuckDB has for a statement or a node."""
    plain = name.removesuffix("_NODE").removesuffix("_QUERY").replace("_", " ")
    return _NAMED.get(plain, plain)


def _parsed(connection: "DuckDBPyConnection", query: str, hint: str = _ONE) -> Any:
    import duckdb

    try:
        row = connection.execute("SELECT json_serialize_sql($1::VARCHAR)", [query]).fetchone()
        tree = json.loads(row[0]) if row else {}
    except duckdb.Error as error:
        raise refusal(first_line(error), hint) from None
    except RecursionError:
        raise refusal("it is nested too deep", hint) from None
    if tree.get("error", True):
        raise refusal(str(tree.get("error_message")).partition("\n")[0], hint)
    return tree


def _objects(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects of a JSON document, however deep."""
    left = [tree]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield value
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)


def _names_of_queries(tree: Any) -> Iterator[str]:
    """Yield the names that WITH gives to queries."""
    for node in _objects(tree):
        for entry in (node.get("cte_map") or {}).get("map", ()):
            yield entry["key"].casefold()


def _check_node(node: dict[str, Any]) -> None:
    kind = node.get("type")
    if not isinstance(kind, str):
        return
    # Of objects with an alias, expressions have a class, and what is in a FROM clause has none.
    source = "alias" in node and "class" not in node
    if (source and kind not in _SOURCES) or (kind.endswith("_NODE") and kind not in _NODES):
        raise refusal(f"{_in_sql(kind)} is refused", _ONE)
    if kind == "TABLE_FUNCTION":
        name = str((node.get("function") or {}).get("function_name", ""))
        if name.casefold() not in _FUNCTIONS:
            raise refusal(f"{name}() is refused", f"FROM may have {', '.join(_FUNCTIONS)}")


def _table_name(node: dict[str, Any], known: Iterable[str], named: set[str]) -> str:
    name = str(node.get("table_name", ""))
    folded = name.casefold()
    qualified = node.get("schema_name") or node.get("catalog_name") or node.get("at_clause")
    if qualified or (folded not in named and folded not in known):
        raise refusal(f"there is no table {name}", f"the tables are {', '.join(known)}")
    return folded
