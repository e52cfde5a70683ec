"""Docstrings of functions begin with an imperative verb; ruff's D401 finds other moods of known verbs, not nouns."""

import ast
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
FILES = [
    path
    for room in ("isplit_tf", "isplit_edge", "benchmarks", "export", "tools")
    for path in (TOP / room).rglob("*.py")
]
# A verb that is missing here is added; a noun, a participle or "Whether" is not.
VERBS = frozenset(
    """
    accept add adjust allocate allow answer append apply ask assign begin bind break bring build call cancel
    capture cast change check choose classify clear close collect combine compare compile complete compress compute
    concatenate connect convert copy correlate count create cut decode define delete describe detect divide do
    download drain draw drop embed encode end enlarge ensure enter enumerate estimate evaluate exchange execute
    explain export extract fail fetch fill filter find fine-tune finish fit flatten fold fork format forward freeze
    gather generate get give group handle hash hold identify ignore import increase infer insert install interpret
    invoke join keep kill label launch learn leave let limit list load lock look make map mark match measure merge move
    name normalize note number obey open order pack pad parse pass place plan play plot point predict prepare prevent
    print process produce project propose publish put quantize raise rank read receive record reduce refuse
    register reload remove rename render repeat replace report request require reset reshape resize resolve restore
    resume return reverse round run sample save say scale search select send separate serve set shuffle shut
    simulate skip solve sort split spread stack start stop store sum summarize suppress switch take tell test time
    trace track train transpose try turn undo unpack update use validate verify wait walk warn watch wrap write
    yield
    """.split()
)


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions and methods of a file."""
    return [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TOP)))
def test_a_docstring_begins_with_a_verb(path):
    """The first word of every function's docstring is a verb in the imperative."""
    texts = {function.name: ast.get_docstring(function) for function in functions(path)}
    first = {name: text.split()[0] for name, text in texts.items() if text}
    assert {name: word for name, word in first.items() if word.lower() not in VERBS} == {}
