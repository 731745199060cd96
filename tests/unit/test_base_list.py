"""base/list.h: lines of things, without memory of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from tests.steps import runs_of

if TYPE_CHECKING:
    from tests.engine_module import Engine


def new_head(base: Engine) -> Any:
    head = base.ffi.new("list_link *")
    base.lib.list_init(head)
    return head


def content(base: Engine, head: Any, nodes: list[Any]) -> list[int]:
    """The numbers of the nodes in a list, read forwards and checked against backwards."""
    numbers = []
    node = base.lib.list_first(head)
    while node != base.ffi.NULL:
        numbers.append(nodes.index(node))
        node = base.lib.list_next(head, node)
    backwards = []
    node = head.prev
    while node != head:
        backwards.append(nodes.index(node))
        node = node.prev
    assert numbers == backwards[::-1]
    return numbers


def test_an_empty_list(base: Engine) -> None:
    head = new_head(base)
    assert base.lib.list_empty(head)
    assert base.lib.list_first(head) == base.ffi.NULL
    assert not base.lib.link_linked(base.ffi.new("list_link *"))


def test_a_removed_node_is_all_zeros_again(base: Engine) -> None:
    head, node = new_head(base), base.ffi.new("list_link *")
    base.lib.list_push_back(head, node)
    assert base.lib.link_linked(node)
    base.lib.list_remove(node)
    assert (node.next, node.prev) == (base.ffi.NULL, base.ffi.NULL)


def test_promises(base: Engine) -> None:
    """E10: in two lists at once, or out of none, is our own mistake."""
    head, node = new_head(base), base.ffi.new("list_link *")
    assert base.lib.trapped_list_remove(node) != base.ffi.NULL
    assert base.lib.trapped_list_push_back(head, node) == base.ffi.NULL
    assert base.lib.trapped_list_push_back(head, node) != base.ffi.NULL


def test_container_of(base: Engine) -> None:
    thing = base.ffi.new("linked_thing *")
    assert base.lib.linked_thing_of(base.ffi.addressof(thing, "link")) == thing


NODES = 6
steps = runs_of(
    st.tuples(
        st.sampled_from(["back", "front", "remove", "splice"]),
        st.integers(0, 1),
        st.integers(0, NODES - 1),
    )
)


@given(steps=steps)
def test_two_lists_like_a_model(base: Engine, steps: list[tuple[str, int, int]]) -> None:
    array = base.ffi.new(f"list_link[{NODES}]")
    nodes = [array + i for i in range(NODES)]
    heads = [new_head(base), new_head(base)]
    model: list[list[int]] = [[], []]
    for verb, which, number in steps:
        held = number in model[0] + model[1]
        if verb == "back" and not held:
            base.lib.list_push_back(heads[which], nodes[number])
            model[which].append(number)
        elif verb == "front" and not held:
            base.lib.list_push_front(heads[which], nodes[number])
            model[which].insert(0, number)
        elif verb == "remove" and held:
            base.lib.list_remove(nodes[number])
            model[0 if number in model[0] else 1].remove(number)
        elif verb == "splice":
            base.lib.list_splice_back(heads[which], heads[1 - which])
            model[which] += model[1 - which]
            model[1 - which] = []
        assert [content(base, head, nodes) for head in heads] == model
        assert [base.lib.list_empty(head) for head in heads] == [not line for line in model]
        assert all(
            base.lib.link_linked(nodes[i]) == (i in model[0] + model[1]) for i in range(NODES)
        )
