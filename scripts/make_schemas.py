"""Write docs/schemas/, the JSON Schema of every answer of --json, from the models.

Usage: python scripts/make_schemas.py [FOLDER]

A test compares the files with what this script would write.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from lvlora.schemas import ANSWERS

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"


class _Untitled(GenerateJsonSchema):
    """Without the title of each key, which only says its name again."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def files() -> dict[str, str]:
    """Name of a file → its text."""
    made = {}
    for name, model in ANSWERS.items():
        schema = model.model_json_schema(schema_generator=_Untitled)
        whole = {"$schema": _Untitled.schema_dialect, **schema}
        made[f"{name}.json"] = json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
    return made


def write(folder: Path) -> None:
    """Make the folder hold exactly the files."""
    folder.mkdir(parents=True, exist_ok=True)
    made = files()
    for old in folder.glob("*.json"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
