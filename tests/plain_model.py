"""The rules of customer sessions implemented again, on plain dicts, without the library's code."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from decimal import Decimal
from typing import Any

Dict = dict[str, Any]


class No(Exception):  # noqa: N818  an answer
    """The model's answer to a command that breaks a rule: the name of the refusal."""


def _no(refusal: str, *, when: bool) -> None:
    if when:
        raise No(refusal)


def _money(text: str) -> Decimal:
    value = Decimal(text)
    _no("InvalidValue", when=value < 0)
    _no("LimitExceeded", when=value >= 10**12 or round(value, 6) != value)
    return value.normalize()


def _new(session_id: str, now: str) -> Dict:
    return {
        "integrationId": session_id,
        "created": now,
        "applicationId": 1,
        "updateCount": 0,
        "discounts": {},
        "attributes": {},
        "cartItems": [],
    }


class Model:
    """Sessions as dicts, much as they are shown; `declared` is a declared total."""

    def __init__(self) -> None:
        self.sessions: dict[str, Dict] = {}
        self.first: dict[str, str] = {}
        self.attached: list[tuple[str, str]] = []
        self.s: Dict = {}
        self.c: Dict = {}

    def ask(self, session_id: str, command: Dict, now: str) -> str:
        """The name of the refusal; or "", and the session is as it should be after the command."""
        kept, before, tag = (
            deepcopy(self.__dict__),
            self.sessions.get(session_id),
            command["command"],
        )
        self.c = command
        self.s = deepcopy(before) if before else _new(session_id, now)
        try:
            self._check_state(tag, before["state"] if before else None)
            getattr(self, f"_{tag.replace('-', '_')}")()
            units = sum(line["quantity"] for line in self.s["cartItems"])
            _no("LimitExceeded", when=units > 10_000)
        except No as no:
            self.__dict__ = kept
            return str(no)
        if before and self._cart(self.s) == self._cart(before):
            if self._total(self.s) == self._total(before):  # declared or not
                self.s["declared"] = before["declared"]
        elif before and tag != "replace-cart":
            self.s["declared"] = None
        if json.dumps(self.s, default=str) != json.dumps(before, default=str):
            self.s |= {"updated": now, "updateCount": self.s["updateCount"] + 1}
        self.sessions[session_id] = self.s
        return ""

    def shown(self, session_id: str) -> Dict:
        """A session as it is shown."""
        s = deepcopy(self.sessions[session_id])
        total = self._total(s)
        del s["declared"]
        for position, line in enumerate(s["cartItems"]):
            line |= {"position": position, "returnedQuantity": line.pop("returned")}
            line["remainingQuantity"] = line["quantity"] - line["returnedQuantity"]
            s["cartItems"][position] = {name: x for name, x in line.items() if x not in ("", {})}
        return {**s, "total": total}

    @staticmethod
    def _total(s: Dict) -> Decimal:
        if s["declared"] is not None:
            return Decimal(s["declared"])
        return sum((line["price"] * line["quantity"] for line in s["cartItems"]), Decimal(0))

    def of_profile(self, profile: str) -> list[str]:
        came = {i: n for n, (p, i) in enumerate(self.attached) if p == profile}
        of_profile = [i for i, s in self.sessions.items() if s["profileId"] == profile]
        return sorted(of_profile, key=came.__getitem__)

    def _check_state(self, tag: str, state: str | None) -> None:
        _no("SessionExists", when=state is not None and tag == "open")
        _no("SessionNotFound", when=state is None and tag != "open")
        _no("IllegalTransition", when=tag == "cancel" and state == "cancelled")
        wanted = {"reopen": "closed", "return": "closed partially_returned"}.get(tag, "")
        _no("SessionNotClosed", when=bool(wanted) and str(state) not in wanted.split())
        edits = tag not in {"open", "cancel", "reopen", "return"}
        _no("SessionNotOpen", when=edits and state != "open")

    @staticmethod
    def _cart(s: Dict) -> list[tuple[str, int]]:
        return [(Model._alike(line), line["quantity"]) for line in s["cartItems"]]

    @staticmethod
    def _alike(line: Dict) -> str:
        return f"{line['sku']} {line['price']:f} {line['name']} {json.dumps(line['attributes'])}"

    def _given_attributes(self, given: Dict) -> Dict:
        _no("InvalidValue", when=not all(re.fullmatch(r"[A-Za-z]\w*", name) for name in given))
        return dict(sorted(given.items()))

    def _put(self, item: Dict) -> None:
        line = {"sku": item["sku"], "price": _money(item["price"]), "returned": 0,
                "name": item.get("name", ""), "quantity": item.get("quantity", 1),
                "attributes": self._given_attributes(item.get("attributes", {}))}  # fmt: skip
        _no("InvalidValue", when=line["quantity"] < 1)
        alike = [old for old in self.s["cartItems"] if self._alike(old) == self._alike(line)]
        if alike:
            alike[0]["quantity"] += line["quantity"]
        else:
            self.s["cartItems"].append(line)

    def _found(self, address: Dict) -> list[Dict]:
        position, sku = address.get("position"), address.get("sku")
        _no("InvalidValue", when=(position is None and sku is None) or (position or 0) < 0)
        lines = [x for n, x in enumerate(self.s["cartItems"]) if position in {None, n}]
        found = [line for line in lines if sku in {None, line["sku"]}]
        _no("LineNotFound", when=not found)
        return found

    def _line(self) -> Dict:
        found = self._found(self.c)
        _no("AmbiguousSku", when=len(found) > 1)
        return found[0]

    def _open(self) -> None:
        fill = (self._set_profile, self._replace_cart, self._remove_coupon, self._remove_referral)
        for part in (*fill, self._set_identifiers, self._set_attributes):
            part()
        self.s["state"] = self.c.get("state", "open")

    def _add_item(self) -> None:
        self._put(self.c)

    def _set_quantity(self) -> None:
        line, quantity = self._line(), self.c["quantity"]
        _no("InvalidValue", when=quantity < 1)
        line["quantity"] = quantity

    def _remove_item(self) -> None:
        line = self._line()
        self.s["cartItems"] = [other for other in self.s["cartItems"] if other is not line]

    def _replace_cart(self) -> None:
        self.s["cartItems"] = []
        for item in self.c.get("cartItems", []):
            self._put(item)
        self.s["declared"] = _money(self.c["total"]) if "total" in self.c else None

    def _code(self, field: str) -> None:
        self.s[field] = self.c.get(field, "")
        _no("LimitExceeded", when=len(self.s[field]) > 100)
        _no("InvalidValue", when=self.c["command"] == f"apply-{field}" and not self.s[field])

    def _apply_coupon(self) -> None:
        self._code("coupon")

    def _apply_referral(self) -> None:
        self._code("referral")

    _remove_coupon, _remove_referral = _apply_coupon, _apply_referral

    def _set_attributes(self) -> None:
        merged = self.s["attributes"] | self._given_attributes(self.c.get("attributes", {}))
        kept = {name: value for name, value in merged.items() if value is not None}
        self.s["attributes"] = dict(sorted(kept.items()))

    def _set_identifiers(self) -> None:
        self.s["identifiers"] = self.c.get("identifiers", [])
        _no("LimitExceeded", when=len(self.s["identifiers"]) > 5)

    def _set_profile(self) -> None:
        profile, session_id = self.c.get("profileId", ""), self.s["integrationId"]
        if profile != self.s.get("profileId"):
            self.attached.append((profile, session_id))
            first = self.first.setdefault(profile, session_id) == session_id
            self.s |= {"profileId": profile, "firstSession": first or profile == ""}

    def _set_discount(self) -> None:
        self.s["discounts"][self.c["label"]] = _money(self.c["value"])

    def _remove_discount(self) -> None:
        self.s["discounts"].pop(self.c["label"], None)

    def _close(self) -> None:
        self.s["state"] = "closed"

    def _cancel(self) -> None:
        self.s |= {"state": "cancelled", "discounts": {}}

    def _reopen(self) -> None:
        self.s |= {"state": "open", "discounts": {}}

    def _return(self) -> None:
        _no("InvalidValue", when=not self.c["items"])
        for item in self.c["items"]:
            lines = self._found(item)
            left = sum(line["quantity"] - line["returned"] for line in lines)
            units = item.get("quantity", left)
            _no("InvalidValue", when="quantity" in item and units < 1)
            _no("NotEnoughLeft", when=not 0 < units <= left)
            for line in lines:
                back = min(units, line["quantity"] - line["returned"])
                line["returned"] += back
                units -= back
        self.s["state"] = "partially_returned"
