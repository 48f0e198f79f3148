# SPDX-License-Identifier: Apache-2.0
"""Tables in Markdown, and the parts of pages that programs write. For bench/table and bench/learning."""
import sys


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def replaced(tool, part, path, text):
    """The page as it is, and with `text` between the lines <!-- PART:begin --> and <!-- PART:end -->."""
    begin_line, end_line = f"<!-- {part}:begin -->", f"<!-- {part}:end -->"
    content = path.read_text(encoding="utf-8")
    begin, end = content.find(begin_line), content.find(end_line)
    if begin < 0 or end < begin:
        sys.exit(f"{tool}: error: {path}: needs the lines {begin_line} and {end_line}")
    return content, content[: begin + len(begin_line)] + "\n\n" + text + "\n\n" + content[end:]
