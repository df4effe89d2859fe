#!/usr/bin/env python3
"""Draws the accuracy on the test set of simulated runs, a line each, as SVG.

    accuracy_curves.py LABEL=DIRECTORY[,DIRECTORY...] ... > curves.svg

Each DIRECTORY is the --out of an `edgetune simulate` on images; runs of one
LABEL have one colour. docs/figures/mnist_2nn.svg was made so.
"""

import csv
import pathlib
import sys

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 360, 52, 16, 16, 44
COLOURS = ("#1f5fa8", "#c2571a", "#3d7d3a", "#7a4b9a")
LOWEST, HIGHEST = 0.5, 1.0


def read_curve(directory):
    with open(pathlib.Path(directory) / "report/rounds.csv", encoding="utf-8") as file:
        return [(int(row["round"]), float(row["test_accuracy"]))
                for row in csv.DictReader(file) if row["test_accuracy"]]


def main():
    groups = [argument.split("=", 1) for argument in sys.argv[1:]]
    if not groups or any(len(group) != 2 for group in groups):
        sys.exit(__doc__.strip())
    curves = [(label, [read_curve(d) for d in runs.split(",")]) for label, runs in groups]
    last = max(point[0] for _, runs in curves for run in runs for point in run)

    def at(version, accuracy):
        x = LEFT + (WIDTH - LEFT - RIGHT) * version / last
        share = (max(accuracy, LOWEST) - LOWEST) / (HIGHEST - LOWEST)
        return x, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
          'font-family="sans-serif" font-size="12" fill="#333">')
    print(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>')
    for tenth in range(5, 11):
        _, y = at(0, tenth / 10)
        print(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
              f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tenth * 10} %</text>')
    for version in range(0, last + 1, max(1, last // 10)):
        x, y = at(version, LOWEST)
        print(f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{version}</text>')
    print(f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">round</text>')
    for index, (label, runs) in enumerate(curves):
        colour = COLOURS[index % len(COLOURS)]
        for run in runs:
            points = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in run)
            print(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        y = HEIGHT - BOTTOM - 12 - 18 * (len(curves) - 1 - index)
        print(f'<text x="{WIDTH - RIGHT - 8}" y="{y}" text-anchor="end" '
              f'fill="{colour}">{label}</text>')
    print("</svg>")


if __name__ == "__main__":
    main()
