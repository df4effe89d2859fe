"""Checks what the documents point at: links, functions, tables.

Needs nothing but Python's standard library.
"""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[([^\]\[]+)\]\(([^)\s]+)\)")
IDENTIFIER = re.compile(r"[A-Za-z_]\w*(::[A-Za-z_]\w*)*$")
# Documents in folders of other people or of builds are not ours.
FOREIGN = {"build", "node_modules", ".git", ".cache"}


def documents():
    """Every Markdown file of the tree, as paths from the root."""
    for top in sorted(ROOT.iterdir()):
        if top.suffix == ".md":
            yield top.relative_to(ROOT)
        elif top.is_dir() and top.name not in FOREIGN:
            for path in sorted(top.rglob("*.md")):
                yield path.relative_to(ROOT)


def prose(text):
    """Markdown without fenced blocks and code spans, which hold no links."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(text):
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-")
            for h in headings}


def link_faults(name, text, read):
    """Links of document `name` that lead nowhere. `read` gives the text of a
    path from the root, "" for a directory, None when there is nothing."""
    faults = []
    for _, target in LINK.findall(prose(text)):
        if re.match(r"(https?|mailto):", target):
            continue
        path, _, anchor = target.partition("#")
        goal = name
        if path:
            goal = pathlib.Path(*_resolve(name.parent, path))
        found = text if goal == name else read(goal)
        if found is None:
            faults.append(f"{name}: {target} is not there")
        elif re.match(r"L\d", anchor):
            faults.append(f"{name}: {target}: lines move, link the file")
        elif anchor and anchor not in anchors(found):
            faults.append(f"{name}: {target}: no such heading")
    return faults


def _resolve(folder, path):
    parts = []
    for part in [*folder.parts, *path.split("/")]:
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return parts


def defines(source, symbol):
    """Whether C++ `source` defines function or type `symbol`: the name begins
    a line or follows a return type there, so calls do not count."""
    name = re.escape(symbol)
    function = rf"^(?:[A-Za-z][^;=()\n]*[\s*&])?{name}\("
    kind = rf"^(?:class|struct|enum class) {name}\b[^;]*\{{"
    return bool(re.search(f"{function}|{kind}", source, re.MULTILINE))


def symbol_faults(name, text, read):
    """Functions linked by document `name` that do not stand in the file."""
    faults, seen = [], 0
    for symbol, target in LINK.findall(prose(text)):
        if not re.search(r"\.(cc|h)$", target):
            continue
        seen += 1
        goal = pathlib.Path(*_resolve(name.parent, target))
        if not IDENTIFIER.match(symbol):
            faults.append(f"{name}: [{symbol}] names no function of {goal}")
        elif not defines(read(goal) or "", symbol):
            faults.append(f"{name}: {goal} does not define {symbol}")
    return faults, seen


def read_tree(path):
    full = ROOT / path
    if full.is_dir():
        return ""
    return full.read_text() if full.is_file() else None


class LinksTest(unittest.TestCase):
    def test_every_link_leads_somewhere(self):
        faults, seen = [], 0
        for name in documents():
            seen += 1
            faults += link_faults(name, read_tree(name), read_tree)
        self.assertGreater(seen, 20)
        self.assertEqual(faults, [], "\n" + "\n".join(faults))

    def test_every_function_of_the_data_flow_stands_in_its_file(self):
        name = pathlib.Path("docs/data-flow.md")
        faults, seen = symbol_faults(name, read_tree(name), read_tree)
        self.assertGreater(seen, 50)
        self.assertEqual(faults, [], "\n" + "\n".join(faults))

    def test_the_table_of_errors_is_that_of_the_code(self):
        code = re.findall(r"\{ErrorKind::k\w+, \"(\w+)\", (\d)\}",
                          read_tree("base/status.cc"))
        table = re.findall(r"^\| `(\w+)` \| (\d) \|",
                           read_tree("docs/reference/errors.md"), re.MULTILINE)
        self.assertGreater(len(code), 5)
        self.assertEqual(table, code)


class RuleTest(unittest.TestCase):
    """The rules themselves find what is planted."""

    TREE = {pathlib.Path("docs/a.md"): "# One two: three\n",
            pathlib.Path("docs"): "",
            pathlib.Path("base/x.cc"):
                "namespace {\nint Near(int a) {\n  return Far(a);\n}\n}\n"
                "absl::StatusOr<int>\nRun::Far(int a) {\n  Call(a);\n}\n"
                "class Later;\nclass Round final : public A {\n};\n"}
    NAME = pathlib.Path("docs/b.md")

    def links(self, text):
        return link_faults(self.NAME, text, self.TREE.get)

    def symbols(self, text):
        return symbol_faults(self.NAME, text, self.TREE.get)[0]

    def test_finds_links_that_lead_nowhere(self):
        for text in ["[x](gone.md)", "[x](../a.md)", "[x](a.md#two)",
                     "[x](#nothing)", "[x](../base/x.cc#L3)", "[x](/docs/a.md#b)"]:
            self.assertEqual(len(self.links(text)), 1, text)

    def test_lets_good_links_pass(self):
        for text in ["[x](a.md)", "[x](a.md#one-two-three)", "[x](../docs/)",
                     "[x](https://example.org/gone.md)", "`[x](gone.md)`",
                     "```\n[x](gone.md)\n```\n", "# Here\n[x](#here)"]:
            self.assertEqual(self.links(text), [], text)

    def test_finds_functions_that_are_not_there(self):
        for name in ["Call", "Far", "Run::Near", "Later", "Roun", "two words"]:
            self.assertEqual(len(self.symbols(f"[{name}](../base/x.cc)")), 1,
                             name)

    def test_lets_defined_functions_pass(self):
        for name in ["Near", "Run::Far", "Round"]:
            self.assertEqual(self.symbols(f"[{name}](../base/x.cc)"), [], name)


if __name__ == "__main__":
    unittest.main()
