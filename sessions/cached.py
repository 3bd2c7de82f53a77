"""A property that is computed once for each object, without a lock.

Before Python 3.12, that of `functools` has one lock for all objects of a class. A child that is
forked while another thread computes the property would wait for that lock for ever.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property
else:

    class cached_property:  # noqa: N801  as that of `functools`
        """A method whose result is kept in the object's `__dict__`, where it is found first."""

        def __init__(self, compute: Any) -> None:  # noqa: ANN401  any method
            self._compute = compute
            self.__doc__ = compute.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self._name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:  # noqa: ANN401  any object
            if instance is None:
                return self
            value = vars(instance)[self._name] = self._compute(instance)
            return value


__all__ = ["cached_property"]
