"""A rig of links for benchmarks: network namespaces, a shaped link between them, a delay, and changes over time.

`with Rig(rate_bit_s=1e6, rtt_s=0.04) as rig` needs root, `ip` and `tc`; `README.md` shows it in use.
"""
