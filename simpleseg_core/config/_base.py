"""The base of every configuration model: frozen, strict about unknown keys, documented by its field docstrings."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One section of params.yaml; an unknown key is an error and values never change after validation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)
