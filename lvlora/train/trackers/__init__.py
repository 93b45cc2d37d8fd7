"""Outside trackers beside a run's own record, and without power over it.

`tracked` is an observer that tells them; `adapters` has one for each. A new tracker is an adapter
of three calls, an entry of `ADAPTERS`, a word of the settings' ``Trackers``, and an extra.
"""
