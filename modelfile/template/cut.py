"""Cut: a template without what stands after `.Response`, so that the model goes on there. Pure.

What Ollama (v0.33, template.go) takes away is imitated to the letter: a list, an action or an argument goes when it comes
after the first field `Response` in the order of the text; what `if`, `range` and `with` test is not looked at.
"""

from __future__ import annotations

from lark import Token, Tree

from .errors import TemplateError


def cut(tree: Tree[Token]) -> Tree[Token]:
    """The template's tree without what comes after. Raises TemplateError where Ollama fails."""
    kept = _Cut().walk(tree)
    assert kept is not None
    return kept


class _Cut:
    def __init__(self) -> None:
        self._found = False

    def walk(self, tree: Tree[Token]) -> Tree[Token] | None:
        """What is left of a part, None for nothing."""
        if tree.data == "field" and "Response" in str(tree.children[0]).split("."):
            self._found = True
            return tree
        if self._found:
            return None
        match tree.data:
            case "list" | "pipeline" | "command":
                walked = [*map(self.walk, _trees(tree))]
                kept = [one for one in walked if one]
                is_gone = len(kept) < len(walked) if tree.data == "pipeline" else not kept and tree.data == "command"
                return None if is_gone else Tree(tree.data, [*kept])
            case "action" | "declare" | "assign":
                *before, last = tree.children
                inner = self.walk(last) if isinstance(last, Tree) else None
                return Tree(tree.data, [*before, inner]) if inner else None
            case "if_" | "with_" | "range_" | "else_if" | "else_with":
                condition, body, *otherwise = _trees(tree)
                branches = [self.walk(body), *(self._otherwise(one) for one in otherwise)]
                return Tree(tree.data, [condition, *(one for one in branches if one)])
            case "else_":
                return Tree(tree.data, [one for one in map(self.walk, _trees(tree)) if one])
            case _:
                return tree

    def _otherwise(self, tree: Tree[Token]) -> Tree[Token] | None:
        if self._found:
            why = "`.Response` stands in a branch that has an else, which Ollama cannot cut off"
            raise TemplateError(why, hint="write `.Response` once, outside of if, range and with, or use `.Messages`")
        return self.walk(tree)


def _trees(tree: Tree[Token]) -> list[Tree[Token]]:
    return [child for child in tree.children if isinstance(child, Tree)]
