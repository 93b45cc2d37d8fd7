"""Your own data frame: a table in memory in, a table of quantiles out.

    python examples/own_data_frame.py

With pandas installed the table is a pandas data frame; without it, a dictionary of columns. Data
frames of polars and tables of pyarrow go in the same way.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lvlora

FILE = Path(__file__).parent / "hare_lynx.csv"


def load() -> Any:
    """The hares and lynxes as a table: year, hare, lynx."""
    try:
        import pandas
    except ImportError:
        with FILE.open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return {name: [float(row[name]) for row in rows] for name in rows[0]}
    return pandas.read_csv(FILE)


def main(adapter: str = "none", horizon: int = 5, samples: int = 20) -> Any:
    """Forecast the table; returns another one."""
    data = lvlora.from_frame(load(), time_column="year", columns=["hare", "lynx"])
    forecaster = lvlora.open_model("auto" if adapter != "none" else "bundled", adapter)
    forecasts = forecaster.predict(
        list(data), horizon, lvlora.Sampling(samples=samples, seed=0)
    )  # one for each series
    rows = lvlora.to_rows(forecasts, data.variables, (0.1, 0.9), data.time_name)
    try:
        import pandas
    except ImportError:
        table: Any = rows
        for row in rows:
            print(row)
    else:
        table = pandas.DataFrame(rows)
        print(table)
    return table


if __name__ == "__main__":
    main()
