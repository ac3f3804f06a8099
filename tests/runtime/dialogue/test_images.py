"""Which image is meant where."""

from __future__ import annotations

import pytest
from corral.modelfile.template.conversation import ChatMessage
from corral.runtime.dialogue.images import number_images


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        ([("Hi.", 0)], ["Hi."]),
        ([("What is it?", 1)], ["[img-0]What is it?"]),
        ([("", 1)], ["[img-0]"]),
        ([("Compare.", 3)], ["[img-0][img-1][img-2]Compare."]),
        ([("See [img] here.", 1)], ["See [img-0] here."]),
        ([("[img] or [img]?", 2)], ["[img-0] or [img-1]?"]),
        ([("[img] or [img]?", 1)], ["[img-0] or [img]?"]),
        ([("Only [img].", 3)], ["[img-1][img-2]Only [img-0]."]),
        ([("No [img].", 0)], ["No [img]."]),
        ([("[img-0] [img]", 1)], ["[img-0] [img-0]"]),
        ([("a", 1), ("b", 0), ("c [img]", 2)], ["[img-0]a", "b", "[img-2]c [img-1]"]),
    ],
)
def test_images_are_numbered_over_all_messages(given: list[tuple[str, int]], expected: list[str]) -> None:
    messages = [ChatMessage("user", text, images=count) for text, count in given]
    numbered = number_images(messages)
    assert [message.content for message in numbered] == expected
    assert [message.images for message in numbered] == [count for _, count in given]
