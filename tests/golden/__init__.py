"""Golden pictures and golden stage outputs: what the pipeline made when they were last accepted.

`make golden` rewrites them.
"""
