"""Your own data frame: a table in memory in, a table of quantiles out.

    python examples/own_data_frame.py

Data frames of polars, tables of pyarrow and dictionaries of columns go in the same way.
"""

from __future__ import annotations

from pathlib import Path

import pandas

import lvlora

FILE = Path(__file__).parent / "hare_lynx.csv"


def main(adapter: str = "none", horizon: int = 5, samples: int = 20) -> pandas.DataFrame:
    """Forecast a table of years, hares and lynxes; return the table of the forecast."""
    frame = pandas.read_csv(FILE)
    forecasts = lvlora.predict(
        frame, horizon, adapter=adapter, samples=samples, columns=["hare", "lynx"]
    )
    table = forecasts.to_frame()
    print(table)
    return table


if __name__ == "__main__":
    main()
