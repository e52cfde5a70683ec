"""The rooms of the code and the floors on which they stand, read from the imports.

    python tools/rooms.py                              # the figures
    python tools/rooms.py --svg docs/images/rooms.svg  # and the picture of CONTRIBUTING.md
    python tools/rooms.py --root DIR                   # of another checkout

A room is a folder or a loose module directly in `isplit_tf/`; `isplit_edge`, `benchmarks` and `tools` are one room
each. The public faces of `isplit_tf` are no rooms: a name that is imported through them counts as imported from where
it lives. A room stands one floor above the highest room that it imports; rooms that import each other in a circle stand
on one floor. Imports inside functions and for types alone count.
"""

import argparse
import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rooms_picture import Box, draw

ROOT = Path(__file__).parent.parent
PACKAGE = "isplit_tf"
FACES = (PACKAGE, f"{PACKAGE}.__main__", f"{PACKAGE}.edge")
SCRIPTS = ("benchmarks", "tools")  # their files import each other without the name of the folder
TOPS = (PACKAGE, "isplit_edge", *SCRIPTS)
PHRASES = {  # of folders that are no packages
    "benchmarks": "Speed, memory, faults and versions, measured",
    "tools": "What makes the pages, pictures and embedded data",
}
Graph = Mapping[str, set[str]]


def find_modules(*tops: Path) -> dict[str, Path]:
    """Return the Python files below some folders, by dotted name."""
    paths = [(path, top) for top in tops for path in sorted(top.rglob("*.py")) if "build" not in path.parts]
    return {module_of(path, top): path for path, top in paths}


def module_of(path: Path, top: Path) -> str:
    """Return the dotted name of a file below the folder `top` of a package."""
    parts = path.relative_to(top.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_imports(modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return which of the modules each of them imports."""
    trees = {module: ast.parse(path.read_text()) for module, path in modules.items()}
    bound = {module: _bound_names(module, trees[module], modules) for module in modules}
    homes = {face: {name: home for name, (home, _) in bound[face].items()} for face in FACES if face in bound}
    return {module: _homes_of(bound[module], trees[module], homes) - {module} for module in modules}


def _bound_names(module: str, tree: ast.Module, modules: Mapping[str, Path]) -> dict[str, tuple[str, str | None]]:
    """Return what imports bind in a file: under each name a module, and the name of what is taken from it, if any."""
    is_package = modules[module].stem == "__init__"
    package = module.split(".") if is_package else module.split(".")[:-1]
    bound: dict[str, tuple[str, str | None]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if full := _known(alias.name, package, modules):
                    bound[alias.asname or alias.name] = full, None
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*above, *([node.module] if node.module else [])])
            base = name if node.level else _known(name, package, modules) or name
            # The version is no more than a string, which makes no circle.
            for alias in (alias for alias in node.names if alias.name != "__version__"):
                full = f"{base}.{alias.name}"
                if full in modules or base in modules:
                    bound[alias.asname or alias.name] = (full, None) if full in modules else (base, alias.name)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            name = getattr(node.args[0], "value", None)
            if isinstance(name, str) and (full := ".".join([*package, name[1:]])) in modules and name[0] == ".":
                bound[full] = full, None
    return bound


def _known(name: str, package: list[str], modules: Mapping[str, Path]) -> str | None:
    """Return the module of an absolute name; a script's own folder and those above it are searched too."""
    depths = range(len(package), 0, -1) if package and package[0] in SCRIPTS else ()
    candidates = [".".join([*package[:depth], name]) for depth in depths] + [name]
    return next((candidate for candidate in candidates if candidate in modules), None)


def _homes_of(
    bound: Mapping[str, tuple[str, str | None]], tree: ast.Module, homes: Mapping[str, Mapping[str, str]]
) -> set[str]:
    """Return the modules that a file imports, those behind a public face in place of the face."""
    found = set()
    for name, (module, taken) in bound.items():
        if module not in homes:
            found.add(module)
        elif taken is not None:
            found.add(homes[module].get(taken, module))
        else:
            uses = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
            found |= {homes[module].get(node.attr, module) for node in uses if ast.unparse(node.value) == name}
    return found


def reachable(graph: Graph) -> dict[str, set[str]]:
    """Return everything that each node leads to; itself only on a circle."""
    result = {}
    for start in graph:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            if (node := waiting.pop()) not in seen:
                seen.add(node)
                waiting += graph[node]
        result[start] = seen
    return result


def circles_in(graph: Graph) -> list[list[str]]:
    """Return the largest groups of nodes each of which leads to all others of its group."""
    ahead = reachable(graph)
    groups = {tuple(sorted(b for b in ahead[a] if a in ahead[b])) for a in graph if a in ahead[a]}
    return [list(group) for group in sorted(groups)]


def room_of(module: str) -> str | None:
    """Return the room in which a module is; None for a public face."""
    parts = module.split(".")
    if module in FACES:
        return None
    return parts[1] if parts[0] == PACKAGE else parts[0]


def between_rooms(imports: Graph) -> dict[str, set[str]]:
    """Return which rooms each room imports."""
    rooms: dict[str, set[str]] = {room: set() for module in imports if (room := room_of(module))}
    for module, others in imports.items():
        if room := room_of(module):
            rooms[room] |= {other for o in others if (other := room_of(o))} - {room}
    return dict(sorted(rooms.items()))


def floors_of(rooms: Graph) -> dict[str, int]:
    """Return the floor of each room, the lowest is 1: one above the highest that it imports outside its circle."""
    ahead = reachable(rooms)
    floors: dict[str, int] = {}
    # A room leads to more rooms than any that it imports, unless they are on a circle.
    for room in sorted(rooms, key=lambda room: len(ahead[room] - {room})):
        circle = {other for other in ahead[room] if room in ahead[other]} | {room}
        below = {other for member in circle for other in rooms[member]} - circle
        floors[room] = 1 + max((floors[other] for other in below), default=0)
    return floors


def needed_arrows(rooms: Graph) -> dict[str, set[str]]:
    """Return the arrows from which all others follow, by way of a room between."""
    ahead = reachable(rooms)
    return {
        room: {b for b in others if not any(b in ahead[c] and c not in ahead[b] for c in others - {b})}
        for room, others in rooms.items()
    }


def code_lines(text: str) -> int:
    """Return how many lines hold code: neither empty, nor comment or docstring alone."""
    still = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = (token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in still)
    held = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            held -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(held)


def longest_function(modules: Mapping[str, Path]) -> tuple[int, str]:
    """Return the lines of the longest function, and its name."""
    functions = (
        ((node.end_lineno or 0) - node.lineno + 1, f"{module}.{node.name}")
        for module, path in modules.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return max(functions, default=(0, "none"))


@dataclass(frozen=True)
class House:
    """The files of a checkout, and the rooms that they make.

    Args:
        modules: The files by dotted name.
        imports: What each of them imports.
        rooms: What each room imports.
        floors: The floor of each room, the lowest is 1.
    """

    modules: dict[str, Path]
    imports: dict[str, set[str]]
    rooms: dict[str, set[str]]
    floors: dict[str, int]

    @classmethod
    def read(cls, root: Path) -> "House":
        """Return the house of a checkout."""
        modules = find_modules(*(root / top for top in TOPS))
        imports = read_imports(modules)
        rooms = between_rooms(imports)
        return cls(modules, imports, rooms, floors_of(rooms))

    def nested_folders(self) -> int:
        """Return how many folders with Python files are inside rooms of the package."""
        folders = {path.parent for module, path in self.modules.items() if module.startswith(f"{PACKAGE}.")}
        return sum(folder.parent.parent in folders or folder.parent.parent.name == PACKAGE for folder in folders)

    def figures(self) -> Iterator[str]:
        """Yield what is to be printed, line by line."""
        yield f"rooms                  {len(self.rooms)}, with {self.nested_folders()} folders inside them"
        yield f"floors                 {max(self.floors.values())}"
        yield f"arrows between rooms   {sum(map(len, self.rooms.values()))}"
        for name, graph in (("rooms", self.rooms), ("files", self.imports)):
            circles = ["; ".join(circle) for circle in circles_in(graph)]
            yield f"circles between {name}  {len(circles)}{''.join(chr(10) + ' ' * 23 + circle for circle in circles)}"
        for name, tops in (("the packages", TOPS[:2]), ("benchmarks and tools", SCRIPTS)):
            part = {module: path for module, path in self.modules.items() if module.split(".")[0] in tops}
            texts = {module: path.read_text() for module, path in part.items()}
            longest = max(texts, key=lambda module: texts[module].count("\n"))
            yield f"{name}: {len(part)} files"
            yield f"  lines                {sum(text.count(chr(10)) for text in texts.values()):,}"
            yield f"  lines of code        {sum(map(code_lines, texts.values())):,}"
            yield "  longest function     {} lines, {}".format(*longest_function(part))
            yield f"  longest file         {texts[longest].count(chr(10))} lines, {longest}"

    def picture(self) -> str:
        """Return the picture as SVG. Lines are rounded, so that not every commit makes another picture."""
        boxes = {}
        for room in self.rooms:
            paths = {module: path for module, path in self.modules.items() if room_of(module) == room}
            home = room if room in TOPS else f"{PACKAGE}.{room}"
            hundreds = round(sum(code_lines(path.read_text()) for path in paths.values()) / 100)
            lines = f"{hundreds * 100:,} lines" if hundreds else "< 100 lines"
            is_folder = room not in TOPS and paths[home].stem == "__init__"
            name = f"{room}/" if is_folder or room in TOPS else f"{room}.py"
            fill = "#d7e8f5" if is_folder else "#e4eedb" if room in TOPS else "#fdf3dc"
            boxes[room] = Box(name, lines, PHRASES.get(room) or _phrase(paths[home]), fill)
        title = "The rooms of isplit_tf: each imports only what stands below it"
        return draw(boxes, self.floors, needed_arrows(self.rooms), title)


def _phrase(path: Path) -> str:
    """Return what a file's docstring begins with."""
    first = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]
    return " ".join(re.split(r"[;:]|\.$|\. ", first)[0].replace("`", "").split())


def main() -> None:
    """Print the figures, and write the picture if it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to read; this one if none is given")
    parser.add_argument("--svg", type=Path, help="where to write the picture")
    args = parser.parse_args()
    house = House.read(args.root)
    print("\n".join(house.figures()))
    if args.svg:
        args.svg.write_text(house.picture())


if __name__ == "__main__":
    main()
