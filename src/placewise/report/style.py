"""House style of everything drawn: colours, and the style sheet of the pages.

The colours are those of Okabe and Ito, *Color Universal Design* (2008), which people with any
common colour vision tell apart. Points beyond the seventh change their shape too.
"""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Theme:
    """Colours of one mode, as `#rrggbb`.

    Attributes:
        paper: background.
        card: background of what stands out a little.
        ink: text.
        muted: secondary text and axes.
        line: rules and grids.
        first: the main series.
        second: the series beside it.
        third: what is marked.
    """

    paper: str
    card: str
    ink: str
    muted: str
    line: str
    first: str
    second: str
    third: str


LIGHT = Theme(
    paper="#ffffff",
    card="#f5f7f9",
    ink="#1b1f24",
    muted="#59636e",
    line="#dde2e7",
    first="#0072b2",
    second="#d55e00",
    third="#009e73",
)

DARK = Theme(
    paper="#14171a",
    card="#1e2328",
    ink="#e6e9ec",
    muted="#9aa5b0",
    line="#333a42",
    first="#56b4e9",
    second="#e69f00",
    third="#35c59b",
)

POINT_COLOURS: tuple[RGB, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
)

SHAPES = ("disc", "square", "diamond")


def mark(index: int) -> tuple[RGB, str]:
    """Colour and shape by which a point is known: 21 marks, then they come again.

    Example:
        >>> mark(0), mark(7)
        (((86, 180, 233), 'disc'), ((86, 180, 233), 'square'))
    """
    colours = len(POINT_COLOURS)
    return POINT_COLOURS[index % colours], SHAPES[index // colours % len(SHAPES)]


OBJECT_SHAPES = (*SHAPES, "triangle", "plus", "wedge")
"""Shapes of the keypoints of several objects, whose colours say which object is which."""


def object_shape(index: int) -> str:
    """Shape of a keypoint where colours say whose it is: six shapes, then they come again.

    Example:
        >>> object_shape(1), object_shape(7)
        ('square', 'square')
    """
    return OBJECT_SHAPES[index % len(OBJECT_SHAPES)]


def _variables(theme: Theme) -> str:
    return " ".join(f"--{name}: {value};" for name, value in vars(theme).items())


STYLE_SHEET = f"""
:root {{ color-scheme: light dark; {_variables(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}
"""
STYLE_SHEET += """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: clamp(1.25rem, 1rem + 1.6vw, 1.75rem); line-height: 1.35; font-weight: 600;
  max-width: 58rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 3rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.75rem 0 .25rem; }
p, dd, li { max-width: 46rem; overflow-wrap: anywhere; }
.title { font-weight: 600; color: var(--muted); margin: 1rem 0 0; }
.muted, figcaption { color: var(--muted); font-size: .875rem; }
.tiles { display: grid; gap: .75rem; margin: 1.75rem 0 0; padding: 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 9.5rem), 1fr)); }
.tiles > div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .75rem 1rem; }
.tiles dt { color: var(--muted); font-size: .875rem; }
.tiles dd { margin: 0; font-size: 1.5rem; line-height: 1.3; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.grid { display: grid; gap: 1.5rem 1.25rem; align-items: start; margin-top: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
.grid.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 28rem), 1fr)); }
.grid.widest { grid-template-columns: 1fr; }
.plots { columns: 27rem; column-gap: 1.25rem; margin-top: 1rem; }
.plots figure { margin-bottom: 2rem; }
figure { margin: 0; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; border-radius: .25rem; }
figcaption { margin-top: .375rem; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; padding: 0; }
.legend svg { width: 1em; height: 1em; vertical-align: -.125em; }
.scroll { overflow-x: auto; }
details { margin-top: .375rem; }
.plots table { font-size: .8125rem; }
.plots :is(th, td) { padding-right: .625rem; }
.plots tbody th { white-space: nowrap; }
summary { color: var(--muted); font-size: .875rem; cursor: pointer; }
table { border-collapse: collapse; font-size: .9375rem; margin-top: .75rem; }
caption { text-align: left; color: var(--muted); font-size: .875rem; padding-bottom: .375rem; }
th, td { text-align: left; vertical-align: top; padding: .3125rem 1.25rem .3125rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
td { max-width: 34rem; }
thead th { color: var(--muted); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; max-width: 22rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
dl.words dt { font-weight: 600; margin-top: .875rem; }
dl.words dd { margin: 0; }
footer { margin-top: 4rem; padding-top: 1rem; border-top: 1px solid var(--line); }
@media print {
  :root { color-scheme: light; }
  main { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; }
  tr { break-inside: avoid; }
  .scroll { overflow: visible; }
}
"""
