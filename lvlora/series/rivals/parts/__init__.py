"""What several rivals are made of.

`standardising` and `smoothing` prepare a history; `choosing` picks settings on it; `delay_maps`
iterates a map of the last few steps; `linear` and `polynomials` are the algebra, with its FLOPs
counted; `bootstrap` draws futures around a forecast. `families` is the library of equations that
`collocation` starts on a history, `rates` integrates and `shooting` fits.
"""
