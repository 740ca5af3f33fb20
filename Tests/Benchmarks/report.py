"""What bench.py prints and writes."""

import json

HEADERS = ["model", "threads", "job", "libivg", "llama.cpp", "ratio", "range", ""]


def figure(value: float, unit: str) -> str:
    return f"{value * 1e3:.1f} ms" if unit == "s" else f"{value:.1f}/s"


def remarks(line: dict) -> str:
    parts = []
    if "share_of_bandwidth" in line:
        parts.append(f"{line['share_of_bandwidth']:.0%} of {line['read_bandwidth'] / 1e9:.0f} GB/s")
    if "over_one_row" in line:
        parts.append(f"{line['over_one_row']:.1f}× one row (llama.cpp {line['llama.cpp_over_one_row']:.1f}×)")
    if "over_plain" in line:
        theirs = f" (llama.cpp {line['llama.cpp_over_plain']:.1f}×)" if "llama.cpp_over_plain" in line else ""
        parts.append(f"{line['over_plain']:.1f}× the time of plain{theirs}")
    if line["disturbed"]:
        parts.append(f"{line['disturbed']} of {line['pairs']} pairs disturbed")
    return ", ".join(parts)


def cells(line: dict) -> list[str]:
    return [line["model"], str(line["threads"]), line["job"], figure(line["libivg"], line["unit"]),
            figure(line["llama.cpp"], line["unit"]), f"{line['ratio']:.2f}",
            "{:.2f}–{:.2f}".format(*line["ratios"]), remarks(line)]  # fmt: skip


def memory_text(line: dict) -> str:
    return (
        f"{line['model']}: 16 rows × 64 tokens peak at the file ({line['file'] / 1e6:.0f} MB) "
        f"{line['libivg'] / 1e6:+.0f} MB (llama.cpp {line['llama.cpp'] / 1e6:+.0f} MB)"
    )


def allocations_text(line: dict) -> str:
    return f"{line['model']}: {line['libivg']:g} allocations a token (llama.cpp {line['llama.cpp']:g})"


def remarks_of(report: dict) -> list[str]:
    return [*map(memory_text, report["peak_memory"]), *map(allocations_text, report["allocations"])]


def as_text(line: dict) -> str:
    return "{:5} {:>2}  {:38} {:>10} {:>10} {:>6}  {:11} {}".format(*cells(line))


def print_table(lines: list[dict]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print("\n".join(as_text(line) for line in lines))
        return
    table = Table(*HEADERS)
    for before, line in zip([None, *lines], lines):
        if before and (before["model"], before["threads"]) != (line["model"], line["threads"]):
            table.add_section()
        table.add_row(*cells(line))
    console = Console()
    Console(width=max(console.width, 150)).print(table)


def as_markdown(report: dict) -> str:
    rows = [HEADERS, ["---"] * len(HEADERS), *(cells(line) for line in report["lines"])]
    memory = "\n".join(f"* {text}" for text in remarks_of(report))
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return (
        f"# {report['date']}\n\n{report['processor']}.\n"
        f"A: {report['libivg']}. B: {report['llama.cpp']}.\n`{report['command']}`\n\n{table}\n\n{memory}\n"
    )


def as_json(report: dict) -> str:
    return json.dumps(report, indent=1, ensure_ascii=False)
