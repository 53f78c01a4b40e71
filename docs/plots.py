"""The plots of docs/benchmarks.md, as SVG from the files of benchmarks/results alone: `python docs/plots.py`."""

from __future__ import annotations

import json
import math
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RESULTS, IMAGES = ROOT / "benchmarks" / "results", ROOT / "docs" / "images"
COLOURS = {"ours": "#0072b2", "cpu": "#0072b2", "compile": "#56b4e9", "plain": "#e69f00", "loop": "#d55e00"}
"""Okabe and Ito's, as everywhere in the documents."""
WIDTH, LEFT, RIGHT, ROW = 820, 310, 110, 22


class Bar(NamedTuple):
    """A value with its label; low and high are its 20th and 80th percentiles, where several runs were kept."""

    label: str
    way: str
    value: float
    low: float | None = None
    high: float | None = None


def svg(height: float, title: str, body: str) -> str:
    """A picture that reads the same on light and dark pages."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" role="img" '
        f'aria-label="{escape(title)}" font-family="DejaVu Sans,Verdana,sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n<text x="12" y="22" font-size="14">{escape(title)}</text>\n'
        f"{body}</svg>\n"
    )


def bars(title: str, groups: list[list[Bar]], unit: str) -> str:
    """Groups of horizontal bars on a logarithmic axis, with whiskers where there is a range."""
    every = [bar for group in groups for bar in group]
    low = 10 ** math.floor(math.log10(min(bar.low or bar.value for bar in every)))
    span = math.log10(max(bar.high or bar.value for bar in every) / low)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log10(value / low) / span

    body, y = "", 40.0
    for group in groups:
        for bar in group:
            body += f'<text x="{LEFT - 8}" y="{y + 14:.0f}" text-anchor="end">{escape(bar.label)}</text>\n'
            body += f'<rect x="{LEFT}" y="{y + 2:.0f}" width="{max(2, x(bar.value) - LEFT):.1f}" height="16" '
            body += f'fill="{COLOURS[bar.way]}"/>\n'
            end = x(bar.value)
            if bar.low is not None and bar.high is not None:
                end = max(end, x(bar.high))
                body += (
                    f'<path d="M{x(bar.low):.1f} {y + 10:.0f}H{x(bar.high):.1f}" stroke="#000" stroke-width="1.5"/>\n'
                )
            number = f"{bar.value:,.0f}" if bar.value >= 100 else f"{bar.value:.3g}"
            body += f'<text x="{end + 6:.1f}" y="{y + 14:.0f}">{number} {escape(unit)}</text>\n'
            y += ROW
        y += 10
    return svg(y + 4, title, body)


def training(results: dict[str, Any]) -> str:
    """Samples per second of an epoch."""
    groups = [
        [
            Bar(f"{data['data']}, {data['dtype']}, {way}", way, values["samples_per_second"])
            for way, values in data["ways"].items()
            if "samples_per_second" in values
        ]
        for data in results["data"]
    ]
    machine = results["machine"]
    return bars(f"Training: {machine['processor']}, {machine['threads']} threads", groups, "samples/s")


def ops(results: dict[str, Any]) -> str:
    """Milliseconds of processor time of each op, ours beside plain PyTorch."""
    groups: dict[str, list[Bar]] = {}
    for row in results["rows"]:
        if row["status"] == "ok" and row["way"] in COLOURS:
            times = [1e3 * row[name] for name in ("processor", "processor_p20", "processor_p80")]
            title = row["title"].replace("spatio_temporal_", "").replace("forward + backward", "fwd + bwd")
            groups.setdefault(row["title"], []).append(Bar(f"{title}, {row['way']}", row["way"], *times))
    machine = results["machine"]
    return bars(
        f"Processor time of ops: {machine['processor']}, {machine['threads']} thread, float32, KIT-ML's sizes",
        list(groups.values()),
        "ms",
    )


def lengths(results: dict[str, Any]) -> str:
    """Time and memory of a training step against the length of motions and the size of a batch."""
    body = ""
    for column, axis in enumerate(("frames", "batch")):
        rows = [row for row in results["rows"] if row["axis"] == axis]
        other = "frames" if axis == "batch" else "batch"
        for line, (field, factor, unit) in enumerate((("processor", 1e3, "ms"), ("peak_bytes", 2.0**-20, "MiB"))):
            series: dict[str, list[tuple[float, float]]] = {}
            for row in rows:
                series.setdefault(row["way"], []).append((row["value"], factor * row[field]))
            title = f"{unit} against {axis} ({other} {results['held'][other]})"
            body += panel(title, series, 60 + 380 * column, 60 + 240 * line)
    machine = results["machine"]
    return svg(520, f"A training step: {machine['processor']}, one thread, float32, KIT-ML's model", body)


def panel(title: str, series: dict[str, list[tuple[float, float]]], left: float, top: float) -> str:
    """Lines on two logarithmic axes, with the numbers of the first and last point."""
    width, height = 280.0, 170.0
    points = [point for line in series.values() for point in line]

    def scale(values: list[float], size: float, value: float) -> float:
        low, high = math.log(min(values)), math.log(max(values))
        return size * (math.log(value) - low) / max(high - low, 1e-9)

    body = f'<text x="{left}" y="{top - 10}">{escape(title)}</text>\n'
    body += f'<path d="M{left} {top}v{height}h{width}" stroke="#999" fill="none"/>\n'
    for value in sorted({x for x, _ in points}):
        at = left + scale([x for x, _ in points], width, value)
        body += f'<text x="{at:.1f}" y="{top + height + 16}" text-anchor="middle">{value:g}</text>\n'
    for way, line in series.items():
        places = [
            (left + scale([x for x, _ in points], width, x), top + height - scale([y for _, y in points], height, y))
            for x, y in line
        ]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        body += f'<path d="M{path}" stroke="{COLOURS[way]}" stroke-width="2" fill="none"/>\n'
        for (x, y), (_, number) in ((places[0], line[0]), (places[-1], line[-1])):
            body += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[way]}"/>\n'
            body += f'<text x="{x + 6:.1f}" y="{y - 6:.1f}" fill="{COLOURS[way]}">{number:,.0f} {way}</text>\n'
    return body


def main() -> dict[str, str]:
    """File name -> picture, of what was measured."""
    made = {}
    for name, draw in (("train_cpu", training), ("ops_cpu", ops), ("lengths_cpu", lengths)):
        if (RESULTS / f"{name}.json").exists():
            made[f"{name}.svg"] = draw(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))
    return made


if __name__ == "__main__":
    for file, text in main().items():
        (IMAGES / file).write_text(text, encoding="utf-8")
