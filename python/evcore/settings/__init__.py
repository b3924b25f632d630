"""Settings of `evcore serve`: `options` says what there is, `model` reads and checks it.

`options` needs nothing but the standard library, so that the command line can list its options without pydantic.
"""
