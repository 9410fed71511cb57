"""How Sphinx makes the pages; `python docs/build.py` calls it once for each language."""

import re
from importlib.metadata import version as version_of

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.search import languages
from sphinx.search.zh import SearchChinese

project = "d2lcompute"
author = project_copyright = "The d2lcompute developers"
version = release = version_of("d2lcompute")

extensions = ["myst_nb"]
templates_path = ["theme"]
exclude_patterns = []
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}

nb_execution_mode = "off"  # the notebooks are committed with their outputs
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "html_image", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = [
    "misc.highlighting_failure",  # the messages of errors are no Python
    "mystnb.unknown_mime_type",
]

html_theme = "furo"
html_title = f"d2lcompute {version}"
html_static_path = ["theme/static"]
html_css_files = ["site.css"]
html_js_files = ["switch.js"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "language.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_math_renderer = "mathml"
toc_object_entries_show_parents = "hide"


class Pairs(SearchChinese):
    """Search for pairs of Chinese characters, which needs no dictionary, and for Latin words."""

    language_name = "English"  # of the stemmer for those
    js_splitter_code = r"""
var splitQuery = (query) => (query.match(/\w+|[\u3400-\u9fff]+/g) ?? []).flatMap((run) =>
  /\w/.test(run) || run.length < 3 ? [run] : [...run].slice(1).map((last, at) => run[at] + last));
"""

    def split(self, text):
        """Return the words of a text."""
        latin = self.latin1_letters.findall(text)
        self.latin_terms.update(latin)
        runs = re.findall(r"[\u3400-\u9fff]+", text)
        return latin + [run[at : at + 2] for run in runs for at in range(max(1, len(run) - 1))]


def visit_math(self, node):
    """Write a formula as MathML, which browsers and screen readers know without any script."""
    block = isinstance(node, nodes.math_block)
    markup = tex2mathml(node.astext(), as_block=block)
    self.body.append(f"<div class='math'>{markup}</div>" if block else markup)
    raise nodes.SkipNode


def setup(app):
    """Let formulas be MathML, and Chinese be searched."""
    languages["zh"] = Pairs
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
