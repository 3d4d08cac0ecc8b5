"""SVG pictures become part of the page, and take its colours, light or dark.

Of a drawing by matplotlib, black and grey become shares of the text's colour, and
embedded photos become files of their own again.
"""

import hashlib
import re
from base64 import b64decode
from pathlib import Path
from xml.etree import ElementTree

from docutils import nodes

GREY = re.compile(r"#([0-9a-f]{2})\1\1\b")
REFERENCE = re.compile(r"#([\w-]+)")
PNG = "data:image/png;base64,"
DROPPED = ("metadata", "style", "title")


def themed(match: re.Match) -> str:
    """Black is the text's colour, white the page's, a grey lies as far between."""
    share = round(100 - int(match[1], 16) / 2.55)
    return f"color-mix(in srgb, currentColor {share}%, var(--pst-color-background))"


def plain(element: ElementTree.Element) -> None:
    """Names without namespaces, as HTML has them."""
    element.tag = element.tag.rpartition("}")[2]
    for name in list(element.attrib):
        element.attrib[name.rpartition("}")[2]] = element.attrib.pop(name)


def own_names(root: ElementTree.Element, prefix: str) -> None:
    """Every id that something refers to begins with ``prefix``; the others go."""
    refers = [
        (element, name, value)
        for element in root.iter()
        for name, value in element.items()
        if name in ("href", "aria-labelledby") or "url(#" in value
    ]
    used = {key for _, _, value in refers for key in REFERENCE.findall(value)}
    for element in root.iter():
        if key := element.attrib.pop("id", ""):
            element.attrib |= {"id": prefix + key} if key in used else {}
    for element, name, value in refers:
        element.set(name, REFERENCE.sub(rf"#{prefix}\1", value))


def colours(root: ElementTree.Element) -> None:
    root.attrib |= {"fill": "currentColor", "stroke-linejoin": "round"}
    for element in root.iter():
        if "style" in element.attrib:
            element.set("style", GREY.sub(themed, element.get("style")))


def inline(text: str, alt: str, prefix: str, keep=lambda photo: PNG) -> str:
    """An SVG file as HTML; ``keep`` stores an embedded photo and says where."""
    root = ElementTree.fromstring(text)
    for element in root.iter():
        plain(element)
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in DROPPED]:
            parent.remove(child)
    drawn = any(element.get("id") == "figure_1" for element in root.iter())
    photos = [e for e in root.iter("image") if e.get("href", "").startswith(PNG)]
    own_names(root, prefix)
    if drawn:
        colours(root)
    for photo in photos:
        photo.set("href", keep(b64decode(photo.get("href").removeprefix(PNG))))
    wide, high = (float(number) for number in root.get("viewBox").split()[2:])
    if drawn:  # in points
        wide, high = wide / 0.75, high / 0.75
    root.attrib |= {
        "width": f"{wide:g}",
        "height": f"{high:g}",
        "role": "img",
        "aria-label": alt,
    }
    root.set("class", " ".join(["drawing", *["pixels"] * bool(photos)]))
    # No line break of the file's own is left: between words it is a space.
    return re.sub(r"\s*\n\s*", " ", ElementTree.tostring(root, encoding="unicode"))


def replace(app, doctree, docname):
    """Put every SVG picture of a page into it."""
    if app.builder.format != "html":
        return
    folder = Path(app.outdir) / "_images"
    folder.mkdir(parents=True, exist_ok=True)

    def keep(photo: bytes) -> str:
        name = hashlib.sha256(photo).hexdigest()[:16] + ".png"
        (folder / name).write_bytes(photo)
        return "../" * docname.count("/") + f"_images/{name}"

    for number, image in enumerate(list(doctree.findall(nodes.image))):
        path = Path(app.srcdir) / image["uri"]
        if path.suffix == ".svg" and path.is_file():
            text = path.read_text(encoding="utf-8")
            html = inline(text, image.get("alt", ""), f"d{number}-", keep)
            image.replace_self(nodes.raw("", html, format="html"))


def setup(app):
    app.connect("doctree-resolved", replace)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
