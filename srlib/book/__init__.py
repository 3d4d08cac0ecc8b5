"""What only the book needs; no other room imports it.

- ``plots``, ``charts``, ``tables``: how its figures and tables look;
- ``presets``: how much a chapter computes;
- ``timing``: how its speeds are measured;
- ``results``, ``recorded/``: what the experiments computed, and ``standings``, the
  ladder made of that.
"""
