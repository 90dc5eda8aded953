"""What other libraries say went wrong, short enough for a message of ours."""


def first_paragraph(error: BaseException) -> str:
    """The first paragraph of an error's text, without the pages that Polars adds; its kind where it says nothing."""
    return str(error).split("\n\n", 1)[0].strip() or type(error).__name__
