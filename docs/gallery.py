"""Writes docs/gallery.md, its pictures and the tables of docs/interpretability.md from what `make docs` computed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image

COLOURS = 192
"""Of a picture: the figures have few, and a palette makes them a third as large."""

PAGE = """# Gallery

Made by `make docs`: two small runs on synthetic motions, one with the paper's guidance (lambda 2 and 3) and one without
(and with more epochs), and `m2t-fast interpret` on the motions that neither has seen.
[interpretability.md](interpretability.md) explains the figures and has the numbers. The two motions drawn one by
one were picked with an earlier run, so their captions need not be right; a reference stands below each. The rest
shows the whole test split. All figures show captions that the models generated themselves.

## Twelve motions to play with

<a href="motions.html">One page with twelve motions</a> (of the site that `make site` builds): the first of each of
twelve sequences of actions from the generator, captioned by the guided run, right or wrong, with a reference beside
each. It is one file of less than 1 MB that needs no server: send it around. The same of your own files:

```text
m2t-fast caption RUN takes/ --html motions.html
```

## When and with what: {caption_0}

![fine-grained caption](gallery/fine_grained-0.png)

> {text_0}

![Gaussian windows of the motion words](gallery/windows-0.png)

![spatio-temporal attention](gallery/maps-0.png)

## Another: {caption_1}

![fine-grained caption](gallery/fine_grained-1.png)

> {text_1}

## The gate, with guidance

![density of the gate, with guidance](gallery/gate_density-guided.png)

and without:

![density of the gate, without guidance](gallery/gate_density-unguided.png)

## Body parts of motion words, with guidance

![histograms of the parts' attention, with guidance](gallery/part_histograms-guided.png)

and without:

![histograms of the parts' attention, without guidance](gallery/part_histograms-unguided.png)

## Words about the path, with guidance

![body parts of trajectory words](gallery/trajectory-guided.png)
"""


def main(computed: Path, docs: Path) -> None:
    """Reads ``computed``/generated and ``computed``/reference, each with the runs guided and unguided, as the Makefile
    has ``m2t-fast interpret`` write them."""
    figures, pictures = computed / "generated", docs / "gallery"
    pictures.mkdir(exist_ok=True)
    for run in ("guided", "unguided"):
        for name in ("gate_density", "part_histograms", "trajectory"):
            if run == "guided" or name != "trajectory":
                _shrink(figures / run / f"{name}.png", pictures / f"{name}-{run}.png")
    said = {}
    for number, file in enumerate(sorted((figures / "guided" / "fine_grained").glob("*.json"))):
        content = json.loads(file.read_text(encoding="utf-8"))
        said |= {f"caption_{number}": content["caption"], f"text_{number}": content["text"]}
        for name in ("fine_grained", "windows", "maps"):
            if number == 0 or name == "fine_grained":
                picture = figures / "guided" / name / f"{file.stem}.png"
                _shrink(picture, pictures / f"{name}-{number}.png")
    (docs / "gallery.md").write_text(PAGE.format(**said), encoding="utf-8")
    for name in ("reference", "generated"):
        table = (computed / name / "localisation.md").read_text(encoding="utf-8").partition("\n\n")[2].strip()
        _replace(docs / "interpretability.md", name, table)


def _shrink(source: Path, target: Path) -> None:
    with Image.open(source) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)


def _replace(document: Path, name: str, text: str) -> None:
    """Put ``text`` between the two comments that name it."""
    begin, end = f"<!-- {name}, by make docs -->", f"<!-- end of {name} -->"
    before, _, rest = document.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
