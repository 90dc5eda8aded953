"""Every function that Polars has: nothing whose values change with the cut may be accepted."""

import pytest

from streame.core.row_wise import require_row_wise
from streame.errors import PlanError
from tests.core.expression_calls import FRAME, calls, raises, same_however_cut


@pytest.mark.filterwarnings("ignore")  # deprecated functions are tried as well
def test_no_function_that_changes_with_the_cut_is_accepted() -> None:
    wrong, accepted, methods = [], 0, set()
    for method, expr in calls():
        methods.add(method)
        try:
            require_row_wise(expr, FRAME.schema, where="select", length="any")
        except PlanError:
            continue
        accepted += 1
        same = same_however_cut(expr)
        if (
            same is None
        ):  # it cannot be computed: that must be so because of some row, not of the number of rows
            same = any(raises(FRAME[i : i + 1], expr) for i in range(FRAME.height))
        if not same:
            wrong.append((method, str(expr)))
    assert not wrong
    assert len(methods) > 300
    assert accepted > 1000
