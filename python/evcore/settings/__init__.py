"""Settings of `evcore serve` and `evcore bridge`: `options` says what there is, `model` and `mqtt` check it, `source`
reads it.

`options` needs nothing but the standard library, so that the command line can list its options without pydantic.
"""
