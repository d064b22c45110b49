"""Bar charts as small SVG files, one a row."""

from html import escape

from bench.macro.rows import COLUMNS, Row
from bench.macro.suite import Results

WIDTH, LABEL_WIDTH, VALUE_WIDTH, BAR_HEIGHT, GAP, TOP = 720, 190, 90, 26, 10, 58

STYLE = """\
<style>
text { font: 14px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 16px; }
.note { font-size: 12px; fill: #656d76; }
.own { fill: #0969da; }
.peer { fill: #afb8c1; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .note { fill: #9198a1; } .own { fill: #4493f8; } .peer { fill: #656c76; }
}
</style>"""


def chart(row: Row, results: Results) -> str:
    """One bar a subject, with the median of the row's figure; the shortest is the best."""
    found = results.get(row.key, {})
    values = {subject.name: found[subject.name].median(row.figure) for subject in row.subjects if subject.name in found}
    longest = max((value for value in values.values() if value is not None), default=1.0) or 1.0
    own = {subject.name for subject in row.subjects if subject.proxy == "fastmesh"}
    height = TOP + len(values) * (BAR_HEIGHT + GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">',
        STYLE,
        f'<text class="title" x="0" y="18">{escape(row.title)}</text>',
        f'<text class="note" x="0" y="38">{escape(COLUMNS[row.figure])}, smaller is better</text>',
    ]
    for position, (name, value) in enumerate(values.items()):
        y = TOP + position * (BAR_HEIGHT + GAP)
        width = (WIDTH - LABEL_WIDTH - VALUE_WIDTH) * max(value or 0.0, 0.0) / longest
        text = "not measured" if value is None else f"{value:,.1f}"
        kind = "own" if name in own else "peer"
        lines += [
            f'<text x="{LABEL_WIDTH - 10}" y="{y + 18}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{LABEL_WIDTH}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="3"/>',
            f'<text x="{LABEL_WIDTH + width + 8:.1f}" y="{y + 18}">{text}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"
