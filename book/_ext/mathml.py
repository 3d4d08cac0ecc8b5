"""Formulas as MathML, which every current browser draws by itself.

Sphinx's default loads MathJax from another host at every visit; this book
makes no request to another host and opens from a folder on disk.
"""

from docutils import nodes
from latex2mathml.converter import convert


def visit_math(self, node):
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def visit_math_block(self, node):
    self.body.append(
        f'<div class="math-block">{convert(node.astext(), display="block")}</div>'
    )
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer(
        "mathml", (visit_math, None), (visit_math_block, None)
    )
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
