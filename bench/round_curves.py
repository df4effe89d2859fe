#!/usr/bin/env python3
"""Draws a figure of simulated runs by round, a line each, as SVG.

    round_curves.py LABEL=DIRECTORY[,DIRECTORY...] ... > curves.svg
    round_curves.py --column perplexity --line LABEL=VALUE ... LABEL=... > curves.svg

Each DIRECTORY is the --out of an `edgetune simulate`; runs of one LABEL have one
colour. --column is one of report/rounds.csv: test_accuracy (the default) from 50 %
to 100 %, anything else on a logarithmic axis as high as its values. --line is drawn
across, dashed, for what does not go by rounds. docs/figures/ was made so.
"""

import argparse
import csv
import math
import pathlib

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 360, 52, 16, 16, 44
COLOURS = ("#1f5fa8", "#c2571a", "#3d7d3a", "#7a4b9a")


def read_curve(directory, column):
    with open(pathlib.Path(directory) / "report/rounds.csv", encoding="utf-8") as file:
        return [(int(row["round"]), float(row[column]))
                for row in csv.DictReader(file) if row[column]]


class Shares:
    """Accuracies: equal steps from a half to one."""

    ticks = [tenth / 10 for tenth in range(5, 11)]

    @staticmethod
    def text(value):
        return f"{value:.0%}".replace("%", " %")

    @staticmethod
    def height(value):
        return (max(value, 0.5) - 0.5) / 0.5


class Logarithms:
    """Values above 0: equal factors, from the least to the largest."""

    def __init__(self, values):
        self.low, self.high = min(values) * 0.97, max(values) * 1.03
        digits = [lead * 10 ** power for power in range(-3, 7) for lead in (1, 1.5, 2, 3, 4, 5, 7)]
        self.ticks = [tick for tick in digits if self.low <= tick <= self.high]

    @staticmethod
    def text(value):
        return f"{value:g}"

    def height(self, value):
        return math.log(value / self.low) / math.log(self.high / self.low)


class Figure:
    def __init__(self, axis, first, last):
        self.axis, self.first, self.last = axis, first, last

    def x(self, number):
        return LEFT + (WIDTH - LEFT - RIGHT) * (number - self.first) / (self.last - self.first)

    def y(self, value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * self.axis.height(value)

    def frame(self):
        yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
               'font-family="sans-serif" font-size="12" fill="#333">')
        yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        for tick in self.axis.ticks:
            yield (f'<path d="M{LEFT} {self.y(tick):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 8}" y="{self.y(tick) + 4:.1f}" text-anchor="end">'
                   f'{self.axis.text(tick)}</text>')
        for number in range(self.first, self.last + 1, max(1, (self.last - self.first) // 10)):
            yield (f'<text x="{self.x(number):.1f}" y="{HEIGHT - BOTTOM + 18}" '
                   f'text-anchor="middle">{number}</text>')
        yield f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">round</text>'

    def curve(self, points, colour):
        at = " ".join(f"{self.x(number):.1f},{self.y(value):.1f}" for number, value in points)
        yield f'<polyline points="{at}" fill="none" stroke="{colour}"/>'

    def line(self, label, value, colour):
        yield (f'<path d="M{LEFT} {self.y(value):.1f}H{WIDTH - RIGHT}" stroke="{colour}" '
               f'stroke-dasharray="5 4"/><text x="{LEFT + 8}" y="{self.y(value) - 5:.1f}" '
               f'fill="{colour}">{label}</text>')

    @staticmethod
    def legend(label, place, colour):
        yield (f'<text x="{WIDTH - RIGHT - 8}" y="{place}" text-anchor="end" '
               f'fill="{colour}">{label}</text>')


def pair(word):
    label, _, value = word.rpartition("=")
    if not label or not value:
        raise argparse.ArgumentTypeError(f"wanted LABEL=..., got {word!r}")
    return label, value


def draw(options):
    groups = [(label, [read_curve(directory, options.column) for directory in runs.split(",")])
              for label, runs in options.runs]
    lines = [(label, float(value)) for label, value in options.line]
    points = [point for _, curves in groups for curve in curves for point in curve]
    accuracy = options.column.endswith("accuracy")
    axis = Shares() if accuracy else Logarithms(
        [value for _, value in points] + [value for _, value in lines])
    figure = Figure(axis, min(points)[0], max(points)[0])
    yield from figure.frame()
    colours = iter(COLOURS * (len(groups) + len(lines)))
    for index, (label, curves) in enumerate(groups):
        colour = next(colours)
        for curve in curves:
            yield from figure.curve(curve, colour)
        # Accuracies end above, perplexities below: the other corner is free.
        place = (HEIGHT - BOTTOM - 12 - 18 * (len(groups) - 1 - index) if accuracy
                 else TOP + 14 + 18 * index)
        yield from figure.legend(label, place, colour)
    for label, value in lines:
        yield from figure.line(label, value, next(colours))
    yield "</svg>"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--column", default="test_accuracy")
    parser.add_argument("--line", type=pair, action="append", default=[])
    parser.add_argument("runs", type=pair, nargs="+", metavar="LABEL=DIRECTORIES")
    print("\n".join(draw(parser.parse_args())))


if __name__ == "__main__":
    main()
