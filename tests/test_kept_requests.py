"""What an idempotency key is kept for: it is in databases, and is compared for ever.

Never change a line here. A retry whose request is written in another way than it was kept is
refused, so a field that is new to a command has a default and leaves these as they are.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from sessions import (
    AddItem,
    ApplyCoupon,
    ApplyReferral,
    CancelSession,
    CartItem,
    CloseSession,
    Command,
    OpenSession,
    Product,
    RemoveCoupon,
    RemoveDiscount,
    RemoveItem,
    RemoveReferral,
    ReopenSession,
    ReplaceCart,
    ReturnItem,
    ReturnItems,
    SetAttributes,
    SetDiscount,
    SetIdentifiers,
    SetProfile,
    SetQuantity,
)
from sessions.commands import COMMANDS
from sessions.commits.answers import Request, fingerprint

AT = datetime(2026, 11, 23, 11, 0, 0, 5, tzinfo=timezone(timedelta(hours=1)))
JSON = {"z": [1, 1.0, 2**70, None, {"ü": True}], "a": {"d": "\U0001f600", "c": 1e300}}
ITEM = CartItem(
    sku="9696",
    price=Decimal("59.90"),
    quantity=2,
    name="Schühe",
    category="footwear",
    product=Product("Runner"),
    weight=Decimal("0.50"),
    height=Decimal("1E+2"),
    width=Decimal("200.5"),
    length=Decimal(0),
    attributes=JSON,
)
KEPT: list[tuple[Command, str]] = [
    (OpenSession(), "b65e6f4b12a0e5a1c1fbb1269e642406500d30d785504b94b7291ae046c699bd"),
    (
        OpenSession(
            profile_id="cust-7",
            cart_items=[ITEM],
            coupon="C",
            referral="R",
            identifiers=["i"],
            attributes=JSON,
            total=Decimal("1.50"),
            state="closed",
            at=AT,
        ),
        "85a30c5bb9b4b00d23a91e21cddaec89ee3085485c0c07a343f67d218bbf9698",
    ),
    (
        AddItem(sku="9696", price=Decimal(60)),
        "11ed1761e8c4887b9051100332d362e806694d65b2ff24fdc68c061855289d9d",
    ),
    (
        AddItem(
            sku="9696",
            price=Decimal("60.00"),
            quantity=3,
            product=Product("Runner"),
            weight=Decimal(1),
            position=7,
            attributes=JSON,
            at=AT,
        ),
        "05c17e63a31913a68fb5a5d461a66e2a8c341bdec77209f402fce486d61aa07f",
    ),
    (
        SetQuantity(quantity=2, position=0),
        "59a2e196bda9460ae63e7e5b81fc963e8c95890b92632229b8c0b0fcf7d3c25b",
    ),
    (
        SetQuantity(quantity=2, sku="9696", at=AT),
        "4b7f1753f3767da71e0006c924b001fcc8d87346ab678e4885d36f0df318c467",
    ),
    (RemoveItem(position=1), "49d5f998bd6aa39641dd263fbc6ef13abeabad83cc142429f416fda8e0c6e32c"),
    (
        ReplaceCart(cart_items=(ITEM, CartItem(sku="a", price=Decimal(1))), total=Decimal(3)),
        "af7c0838aa1ec87f712191529b29c5e1ed7be47e61588027423218749709594a",
    ),
    (
        ApplyCoupon(coupon="SPRING-20"),
        "7d72b1d49fc3e3645f3d5f9f8ffb2d6a24e69d19c66214f618c98b70e63828ba",
    ),
    (RemoveCoupon(), "b75da1c18c05ae742a87fd2a3c48a9cae167f99c08b812a1e411cc561472eff3"),
    (
        ApplyReferral(referral="R"),
        "4fffb38a404c4a882c77578c0b1773501c97ddfbf6e627fb9e8c0763749b647c",
    ),
    (RemoveReferral(), "dddf24c2f324021978d95b4d9b1bd6a801f6871a8f293bd68c972b060e0a8ade"),
    (
        SetAttributes(attributes={**JSON, "b": Decimal("1.10")}),
        "c534b7a7d51759dc6017dd82d1082fdc53b0f328f4ba4a9daf9f1d4e5b96a10e",
    ),
    (
        SetIdentifiers(identifiers=["a", "b"]),
        "c8cc2fb940542bbd8c8d8c71f84b2407bfb4e0f55045d4ead3e68a542e69b2e7",
    ),
    (
        SetProfile(profile_id="cust-7"),
        "935b870de5f568563492854a6a3eedb015dcbe7ca0d59643d30aff0ce1f5dbaa",
    ),
    (
        SetDiscount(label="20% promo", value=Decimal("20.00")),
        "69c682d1e2395573a1683fbdb021c60203ff321325132f89f57a43c7b5ea9e04",
    ),
    (
        RemoveDiscount(label="20% promo"),
        "89ba8674d26f6fc4737d769c39ac5ad8c027afa8b3b5969d746791ba251a5eda",
    ),
    (CloseSession(), "f8065f7d072f48b6dd4bfa3b82fcae789aa301581646b9d0d7310772b4a58653"),
    (
        CloseSession(at=AT.astimezone(UTC)),
        "9b9b47ed9ee2db38cbe84f49f6306578f0234a38ce1498f8323a3eccd6e47397",
    ),
    (CancelSession(), "c865d3e88ab8e5c255c05f6058473133684e506890c443dfe192eff66ded4f4c"),
    (ReopenSession(), "279abc1ae9c7dd48fb69d1e7f4782ac533dc6d273fcb0c81517403484f073ba6"),
    (
        ReturnItems(items=[ReturnItem(position=0, quantity=1), ReturnItem(sku="a")]),
        "7b6e0a9427f065e256034e6b58479f8156508ee5d2e88254639373a98525f88a",
    ),
]


def test_no_command_is_missing() -> None:
    assert {type(command) for command, _ in KEPT} == COMMANDS


@pytest.mark.parametrize(("command", "kept"), KEPT, ids=[type(c).__name__ for c, _ in KEPT])
def test_what_a_command_asks_for_is_kept_as_this(command: Command, kept: str) -> None:
    assert fingerprint([Request("order-1", command)]) == kept


def test_several_commands_are_kept_as_one_request() -> None:
    asked = [Request("order-1", CloseSession()), Request("order-é", RemoveCoupon(), 3)]
    assert fingerprint(asked) == "5f8519e42dccff099e1cf12803055c4e68dc0a405dd6e15959ff0b5408b603e3"
