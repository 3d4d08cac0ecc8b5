"""Numbers: what computes one is no part of the page, and none breaks in a table."""

import re

from docutils import nodes

#: As tools/numbers.py finds them; a notebook is read here as the text of its file.
COMMENT = re.compile(r"<!-- (?:cpu )?\{(?:(?!-->).)*\} -->")
#: A cell with numbers, signs and units alone: "33.6 / 0.93" or "+2.97 dB".
NUMBERS = re.compile(r"[-+−±~]?\d[\d\s.,:/()%×x+−-]*(?:dB|s|ms|MB|kB|KB|K|M)?")


def strip(app, docname, source):
    source[0] = COMMENT.sub("", source[0])


def mark(app, doctree, docname):
    for entry in doctree.findall(nodes.entry):
        if NUMBERS.fullmatch(entry.astext().strip()):
            entry["classes"].append("number")


def setup(app):
    app.connect("source-read", strip)
    app.connect("doctree-resolved", mark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
