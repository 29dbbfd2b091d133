"""Where many answers are cut within their thinking, a line counts them and says what to do."""

import pytest

from rlaif.evaluation.unfinished import unfinished_line

CUT, WHOLE = "<think>\nLet me see", "<think>\n7 or 8?</think>\n7"


@pytest.mark.parametrize(("cut", "whole", "says"), [(1, 9, True), (10, 0, True), (1, 10, False), (0, 0, False)])
def test_the_line_comes_where_a_tenth_is_cut(cut: int, whole: int, says: bool) -> None:
    line = unfinished_line([CUT] * cut + [WHOLE] * whole, 1024, "sampling.max_tokens")
    assert line == (
        f"{cut} of {cut + whole} answers end within their thinking, so nothing of them is judged; raise "
        "sampling.max_tokens (1,024), or turn the thinking off by policy.chat_template_kwargs"
        if says
        else None
    )
