"""Profiles as data: dicts and JSON, a trace for Perfetto, a page for the browser."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kroton.compile.profiling.memory import memory_of
from kroton.compile.profiling.records import ApplyRecord, FunctionRecord
from kroton.compile.profiling.stats import ProfileStats
from kroton.picture import Node, Scene, write_page


def _rates(profile: ProfileStats, record: ApplyRecord) -> dict[str, float]:
    each = record.seconds / record.runs if record.runs else 0.0
    moved, flops = record.moved(), record.flops()
    dtype = record.dtypes[len(record.inputs)] if record.outputs else ""
    rate, work = (moved / each, flops / each) if each > 0 else (0.0, 0.0)
    return {
        "seconds_per_run": each,
        "bytes_moved": moved,
        "flops": flops,
        "bytes_per_second": rate,
        "of_copy": rate / profile.limits.copy,
        "flops_per_second": work,
        "of_gemm": work / profile.limits.gemm(dtype),
    }


def _apply(profile: ProfileStats, record: ApplyRecord) -> dict[str, Any]:
    n = len(record.inputs)
    shapes = [None if s is None else list(s) for s in record.latest_shapes]
    return {
        "position": record.position,
        "op": record.name,
        "class": record.class_name,
        "implementation": record.implementation,
        "seconds": record.seconds,
        "runs": record.runs,
        "input_types": record.types[:n],
        "output_types": record.types[n:],
        "input_shapes": shapes[:n],
        "output_shapes": shapes[n:],
        "output_bytes": record.output_bytes(),
        "reuses": ("in place" if record.destroys else "view") if record.aliases else "",
        "source": record.source,
        **_rates(profile, record),
    }


def to_dict(profile: ProfileStats) -> dict[str, Any]:
    """Everything that `profile` holds, as plain data."""
    functions = []
    for label, f in zip(profile.labels(), profile.functions):
        memory = memory_of(f)
        functions.append({
            "name": label,
            "calls": f.calls,
            "failed": f.failed,
            "call_seconds": f.seconds,
            "thunk_seconds": f.thunk_seconds(),
            "first_call_seconds": f.first[0],
            "first_thunk_seconds": f.first[1],
            "overhead_seconds": max(f.seconds - f.thunk_seconds(), 0.0),
            "compile": {
                "seconds": f.compile_seconds,
                "phases": dict(f.phases),
                "passes": {name: asdict(cost) for name, cost in f.passes.items()},
                "rules": [
                    {"pass": name, "rule": rule, **asdict(cost)}
                    for (name, rule), cost in f.rules.items()
                ],
            },
            "memory": {**asdict(memory), "saved": memory.saved},
            "applys": [_apply(profile, record) for record in f.refresh()],
        })  # fmt: skip
    return {
        "calls": profile.calls,
        "failed": profile.failed,
        "call_seconds": profile.call_time,
        "local_time": profile.local_time,
        "compile_seconds": profile.compile_time,
        "limits": asdict(profile.limits),
        "ops": [asdict(total) for total in profile.by_op()],
        "classes": [asdict(total) for total in profile.by_class()],
        "functions": functions,
    }


def to_json(profile: ProfileStats, path: Any = None) -> str:
    """`to_dict` as JSON text, written to `path` if there is one."""
    text = json.dumps(to_dict(profile), indent=1)
    if path is not None:
        Path(path).write_text(text, "utf-8")
    return text


def write_trace(profile: ProfileStats, path: Any) -> None:
    """Write the latest call of each function in Chrome's trace event format.

    The format is described in Google's document "Trace Event Format"; times are microseconds, from
    the start of each call.
    """
    events: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": "Kroton: latest calls"}}
    ]
    for k, (label, f) in enumerate(zip(profile.labels(), profile.functions)):
        events.append({
            "name": "thread_name", "ph": "M", "pid": 1, "tid": k + 1, "args": {"name": label},
        })  # fmt: skip
        applys = f.refresh()
        latest = f.timings.latest
        called, returned = f.timings.latest_call
        if f.calls + f.failed == 0:
            continue
        events.append({
            "name": label, "cat": "call", "ph": "X", "pid": 1, "tid": k + 1, "ts": 0.0,
            "dur": (returned - called) * 1e6,
            "args": {"calls": f.calls, "failed": f.failed, "call_seconds": f.seconds},
        })  # fmt: skip
        for record, (start, end) in zip(applys, latest):
            if start < called:  # not in this call, which failed before
                continue
            events.append({
                "name": record.name, "cat": record.implementation, "ph": "X", "pid": 1,
                "tid": k + 1, "ts": (start - called) * 1e6, "dur": (end - start) * 1e6,
                "args": {
                    "position": record.position, "class": record.class_name,
                    "shapes": str(record.latest_shapes), "source": record.source,
                    "total_seconds": record.seconds, "runs": record.runs,
                },
            })  # fmt: skip
    totals = to_dict(profile)
    other = {name: totals[name] for name in ("calls", "call_seconds", "local_time")}
    text = json.dumps({"traceEvents": events, "displayTimeUnit": "ns", "otherData": other})
    Path(path).write_text(text, "utf-8")


# ---- the page ------------------------------------------------------------------------------


def scene_of_record(profile: ProfileStats, function: FunctionRecord, name: str) -> Scene:
    """The picture of a profiled function, its Applys weighted by time."""
    scene = Scene(name)
    applys = function.refresh()
    whole_of_all = profile.local_time
    most = max((record.seconds for record in applys), default=0.0)
    whole = function.thunk_seconds()
    numbers: dict[int, int] = {}
    for k, record in enumerate(applys):
        n = len(record.inputs)
        rates = _rates(profile, record)
        shapes = record.latest_shapes or (None,) * len(record.types)
        described = [f"{t} {s if s is not None else ''}" for t, s in zip(record.types, shapes)]
        sizes = record.nbytes(record.latest_shapes) or [0] * len(record.types)
        share = record.seconds / whole if whole else 0.0
        of_all = record.seconds / whole_of_all if whole_of_all else 0.0
        details: dict[str, Any] = {
            "Op": record.name, "class": record.class_name, "time": {"time": record.seconds},
            "of this function": {"share": share}, "of all functions": {"share": of_all},
            "runs": record.runs,
            "per run": {"time": rates["seconds_per_run"]},
            "inputs": described[:n], "outputs": described[n:],
            "output size": {"bytes": sum(sizes[n:])},
            "moved": {"rate": rates["bytes_per_second"]},
            "computed": {"flops": rates["flops_per_second"]},
            "reuses": ("in place" if record.destroys else "a view") if record.aliases else "no",
            "source": record.source,
        }  # fmt: skip
        weight = record.seconds / most if most else 0.0
        scene.nodes.append(Node(record.name, "apply", details, record.implementation, k, weight))
        for variable in record.outputs:
            numbers[variable] = k

    def number(variable: int) -> int:
        kind = function.kinds[variable]
        if kind == "constant" or variable not in numbers:
            numbers[variable] = len(scene.nodes)
            label = function.variables[variable] or f"variable {variable}"
            scene.nodes.append(Node(label, kind, {}))
        return numbers[variable]

    for k, record in enumerate(applys):
        for variable, type_ in zip(record.inputs, record.types):
            label = f"{function.variables[variable]} {type_}".strip()
            scene.edges.append((number(variable), k, label))
    for position, variable in enumerate(function.results):
        scene.nodes.append(Node(f"output {position}", "output", {}))
        end = len(scene.nodes) - 1
        scene.edges.append((number(variable), end, ""))
    return scene


def _table(title: str, columns: list[tuple[str, str]], rows: list[list[Any]]) -> dict[str, Any]:
    """A table of the page; what a row has beyond the columns is not shown."""
    heads = [{"name": name, "kind": kind} for name, kind in columns]
    return {"title": title, "columns": heads, "rows": rows}


def _tables(profile: ProfileStats) -> list[dict[str, Any]]:
    data = to_dict(profile)
    whole = data["local_time"] or 1.0
    applys = [
        [
            a["seconds"] / whole, a["seconds"], a["seconds_per_run"], a["runs"], a["position"],
            a["op"], a["implementation"], a["output_bytes"], a["bytes_per_second"], a["of_copy"],
            a["flops_per_second"], a["of_gemm"], f["name"], a["source"], k,
        ]
        for k, f in enumerate(data["functions"]) for a in f["applys"]
    ]  # fmt: skip
    applys.sort(key=lambda row: -row[1])

    def totals(entries: list[dict[str, Any]]) -> list[list[Any]]:
        return [
            [
                t["seconds"] / whole, t["seconds"], t["seconds"] / max(t["calls"], 1), t["calls"],
                t["applys"], t["name"], "c" if t["c"] else "py",
            ]
            for t in entries
        ]  # fmt: skip

    kinds = [
        ("of all", "share"), ("time", "time"), ("per call", "time"), ("calls", "int"),
        ("Applys", "int"), ("name", "text"), ("impl", "text"),
    ]  # fmt: skip
    functions = []
    for f, record in zip(data["functions"], profile.functions):
        n, later, thunks = record.steady()
        functions.append([
            f["name"], f["calls"], f["failed"], f["call_seconds"], f["first_call_seconds"],
            later / max(n, 1), thunks / max(n, 1), max(later - thunks, 0.0) / max(n, 1),
            f["compile"]["seconds"], f["memory"]["peak"], f["memory"]["kept"],
            f["memory"]["separate"], f["memory"]["saved"],
        ])  # fmt: skip
    phases = sorted(profile.phases().items(), key=lambda item: -item[1])
    passes = [
        [name, cost.seconds, cost.calls, cost.replacements]
        for name, cost in sorted(profile.passes().items(), key=lambda item: -item[1].seconds)
    ]
    rules = [
        [rule, phase, cost.seconds, cost.calls, cost.replacements]
        for (phase, rule), cost in sorted(
            profile.rules().items(), key=lambda item: -item[1].seconds
        )
    ]
    return [
        _table(
            "Applys",
            [
                ("of all", "share"), ("time", "time"), ("per run", "time"), ("runs", "int"),
                ("Apply", "int"), ("Op", "text"), ("impl", "text"), ("output", "bytes"),
                ("moved", "rate"), ("of copy", "share"), ("computed", "flops"),
                ("of gemm", "share"), ("function", "text"), ("source", "source"),
            ],
            applys,
        ),
        _table("Ops", kinds, totals(data["ops"])),
        _table("Classes", kinds, totals(data["classes"])),
        _table(
            "Functions",
            [
                ("function", "text"), ("calls", "int"), ("failed", "int"), ("in calls", "time"),
                ("first call", "time"), ("per later call", "time"), ("thunks/call", "time"),
                ("overhead/call", "time"),
                ("compiling", "time"), ("peak memory", "bytes"), ("unfreed", "bytes"),
                ("no reuse", "bytes"), ("saved", "bytes"),
            ],
            functions,
        ),
        _table("Phases", [("phase", "text"), ("time", "time")], [list(pair) for pair in phases]),
        _table(
            "Passes",
            [("pass", "text"), ("time", "time"), ("runs", "int"), ("replaced", "int")],
            passes,
        ),
        _table(
            "Rules",
            [
                ("rule", "text"), ("pass", "text"), ("time", "time"), ("tried", "int"),
                ("replaced", "int"),
            ],
            rules,
        ),
    ]  # fmt: skip


def write_html(profile: ProfileStats, path: Any) -> None:
    """Write the page."""
    graphs = []
    for label, f in zip(profile.labels(), profile.functions):
        graph = scene_of_record(profile, f, label).as_dict()
        latest = f.timings.latest
        called, _ = f.timings.latest_call
        # A call that failed has not run them all.
        ran = [k for k, record in enumerate(f.applys) if record.runs and latest[k][0] >= called]
        start = min((latest[k][0] for k in ran), default=0.0)
        graph["timeline"] = [[k, latest[k][0] - start, latest[k][1] - start] for k in ran]
        graphs.append(graph)
    limits = profile.limits
    facts = [
        ["functions", {"int": len(profile.functions)}], ["calls", {"int": profile.calls}],
        *([["failed", {"int": profile.failed}]] if profile.failed else []),
        ["in calls", {"time": profile.call_time}], ["in thunks", {"time": profile.local_time}],
        ["compiling", {"time": profile.compile_time}],
        ["this machine copies", {"rate": limits.copy}],
        ["and multiplies matrices at", {"flops": limits.gemm64}],
        ["in float32 at", {"flops": limits.gemm32}],
    ]  # fmt: skip
    data = {"graphs": graphs, "tables": _tables(profile), "facts": facts}
    write_page(path, "Kroton profile", data)
