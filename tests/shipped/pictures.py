"""Draws the dashboards from what Prometheus answers to their queries, panel by panel, without Grafana.

Only for docs/pictures, by `live.py TOOLS DAEMON --pictures docs/pictures`; needs matplotlib and Pillow.
"""

import datetime
import io
import re
import textwrap

import check
import matplotlib

matplotlib.use("svg")
from matplotlib import dates, pyplot  # noqa: E402
from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: E402
from PIL import Image  # noqa: E402

COLUMN, LINE, DPI = 0.68, 0.42, 72  # inches per unit of Grafana's grid
VALUES = {"instance": "db1.example.com:19845", "vg": ".*", "mountpoint": ".*", "__range": "5m", "__rate_interval": "15s"}
# Grafana's, in its order.
pyplot.rcParams["axes.prop_cycle"] = pyplot.cycler(color=["#5aa64f", "#d9b400", "#5794f2", "#ff780a", "#e02f44", "#8f3bb8", "#37872d"])
COLOURS = {"green": "#3a8f3a", "orange": "#e08400", "red": "#c4162a", "blue": "#1f60c4"}


def shown(value, unit, mappings=()):
    for mapping in mappings:
        text = mapping["options"].get(f"{value:g}")
        if text:
            return text["text"]
    if unit == "bytes":
        for factor, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
            if abs(value) >= factor:
                return f"{value / factor:.4g} {name}"
        return f"{value:g} B"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "percent":
        return f"{value:.3g} %"
    if unit == "dateTimeAsIso":
        return datetime.datetime.fromtimestamp(value / 1000).strftime("%Y-%m-%d %H:%M")
    if unit == "s":
        for factor, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
            if abs(value) >= factor:
                return f"{value / factor:.3g} {name}"
        return f"{1000 * value:.3g} ms" if value else "0 s"
    return f"{value:.3g}"


def colour(value, steps):
    found = steps[0]["color"]
    for step in steps[1:]:
        if value >= step["value"]:
            found = step["color"]
    return COLOURS[found]


class Board:
    def __init__(self, world, board, recorded_too):
        self.world, self.board, self.recorded_too = world, board, recorded_too

    def ask(self, target, values):
        expr = target["expr"]
        for name, value in values.items():
            expr = expr.replace(f"${name}", value)
        return self.world.query(expr) if target["instant"] else self.world.history(expr, "500ms")

    def legend(self, target, labels):
        text = target["legendFormat"]
        if text == "__auto":
            return ", ".join(labels.values())
        return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), text)

    def draw(self, file):
        panels = self.expanded()
        height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels)
        figure = pyplot.figure(figsize=(24 * COLUMN, height * LINE), facecolor="#f4f5f5")
        figure.text(0.006, 1 - 0.3 / (height * LINE), self.board["title"], fontsize=1, color="#f4f5f5")
        for panel in panels:
            at = panel["gridPos"]
            x, w = at["x"] / 24, at["w"] / 24
            y, h = 1 - (at["y"] + at["h"]) / height, at["h"] / height
            if panel["type"] == "row":
                figure.text(x + 0.006, y + h / 3, panel["title"], fontsize=11, weight="bold")
                continue
            pad = 0.05 / (height * LINE)
            box = pyplot.Rectangle((x + 0.002, y + pad), w - 0.004, h - 2 * pad, transform=figure.transFigure, facecolor="white",
                                   edgecolor="#dcdcdc", zorder=-1)
            figure.add_artist(box)
            figure.text(x + 0.007, y + h - 0.24 / (height * LINE), panel["title"], fontsize=9, weight="bold", va="center")
            getattr(self, panel["type"])(figure, panel, (x, y, w, h), height * LINE)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, facecolor=figure.get_facecolor())
        pyplot.close(figure)
        # Few colours are enough, and a third of the size.
        Image.open(buffer).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)

    def expanded(self):
        """Panels that are repeated once per value, as Grafana does it; and what is below moves down."""
        made, moved = [], 0
        for panel in self.board["panels"]:
            panel = dict(panel, gridPos=dict(panel["gridPos"], y=panel["gridPos"]["y"] + moved))
            if "repeat" not in panel:
                made.append(panel)
                continue
            host = VALUES["instance"]
            places = sorted(s["metric"]["mountpoint"] for s in self.world.query(f'lvm_filesystem_size_bytes{{instance="{host}"}}'))
            each = 24 // 3
            for index, place in enumerate(places):
                column, line = index % 3, index // 3
                at = dict(panel["gridPos"], w=each, x=column * each, y=panel["gridPos"]["y"] + line * panel["gridPos"]["h"])
                made.append(dict(panel, gridPos=at, title=panel["title"].replace("$mountpoint", place), values=VALUES | {"mountpoint": place}))
            moved += panel["gridPos"]["h"] * ((len(places) - 1) // 3)
        return made

    def stat(self, figure, panel, at, inches):
        x, y, w, h = at
        found = self.ask(panel["targets"][0], VALUES)
        defaults = panel["fieldConfig"]["defaults"]
        value = float(found[0]["value"][1]) if found else None
        text = "No data" if value is None else shown(value, defaults["unit"], defaults.get("mappings", ()))
        figure.text(x + w / 2, y + h * 0.38, text, fontsize=20, ha="center", va="center",
                    color="#888888" if value is None else colour(value, defaults["thresholds"]["steps"]))

    def timeseries(self, figure, panel, at, inches):
        x, y, w, h = at
        axes = figure.add_axes((x + 0.045 if w > 0.2 else x + 0.04, y + 0.95 / inches, w - 0.06, h - 1.45 / inches))
        custom, unit = panel["fieldConfig"]["defaults"]["custom"], panel["fieldConfig"]["defaults"]["unit"]
        lines = 0
        values = panel.get("values", VALUES)
        series = [(target, each) for target in panel["targets"] for each in self.ask(target, values)]
        if not series and self.recorded_too:
            values = dict(values, instance="recorded.example.com:19845")
            series = [(target, each) for target in panel["targets"] for each in self.ask(target, values)]
            figure.text(x + w - 0.007, y + h - 0.24 / inches, "recorded host", fontsize=7, ha="right", va="center", color="#888888")
        for target, each in series:
            points = [(float(t), float(v)) for t, v in each["values"] if v not in ("NaN", "+Inf", "-Inf")]
            legend = self.legend(target, each["metric"])
            if not points:
                continue
            moments = [self.moment(t) for t, _ in points]
            numbers = [v for _, v in points]
            if custom["drawStyle"] == "bars":
                if max(numbers) > 0:
                    axes.bar(moments, numbers, width=1 / 24 / 60, label=legend)
                    lines += 1
                continue
            style = {"linestyle": "--", "color": COLOURS["orange"]} if legend.startswith("grows above") else {}
            axes.plot(moments, numbers, label=f"{legend}  {shown(numbers[-1], unit)}", linewidth=1.2,
                      drawstyle="steps-post" if custom.get("lineInterpolation") or legend in ("volume", "capacity as df counts it") else "default", **style)
            lines += 1
        if "values" in panel or panel["title"] in ("Size of volumes", "Operations that ended"):
            place = values["mountpoint"]
            on = f'and on (vg, lv) lvm_filesystem_size_bytes{{mountpoint=~"{place}"}}'
            for each in self.world.history(f'lvm_autoscaler_operations_total{{outcome="grown"}} {on}', "250ms"):
                for (_, a), (t, b) in zip(each["values"], each["values"][1:]):
                    if b > a:
                        axes.axvline(self.moment(t), color=COLOURS["blue"], linewidth=0.8, alpha=0.6)
        low = panel["fieldConfig"]["defaults"].get("min")
        if low is not None:
            axes.set_ylim(bottom=low)
        if unit == "bytes":
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 4, 8, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit)))
        axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.tick_params(labelsize=7, length=2)
        axes.grid(color="#eeeeee")
        for side in axes.spines.values():
            side.set_visible(False)
        if lines:
            axes.legend(fontsize=6.5, loc="upper left", bbox_to_anchor=(-0.08, -0.12), ncols=max(1, min(2, lines)) if w < 0.4 else 3, frameon=False)
        else:
            axes.text(0.5, 0.5, "No data", transform=axes.transAxes, ha="center", color="#888888")

    def moment(self, at):
        """On the clock of the simulated host, which is 60 times as fast and began at noon."""
        hours = (float(at) - self.world.began) * 60 / 3600
        return dates.date2num(datetime.datetime(2026, 1, 1, 12) + datetime.timedelta(hours=hours))

    def bargauge(self, figure, panel, at, inches):
        x, y, w, h = at
        found = self.ask(panel["targets"][0], VALUES)
        axes = figure.add_axes((x + 0.07, y + 0.3 / inches, w - 0.12, h - 0.85 / inches))
        defaults = panel["fieldConfig"]["defaults"]
        for index, each in enumerate(found):
            value = float(each["value"][1])
            axes.barh(index, 1, color="#eeeeee", height=0.5)
            axes.barh(index, value, color=colour(value, defaults["thresholds"]["steps"]), height=0.5)
            axes.text(1.01, index, shown(value, defaults["unit"]), fontsize=9, va="center")
        axes.set_yticks(range(len(found)), [self.legend(panel["targets"][0], each["metric"]) for each in found], fontsize=8)
        axes.set_ylim(-0.6, max(1.6, len(found) - 0.4))
        axes.set_xlim(0, 1)
        axes.set_xticks([])
        for side in axes.spines.values():
            side.set_visible(False)

    def table(self, figure, panel, at, inches):
        x, y, w, h = at
        organize = panel["transformations"][1]["options"]
        order = sorted(organize["renameByName"], key=organize["indexByName"].get)
        overrides = {each["matcher"]["options"]: {p["id"]: p["value"] for p in each["properties"]} for each in panel["fieldConfig"]["overrides"]}
        rows = {}
        for target in panel["targets"]:
            for each in self.ask(target, VALUES):
                labels = {key: value for key, value in each["metric"].items() if key in organize["renameByName"]}
                row = rows.setdefault(tuple(sorted(labels.items())), dict(labels))
                row["Value" if len(panel["targets"]) == 1 else f"Value #{target['refId']}"] = float(each["value"][1]) * (60 if "time_to_full" in target["expr"] else 1)
        sort = panel["options"].get("sortBy", [{}])[0]
        back = {heading: name for name, heading in organize["renameByName"].items()}
        if sort:
            key = back[sort["displayName"]]
            rows = dict(sorted(rows.items(), key=lambda item: (item[1].get(key) is None, item[1].get(key, 0)), reverse=sort["desc"]))
        used = [name for name in order if any(name in row for row in rows.values())] or order
        weights = [2.2 if name in ("instance", "alertname") else 1 for name in used]
        starts = [sum(weights[:i]) / sum(weights) for i in range(len(used))]
        top, line = y + h - 0.62 / inches, 0.27 / inches
        for start, name in zip(starts, used):
            heading = textwrap.shorten(organize["renameByName"][name], 24, placeholder="…")
            figure.text(x + 0.007 + start * (w - 0.014), top, heading, fontsize=7.5, color="#1f60c4")
        fitting = int((h - 0.8 / inches) / line)
        for index, row in enumerate(list(rows.values())[:fitting]):
            for start, name in zip(starts, used):
                value, how = row.get(name), overrides.get(organize["renameByName"][name], {})
                ink = "black"
                if isinstance(value, float):
                    if "thresholds" in how:
                        ink = colour(value, how["thresholds"]["steps"])
                    value = shown(value, how.get("unit"), how.get("mappings", ()))
                figure.text(x + 0.007 + start * (w - 0.014), top - (index + 1) * line, value or "", fontsize=7.5, color=ink)


def draw(world, folder):
    folder.mkdir(parents=True, exist_ok=True)
    VALUES["instance"] = "db1.example.com:19845"
    for file, board in check.dashboards().items():
        if "fleet" in file.name:
            board_values = dict(VALUES)
            VALUES["instance"] = ".*"
        Board(world, board, recorded_too="host" in file.name).draw(folder / f"{file.stem}.png")
        if "fleet" in file.name:
            VALUES.update(board_values)
