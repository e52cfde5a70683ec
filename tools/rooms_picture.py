"""The picture of rooms and floors as plain SVG: boxes, and the arrows from which all other imports follow."""

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from itertools import pairwise

WIDTH, LEFT, RIGHT, TOP = 1000, 52, 984, 66
LANE, GAP, BETWEEN, LINE = 6, 13, 48, 15  # pixels; LINE is the height of a line of text
Node = str | tuple[str, int]  # a room, or the lane on a floor in which arrows pass to a room further down
Rows = list[list[Node]]


@dataclass(frozen=True)
class Box:
    """What is written into the box of a room, and the colour of the box."""

    name: str
    lines: str
    phrase: str
    fill: str


def draw(boxes: Mapping[str, Box], floors: Mapping[str, int], arrows: Mapping[str, Iterable[str]], title: str) -> str:
    """Return the SVG; the same rooms always give the same text.

    Args:
        boxes: By room.
        floors: The floor of each room, 1 the lowest.
        arrows: The rooms to which arrows go, by room; those on one floor are left out.
        title: What stands above.
    """
    links = _links(floors, arrows)
    rows = _ordered(floors, links)
    widths = {node: _width(row) if isinstance(node, str) else LANE for row in rows for node in row}
    texts = {room: textwrap.wrap(box.phrase, int((widths[room] - 10) / 6.3)) for room, box in boxes.items()}
    x = _places(rows, links, widths)
    heights = [44 + LINE * max(len(texts[node]) for node in row if isinstance(node, str)) for row in rows]
    tops = [TOP + sum(heights[:k]) + BETWEEN * k for k in range(len(rows))]
    y = {node: (top, top + height) for row, top, height in zip(rows, tops, heights, strict=True) for node in row}
    height = tops[-1] + heights[-1] + 22
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, \'DejaVu Sans\', sans-serif" font-size="12" role="img">',
        f"  <title>{escape(title)}</title>",
        f'  <rect width="{WIDTH}" height="{height}" rx="8" fill="#fff"/>',
        f'  <text x="{WIDTH // 2}" y="36" text-anchor="middle" font-size="15" fill="#37474f">{escape(title)}</text>',
    ]
    for number, top, tall in zip(range(len(rows), 0, -1), tops, heights, strict=True):
        parts += [
            f'  <rect x="12" y="{top - 9}" width="{WIDTH - 24}" height="{tall + 18}" rx="6" fill="#f4f6f8"/>',
            f'  <text x="31" y="{top + tall // 2 + 6}" text-anchor="middle" font-size="17" fill="#90a4ae">'
            f"{number}</text>",
        ]
    parts += ['  <g fill="none" stroke="#78909c" stroke-width="1.3">']
    for upper, lower in links:
        start, end, middle = y[upper][1], y[lower][0], (y[upper][1] + y[lower][0]) // 2
        parts.append(f'    <path d="M{x[upper]} {start}C{x[upper]} {middle} {x[lower]} {middle} {x[lower]} {end}"/>')
    parts += [
        f'    <path d="M{x[node]} {y[node][0]}V{y[node][1]}"/>' for row in rows for node in row if node not in boxes
    ]
    parts += ["  </g>", '  <g fill="#546e7a">']
    ends = sorted({lower for _, lower in links if isinstance(lower, str)})
    parts += [f'    <path d="M{x[room]} {y[room][0]}l-4 -8h8z"/>' for room in ends]
    parts += ["  </g>"]
    for room in sorted(boxes):
        parts += _box(boxes[room], texts[room], x[room], *y[room], widths[room])
    return "\n".join([*parts, "</svg>", ""])


def _box(box: Box, text: list[str], x: int, top: int, bottom: int, width: int) -> list[str]:
    """Return the box of a room whose middle is at x."""
    lines = [f'<tspan x="{x}" dy="{LINE}">{escape(line)}</tspan>' for line in text]
    return [
        f'  <rect x="{x - width // 2}" y="{top}" width="{width}" height="{bottom - top}" rx="5" fill="{box.fill}" '
        f'stroke="#37474f" stroke-width="1.2"/>',
        f'  <text x="{x}" y="{top + 18}" text-anchor="middle" fill="#263238">'
        f'<tspan font-size="14" font-weight="600">{escape(box.name)}</tspan>'
        f'<tspan x="{x}" dy="{LINE}" font-size="11" fill="#607d8b">{escape(box.lines)}</tspan>{"".join(lines)}</text>',
    ]


def _links(floors: Mapping[str, int], arrows: Mapping[str, Iterable[str]]) -> list[tuple[Node, Node]]:
    """Return the arrows in steps of one floor; those that pass a floor on their way to one room share a lane there."""
    links: set[tuple[Node, Node]] = set()
    for room, others in arrows.items():
        for other in others:
            lanes = [(other, floor) for floor in range(floors[room] - 1, floors[other], -1)]
            way: list[Node] = [room, *lanes, other] if floors[other] < floors[room] else []
            links |= set(pairwise(way))
    return sorted(links, key=str)


def _ordered(floors: Mapping[str, int], links: list[tuple[Node, Node]]) -> Rows:
    """Return the nodes of each floor, the highest first, in an order in which few arrows cross and most are short."""
    nodes = sorted({*floors, *(node for link in links for node in link)}, key=str)
    level = {node: floors[node] if isinstance(node, str) else node[1] for node in nodes}
    rows = [[node for node in nodes if level[node] == floor] for floor in range(max(level.values()), 0, -1)]
    between = [[link for link in links if level[link[0]] == floor] for floor in range(len(rows), 1, -1)]
    best, improved = _cost(rows, between), True
    while improved:
        improved = False
        for row in rows:
            for source in range(len(row)):
                for target in range(len(row)):
                    row.insert(target, row.pop(source))
                    if (cost := _cost(rows, between)) < best - 1e-9:
                        best, improved = cost, True
                    else:
                        row.insert(source, row.pop(target))
    return rows


def _cost(rows: Rows, between: list[list[tuple[Node, Node]]]) -> float:
    """Return crossings, and the way that arrows go to the side."""
    place = {node: (index + 0.5) / len(row) for row in rows for index, node in enumerate(row)}
    total = 0.0
    for links in between:
        ends = [(place[upper], place[lower]) for upper, lower in links]
        total += sum((a - c) * (b - d) < 0 for k, (a, b) in enumerate(ends) for c, d in ends[:k])
        total += 2 * sum(abs(a - b) for a, b in ends)
    return total


def _width(row: list[Node]) -> int:
    """Return how wide the boxes of a floor are."""
    n_rooms = sum(isinstance(node, str) for node in row)
    free = RIGHT - LEFT - GAP * (len(row) - 1) - LANE * (len(row) - n_rooms)
    return min(200, free // n_rooms) // 2 * 2


def _places(rows: Rows, links: list[tuple[Node, Node]], widths: Mapping[Node, int]) -> dict[Node, int]:
    """Return where the middle of each node is: as near to the nodes that it is joined to as the others let it."""
    joined: dict[Node, list[Node]] = {node: [] for row in rows for node in row}
    for upper, lower in links:
        joined[upper].append(lower)
        joined[lower].append(upper)
    x: dict[Node, float] = dict.fromkeys(joined, (LEFT + RIGHT) / 2)
    for turn in range(60):
        for row in rows if turn % 2 else rows[::-1]:
            wanted = [sum(x[other] for other in joined[node]) / max(len(joined[node]), 1) or x[node] for node in row]
            x |= zip(row, _spread(wanted, [widths[node] for node in row]), strict=True)
    return {node: round(place) for node, place in x.items()}


def _spread(wanted: list[float], widths: list[int]) -> list[float]:
    """Return the places nearest to the wanted ones, by squares, at which nodes of a row do not overlap."""
    offsets = [sum(widths[:k]) + GAP * k + widths[k] / 2 for k in range(len(widths))]
    blocks: list[list[float]] = []  # neighbours that touch, each by where the row's beginning would have to be for it
    for place, offset in zip(wanted, offsets, strict=True):
        blocks.append([place - offset])
        while len(blocks) > 1 and _mean(blocks[-2]) >= _mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    last = RIGHT - sum(widths) - GAP * (len(widths) - 1)
    begins = [min(max(_mean(block), LEFT), last) for block in blocks for _ in block]
    return [begin + offset for begin, offset in zip(begins, offsets, strict=True)]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
