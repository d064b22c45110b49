"""Bar charts as SVG: a few panels side by side, three a row, readable on light and dark pages."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

PANEL_WIDTH, PANEL_HEIGHT, BARS_HEIGHT, TITLE_HEIGHT = 300, 190, 110, 40
STYLE = (
    "text{font:12px sans-serif;fill:#667}.t{font-size:14px;font-weight:bold}"
    ".b{fill:#3b82c4}.m{stroke:#d9622b;stroke-width:2}.n{font-size:10px}"
)


class Panel(NamedTuple):
    """One set of bars from zero, with a label below and a value above each; `marks` are lines across the bars."""

    title: str
    values: Sequence[float]
    labels: Sequence[str]
    marks: Sequence[float] = ()


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def bars(panel: Panel, left: float, top: float) -> list[str]:
    highest = max(*panel.values, *panel.marks, 1e-9)
    step = (PANEL_WIDTH - 20) / len(panel.values)
    base = top + 30 + BARS_HEIGHT
    parts = [f'<text x="{left:.0f}" y="{top + 12:.0f}">{escape(panel.title)}</text>']
    for i, (value, label) in enumerate(zip(panel.values, panel.labels, strict=True)):
        x, height = left + i * step, BARS_HEIGHT * value / highest
        middle = x + step * 0.4
        parts += [
            f'<rect class="b" x="{x:.1f}" y="{base - height:.1f}" width="{step * 0.8:.1f}" height="{height:.1f}"/>',
            f'<text class="n" x="{middle:.1f}" y="{base - height - 4:.1f}" text-anchor="middle">{number(value)}</text>',
            f'<text class="n" x="{middle:.1f}" y="{base + 14:.1f}" text-anchor="middle">{escape(label)}</text>',
        ]
    for i, mark in enumerate(panel.marks):
        x, y = left + i * step, base - BARS_HEIGHT * mark / highest
        parts.append(f'<line class="m" x1="{x:.1f}" y1="{y:.1f}" x2="{x + step * 0.8:.1f}" y2="{y:.1f}"/>')
    return parts


def chart(title: str, panels: Sequence[Panel]) -> str:
    columns = min(len(panels), 3)
    width = columns * PANEL_WIDTH + 20
    height = TITLE_HEIGHT + -(-len(panels) // columns) * PANEL_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{STYLE}</style>",
        f'<text class="t" x="20" y="22">{escape(title)}</text>',
    ]
    for i, panel in enumerate(panels):
        parts += bars(panel, 20 + i % columns * PANEL_WIDTH, TITLE_HEIGHT + i // columns * PANEL_HEIGHT)
    return "\n".join([*parts, "</svg>", ""])
